"""Names, ids and removal; two processes at once; a process that is killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mydocker import errors
from mydocker.image.store import ImageStore, Removal, Use
from mydocker.snapshot.overlay import OverlaySnapshotter
from support import archives
from support.archives import Member, directory
from support.layout import files, layer

pytestmark = pytest.mark.root

Archive = Callable[..., str]
ONE, TWO = layer("one"), layer("two")


@pytest.fixture
def rootfs(tmp_path: Path) -> str:
    path = tmp_path / "rootfs.tar"
    path.write_bytes(archives.layer([directory("etc"), Member("etc/motd", b"hello\n")]))
    return str(path)


def test_what_names_lead_to(store: ImageStore, rootfs: str) -> None:
    identifier = store.import_(rootfs, "a:b")
    assert store.leading({"a:b", "docker.io/library/a:b", "a:c", "A:b", identifier[7:12]}) == {
        "a:b": identifier,
        "docker.io/library/a:b": identifier,
        identifier[7:12]: identifier,
    }
    Path(store.content.index).write_text('{"manifests": 1}')
    assert store.leading({"a:b"}) == {}, "ps shows containers all the same"


# import


def test_import(store: ImageStore, rootfs: str) -> None:
    identifier = store.import_(rootfs, "a:b", changes=["CMD x", "ENV A=b"], message="made for a test")
    image = store.resolve("a:b")
    assert image.id == identifier
    assert image.config.os == "linux"
    assert image.config.config is not None
    assert image.config.config.env == ["A=b"]
    assert image.config.history is not None
    assert [entry.comment for entry in image.config.history] == ["made for a test"]
    assert image.created == image.config.created
    assert Path(image.layers[0], "etc/motd").read_text() == "hello\n"


def test_import_from_a_descriptor_without_a_name(store: ImageStore, rootfs: str) -> None:
    with open(rootfs, "rb") as file:
        identifier = store.import_(file.fileno(), platform="linux/arm/7")
    image = store.resolve(identifier)
    assert image.repo_tags == []
    assert (image.config.architecture, image.config.variant) == ("arm", "v7")
    assert image.config.comment == "Imported from -"


@pytest.mark.parametrize(
    ("arguments", "message", "kind"),
    [
        ({"reference": "Bad"}, "must be lowercase", errors.InvalidArgument),
        ({"changes": ["RUN x"]}, "RUN is not a valid", errors.InvalidArgument),
        ({"platform": "windows/amd64"}, "only linux", errors.NotSupported),
        ({"platform": "sprocket"}, "unknown operating system or architecture", errors.InvalidArgument),
    ],
)
def test_import_refused(
    store: ImageStore, rootfs: str, arguments: dict[str, object], message: str, kind: type[errors.Error]
) -> None:
    with pytest.raises(kind, match=message):
        store.import_(rootfs, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("data", [b"", b"not a tar" * 200, archives.layer([Member("x")])[:512]])
def test_import_of_no_archive(store: ImageStore, tmp_path: Path, data: bytes) -> None:
    store.list()
    before = files(store)
    path = tmp_path / "bad"
    path.write_bytes(data)
    with pytest.raises(errors.CorruptData, match=str(path)):
        store.import_(str(path), "a:b")
    assert files(store) == before


def test_the_init_layer_is_shared(store: ImageStore, rootfs: str, tmp_path: Path) -> None:
    """Mount targets are made once for an image; a container adds three directories and no more."""
    store.import_(rootfs, "a:b")
    image = store.resolve("a:b")
    assert image.lowers[1:] == image.layers
    init = {str(path.relative_to(image.lowers[0])) for path in Path(image.lowers[0]).rglob("*")}
    assert init >= {"proc", "sys", "dev/pts", "dev/shm", "etc/hosts", "etc/hostname", "etc/resolv.conf"}
    container = tmp_path / "container"
    container.mkdir()
    stack = OverlaySnapshotter().prepare(str(container), image.lowers)
    assert list(stack.lowers) == image.lowers
    assert sorted(str(path.relative_to(container)) for path in container.rglob("*")) == [
        "rw", "rw/diff", "rw/work",
    ]  # fmt: skip


# resolve


def test_resolve(store: ImageStore, archive: Archive) -> None:
    store.load(archive("docker.io/library/alpine:latest", [ONE]))
    image = store.resolve("alpine")
    digits = image.id.removeprefix("sha256:")
    for reference in ("alpine:latest", "docker.io/alpine", "library/alpine", image.id, digits, digits[:12],
                      digits[:1], f"sha256:{digits[:5]}", f"alpine@{image.digest}"):  # fmt: skip
        assert store.resolve(reference).id == image.id, reference
    for reference in ("alpine:3", "quay.io/alpine", "0" * 64, "f" * 64, f"other@{image.digest}"):
        with pytest.raises(errors.NotFound, match=f"no such image: {reference}"):
            store.resolve(reference)
    with pytest.raises(errors.InvalidArgument, match="must be lowercase"):
        store.resolve("Alpine")


def test_ambiguous_id(store: ImageStore, archive: Archive) -> None:
    ids: list[str] = []
    while not any(one[7] == other[7] for one in ids for other in ids if one != other):
        store.load(archive(f"a:{len(ids)}", [ONE], config={"Cmd": [str(len(ids))]}))
        ids = [image.id for image in store.list()]
    digit = next(one[7] for one in ids if sum(other[7] == one[7] for other in ids) > 1)
    with pytest.raises(errors.InvalidArgument, match=f"ambiguous image id: {digit}"):
        store.resolve(digit)


def test_a_name_goes_before_the_beginning_of_an_id(store: ImageStore, archive: Archive) -> None:
    store.load(archive("x:1", [ONE]))
    short = store.resolve("x:1").id[7:11]
    store.load(archive(f"{short}:latest", [TWO]))
    assert store.resolve(short).repo_tags == [f"{short}:latest"]


def test_tag(store: ImageStore, archive: Archive) -> None:
    store.load(archive("a:1", [ONE]))
    store.load(archive("b:1", [TWO]))
    store.tag("a:1", "b:1")
    assert store.resolve("a:1").repo_tags == ["a:1", "b:1"]
    assert [image.repo_tags for image in store.list() if not image.repo_tags] == [[]]


# remove


def untagged(*names: str) -> list[Removal]:
    return [Removal(untagged=name) for name in names]


def test_remove(store: ImageStore, archive: Archive) -> None:
    store.list()
    before = files(store)
    store.load(archive("a:1", [ONE, TWO]))
    image = store.resolve("a:1")
    assert store.remove("a:1") == [
        *untagged("a:1"),
        Removal(deleted=image.id),
        *(Removal(deleted=chain_id) for chain_id in reversed(image.chain)),
    ]
    assert store.list() == []
    assert files(store) == sorted([*before, "image/index.json"])
    with pytest.raises(errors.NotFound):
        store.remove("a:1")


def test_remove_one_name_of_two(store: ImageStore, archive: Archive) -> None:
    store.load(archive("a:1", [ONE]))
    store.tag("a:1", "b:1")
    assert store.remove("a:1") == untagged("a:1")
    assert store.resolve("b:1").repo_tags == ["b:1"]


def test_remove_by_id(store: ImageStore, archive: Archive) -> None:
    store.load(archive("a:1", [ONE]))
    store.tag("a:1", "b:1")
    identifier = store.resolve("a:1").id
    with pytest.raises(errors.Conflict, match=r"must be forced\) - image is referenced in multiple"):
        store.remove(identifier)
    removed = store.remove(identifier[7:19], force=True)
    assert removed[:3] == [*untagged("a:1", "b:1"), Removal(deleted=identifier)]
    assert store.list() == []


def test_shared_layers_stay(store: ImageStore, archive: Archive) -> None:
    store.load(archive("a:1", [ONE, TWO]))
    store.load(archive("a:2", [ONE]))
    store.remove("a:1")
    assert os.listdir(store.resolve("a:2").layers[0]) == ["one"]
    assert len(list(store.layers.all())) == 1
    assert len(list(store.content.all())) == 3, "manifest, config, layer"


def test_used_by_a_stopped_container(store: ImageStore, archive: Archive, uses: list[Use]) -> None:
    store.load(archive("a:1", [ONE]))
    image = store.resolve("a:1")
    uses.append(Use(image.id, "c" * 64, running=False))
    with pytest.raises(errors.Conflict, match=r'unable to remove repository reference "a:1" \(must force\) - '
                       f"container {'c' * 12} is using its referenced image {image.id[7:19]}"):  # fmt: skip
        store.remove("a:1")
    with pytest.raises(errors.Conflict, match=r"must be forced\) - image is being used by stopped container"):
        store.remove(image.id)
    assert store.remove("a:1", force=True) == [*untagged("a:1"), Removal(deleted=image.id)]
    assert store.list() == []
    assert os.listdir(image.layers[0]) == ["one"], "the container stands on it"
    uses.clear()
    store.load(archive("b:1", [TWO]))
    store.remove("b:1")
    assert list(store.layers.all()) == []


def test_used_by_a_running_container(store: ImageStore, archive: Archive, uses: list[Use]) -> None:
    store.load(archive("a:1", [ONE]))
    image = store.resolve("a:1")
    uses.append(Use(image.id, "c" * 64, running=True))
    for force in (False, True):
        with pytest.raises(errors.Conflict, match=r"cannot be forced\) - image is being used by running"):
            store.remove(image.id, force=force)
    assert store.remove("a:1", force=True) == untagged("a:1")
    assert store.resolve(image.id).repo_tags == []


# Beside others, and killed


def in_a_child(work: Callable[[], object]) -> int:
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  the parent sees the status
            os.write(2, f"child: {error!r}\n".encode())
            os._exit(1)
        os._exit(0)
    return child


def removing_in_between(store: ImageStore, reference: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the image removed when the next document is to be read, which is after the index was."""
    read = store.content.read

    def first(digest: str) -> bytes:
        monkeypatch.undo()
        store.remove(reference)
        return read(digest)

    monkeypatch.setattr(store.content, "read", first)


