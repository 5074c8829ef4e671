"""Docker's filters, and path.Match of Go."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mydocker import errors
from mydocker.image import filters
from mydocker.image.store import Image, ImageStore
from support.layout import Layout, layer

Archive = Callable[..., str]
ONE = layer("one")


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("busybox", "busybox:1.36", True),
        ("busybox:1.36", "busybox:1.36", True),
        ("busybox:1.*", "busybox:1.36", True),
        ("busy*", "busybox:1.36", True),
        ("*box", "busybox:1.36", True),
        ("*", "busybox:1.36", True),
        ("*", "me/busybox:1", False),
        ("*/busybox", "me/busybox:1", True),
        ("*/*", "me/busybox:1", True),
        ("*/*", "localhost:5000/me/busybox:1", False),
        ("busybo?", "busybox:1", True),
        ("?usybox:1", "busybox:1", True),
        ("busybo[x-z]", "busybox:1", True),
        ("busybo[a-c]", "busybox:1", False),
        ("busybo[^a-c]", "busybox:1", True),
        ("busybo[^xy]", "busybox:1", False),
        ("busybo[z-a]", "busybox:1", False),
        ("busybo[^z-a]", "busybox:1", True),
        (r"busybo\x", "busybox:1", True),
        (r"busybo[\x]", "busybox:1", True),
        ("busy.ox", "busybox:1", False),
        ("BUSYBOX", "busybox:1", False),
        ("docker.io/library/busybox", "busybox:1", False),
    ],
)
def test_patterns(pattern: str, name: str, expected: bool) -> None:
    assert filters.fits(name, [pattern]) is expected


@pytest.mark.parametrize("pattern", ["[", "a[", "a[]", "a[b", "a[b-", "a[-b]", "a\\", "a[\\"])
def test_malformed_patterns(pattern: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="syntax error in pattern"):
        filters.fits("a:1", [pattern])


@pytest.fixture
def images(store: ImageStore, layout: Layout) -> dict[str, Image]:
    """Four images: of 2020, 2021 and 2022, and one of 2023 without a name."""
    made = {
        name: layout.image([ONE], created=f"{year}-01-01T00:00:00.123456789Z", config={"Labels": labels})
        for name, year, labels in (
            ("old", 2020, {"a": "1"}),
            ("middle", 2021, {"a": "2", "b": "x"}),
            ("new", 2022, None),
            ("nameless", 2023, {"b": "x"}),
        )
    }
    for name, descriptor in made.items():
        if name != "nameless":
            descriptor["annotations"] = {"io.containerd.image.name": f"docker.io/library/{name}:1"}
    store.load(layout.write(*made.values()))
    return {(image.repo_tags or ["nameless:1"])[0][:-2]: image for image in store.list()}


@pytest.mark.root
@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({}, "nameless new middle old"),
        ({"dangling": ["true"]}, "nameless"),
        ({"dangling": ["false"]}, "new middle old"),
        ({"dangling": ["0"]}, "new middle old"),
        ({"label": ["a"]}, "middle old"),
        ({"label": ["a=2"]}, "middle"),
        ({"label": ["a", "b"]}, "middle"),
        ({"label!": ["a"]}, "nameless new"),
        ({"label!": ["a=1", "b"]}, "new"),
        ({"before": ["middle:1"]}, "old"),
        ({"since": ["middle:1"]}, "nameless new"),
        ({"since": ["old:1"], "before": ["new:1"]}, "middle"),
        ({"until": ["1640995199"]}, "middle old"),
        ({"until": ["1640995201"]}, "new middle old"),
    ],
)
def test_matching(
    store: ImageStore, images: dict[str, Image], chosen: dict[str, list[str]], expected: str
) -> None:
    names = {image.id: name for name, image in images.items()}
    found = filters.matching(store.list(), chosen, store.resolve)
    assert [names[image.id] for image in found] == expected.split()


@pytest.mark.root
@pytest.mark.parametrize(
    ("chosen", "kind"),
    [
        ({"dangling": ["maybe"]}, errors.InvalidArgument),
        ({"until": ["yesterday"]}, errors.InvalidArgument),
        ({"before": ["missing"]}, errors.NotFound),
        ({"since": ["Bad"]}, errors.InvalidArgument),
    ],
)
def test_refused(
    store: ImageStore, images: dict[str, Image], chosen: dict[str, list[str]], kind: type[errors.Error]
) -> None:
    assert images
    with pytest.raises(kind):
        filters.matching(store.list(), chosen, store.resolve)


def test_unknown() -> None:
    with pytest.raises(errors.InvalidArgument, match="invalid filter 'x'"):
        filters.check({"label": ["a"], "x": ["y"]}, filters.LISTING)


def test_times_without_a_zone_are_utc() -> None:
    assert filters.moment("2020-01-01T00:00:00") == filters.moment("2020-01-01T00:00:00Z")
    assert filters.moment("2020-01-01T02:00:00+02:00") == filters.moment("2020-01-01T00:00:00Z")
    with pytest.raises(errors.CorruptData, match="made at 'x'"):
        filters.moment("x")
