"""Platforms: spellings, and which entry of an index is taken; the rules are containerd's."""

from __future__ import annotations

import pytest

from mydocker import errors
from mydocker.image import platforms
from mydocker.image.documents import Descriptor, Platform

DIGEST = "sha256:" + "0" * 64


def entry(text: str, size: int = 0) -> Descriptor:
    """One for ``text``; none said if it is empty."""
    system, _, rest = text.partition("/")
    name, _, variant = rest.partition("/")
    platform = Platform(os=system, architecture=name, variant=variant) if text else None
    return Descriptor(digest=DIGEST, size=size, platform=platform)


def chosen(wanted: str, *offered: str) -> list[str]:
    entries = [entry(text, at) for at, text in enumerate(offered)]
    return [offered[found.size] for found in platforms.choose(entries, platforms.parse(wanted))]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("Linux/AMD64/v1", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
        ("aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm64/8", "linux/arm64"),
        ("arm", "linux/arm/v7"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6"),
        ("linux/arm/6", "linux/arm/v6"),
        ("windows/amd64", "windows/amd64"),
    ],
)
def test_spellings(text: str, shown: str) -> None:
    assert platforms.show(platforms.parse(text)) == shown


@pytest.mark.parametrize("text", ["", "/", "linux/", "linux//v8", "a/b/c/d", "linux/am d64", "linux/ä"])
def test_what_is_no_platform(text: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="error parsing specified platform"):
        platforms.parse(text)


def test_a_word_that_is_no_architecture() -> None:
    with pytest.raises(errors.InvalidArgument, match=r'^"amd46": unknown operating system or architecture$'):
        platforms.parse("amd46")
    assert platforms.show(platforms.parse("mips64le")) == "linux/mips64le"


def test_the_system_alone_is_this_machine() -> None:
    assert platforms.parse("linux") == platforms.host()
    assert platforms.host().architecture == platforms.architecture()


@pytest.mark.parametrize(
    ("wanted", "offered", "order"),
    [
        ("linux/amd64", ["linux/arm64", "linux/amd64"], ["linux/amd64"]),
        (
            "linux/amd64/v3",
            ["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"],
            ["linux/amd64/v2", "linux/amd64"],
        ),
        ("linux/amd64", ["linux/amd64/v2", "linux/amd64/v1"], ["linux/amd64/v1"]),
        ("linux/arm/v7", ["linux/arm/v5", "linux/arm/v8", "linux/arm/v6"], ["linux/arm/v6", "linux/arm/v5"]),
        ("linux/arm/v6", ["linux/arm/v7"], []),
        ("linux/arm", ["linux/arm"], ["linux/arm"]),
        ("linux/arm64", ["linux/arm/v7", "linux/arm64/v8"], ["linux/arm64/v8", "linux/arm/v7"]),
        ("linux/arm64", ["linux/arm64/v9"], []),
        ("linux/arm64/v9", ["linux/arm64", "linux/arm64/v9"], ["linux/arm64/v9"]),
        ("linux/amd64", ["unknown/unknown", "windows/amd64"], []),
        ("linux/amd64", ["", "linux/amd64"], ["linux/amd64", ""]),
        ("linux/s390x", ["linux/amd64", "linux/s390x"], ["linux/s390x"]),
    ],
)
def test_choice(wanted: str, offered: list[str], order: list[str]) -> None:
    assert chosen(wanted, *offered) == order


def test_equals_are_taken_in_their_order() -> None:
    entries = [entry("linux/amd64", 1), entry("linux/amd64", 2)]
    assert [found.size for found in platforms.choose(entries, platforms.parse("amd64"))] == [1, 2]


def test_matches() -> None:
    assert platforms.matches(platforms.parse("arm64"), platforms.parse("arm/v7"))
    assert not platforms.matches(platforms.parse("arm/v7"), platforms.parse("arm64"))