@pytest.mark.parametrize("by_id", [False, True])
def test_resolve_beside_a_removal(
    store: ImageStore, archive: Archive, monkeypatch: pytest.MonkeyPatch, by_id: bool
) -> None:
    """Another image is removed after the index was read: the one that is asked for is no worse for it."""
    store.load(archive("gone:1", [ONE]))
    store.load(archive("kept:1", [TWO]))
    wanted = store.resolve("kept:1").id
    removing_in_between(store, "gone:1", monkeypatch)
    assert store.resolve(wanted if by_id else "kept:1").id == wanted
    assert [image.repo_tags for image in store.list()] == [["kept:1"]]


def test_resolve_what_is_being_removed(
    store: ImageStore, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.load(archive("gone:1", [ONE]))
    removing_in_between(store, "gone:1", monkeypatch)
    with pytest.raises(errors.NotFound, match="no such image: gone:1"):
        store.resolve("gone:1")


def test_list_beside_a_removal(store: ImageStore, archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    store.load(archive("gone:1", [ONE]))
    store.load(archive("kept:1", [TWO]))
    removing_in_between(store, "gone:1", monkeypatch)
    assert [image.repo_tags for image in store.list()] == [["kept:1"]]


def test_size_of_what_is_gone(store: ImageStore, archive: Archive) -> None:
    """One that was removed is not there; one whose layer is not there is damaged."""
    store.load(archive("a:1", [ONE]))
    image = store.resolve("a:1")
    assert image.size == sum(image.layer_sizes) > 0
    Path(store.layers.directory(image.chain[0]), "size").unlink()
    with pytest.raises(errors.CorruptData, match=f"an image is damaged: no such layer: {image.chain[0]}"):
        _ = image.size
    store.remove("a:1")
    with pytest.raises(errors.NotFound, match=f"no such image: {image.id}"):
        _ = image.size


def test_nothing_is_collected_while_it_is_held(store: ImageStore, archive: Archive) -> None:
    store.load(archive("a:1", [ONE]))
    with store.hold():
        layers = store.resolve("a:1").layers
        child = in_a_child(lambda: store.remove("a:1"))
        os.waitpid(child, 0)
        assert store.list() == []
        assert os.listdir(layers[0]) == ["one"]
    store.load(archive("b:1", [TWO]))
    assert not os.path.exists(layers[0]), "collected by the next who came"


@pytest.mark.slow
def test_loads_and_removals_at_once(store: ImageStore, archive: Archive) -> None:
    """Four processes, images that share layers: no error, and in the end nothing that is not needed."""
    paths = [archive(f"a:{number}", [ONE, layer(*"abc"), layer(str(number))]) for number in range(4)]

    def work(number: int) -> None:
        for _ in range(15):
            store.load(paths[number])
            image = store.resolve(f"a:{number}")
            assert os.listdir(image.layers[0]) == [str(number)]
            store.list()
            store.remove(f"a:{number}")

    children = [in_a_child(lambda number=number: work(number)) for number in range(4)]  # type: ignore[misc]
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0, 0, 0]
    store.load(paths[0])
    store.remove("a:0")
    assert list(store.content.all()) == []
    assert list(store.layers.all()) == []
    assert not store.content.noted()


@pytest.mark.slow
def test_killed_at_any_moment(store: ImageStore, archive: Archive) -> None:
    """The name is always of one whole image or of the other, and the next load leaves nothing beside it."""
    many = archives.layer([Member(f"d{number % 7}/{number}", b"x" * 500) for number in range(300)])
    old = archive("a:b", [ONE])
    new = archive("a:b", [ONE, many, TWO])
    store.load(old)
    ids = {store.resolve("a:b").id}
    started = time.monotonic()
    store.load(new)
    duration = time.monotonic() - started
    ids.add(store.resolve("a:b").id)
    for step in range(20):
        for path in (new, old):
            child = in_a_child(lambda path=path: (store.remove("a:b", force=True), store.load(path)))  # type: ignore[misc]
            time.sleep(duration * 1.2 * step / 20)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            for image in store.list():
                assert image.id in ids
                assert all(os.path.isdir(lower) for lower in image.layers)
                if len(image.layers) == 3:
                    assert sum(len(names) for _, _, names in os.walk(image.layers[1])) == 300
            store.load(path)
    for image in store.list():
        store.remove(image.id, force=True)
    assert [name for name in files(store) if not name.endswith((".json", "oci-layout"))] == []
