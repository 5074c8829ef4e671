"""Layers as directories: unpacked once, shared read-only by every container of every image that has them.

    <root>/layer/<chain id, 64 digits>/diff      the files of this one layer, once they have been needed
                                       parent    the chain id below it, empty for the lowest
                                       size      bytes in its files, decimal; its flock: who unpacks it
                                       init      mount targets that the stack up to here lacks (where an
                                                 image ends here): snapshot/targets.py
    <root>/layer/.new-<pid>-<n>/                 one that is being unpacked, renamed when it is whole
                               whiteouts    where it has some, with zero bytes between them
    <root>/layer/.old-<pid>-<n>/                 one that is being removed, renamed before

A layer is unpacked without a look at those below it, so several can be at once, each in a process of its own.
Only ``commit`` puts them on top of each other, from the bottom up, and takes out the whiteouts that hide
nothing there. So a directory with a chain id for its name is complete, but for ``diff``: the files of a layer
that was made here (``register``) are in its blob, until a container is to stand on them. Which may be removed
is ``ImageStore``'s to know, and it holds the lock under which leftovers (dotted names) are cleared away.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Callable, Iterator, Sequence

import msgspec

from .. import errors
from ..archive.apply import apply, prune
from ..archive.compression import Limits, inflated
from ..archive.stream import Stream, ahead
from ..content import files
from ..content.lock import Lock
from ..linux.filesystem import syncfs
from ..linux.tree import remove_tree
from ..oci import digest as digests
from ..snapshot import lookup
from ..snapshot.targets import make_init_layer

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_serial = itertools.count()


class Unpacked(msgspec.Struct, frozen=True):
    """A layer that has been unpacked, and has neither name nor parent yet."""

    place: str
    diff_id: str
    size: int
    """bytes in its files"""


class LayerStore:
    def __init__(self, root: str, limits: Limits | None = None) -> None:
        self.root = root
        self.limits = limits or Limits()

    def initialise(self) -> None:
        os.makedirs(self.root, mode=0o755, exist_ok=True)

    def _path(self, chain_id: str) -> str:
        return os.path.join(self.root, digests.encoded(digests.validate_sha256(chain_id)))

    def directory(self, chain_id: str) -> str:
        """The directory with everything of one layer."""
        return self._path(chain_id)

    def diff(self, chain_id: str) -> str:
        """The directory with the layer's files."""
        return os.path.join(self._path(chain_id), "diff")

    def has(self, chain_id: str) -> bool:
        """Whether the layer is unpacked."""
        return os.path.isdir(self.diff(chain_id))

    def register(self, chain_id: str, parent: str, size: int) -> None:
        """Make a layer known whose files are in a blob only; ``size`` bytes in files."""
        place = self.place()
        os.mkdir(place, 0o711)
        try:
            for file, text in (("parent", parent), ("size", str(size))):
                files.replace(os.path.join(place, file), text.encode())
            self._name(place, chain_id)
        except BaseException:
            self.discard(place)
            raise
        files.sync_directory(self.root)

    def unpacking(self, chain_id: str) -> Lock:
        """For ``with``: nobody else unpacks this layer, which is known."""
        return Lock(os.path.join(self._path(chain_id), "size"))

    def size(self, chain_id: str) -> int:
        """Bytes in its files; NotFound if there is no such layer."""
        try:
            with open(os.path.join(self._path(chain_id), "size"), encoding="ascii") as file:
                return int(file.read())
        except FileNotFoundError:
            raise errors.NotFound(f"no such layer: {chain_id}") from None

    def parent(self, chain_id: str) -> str:
        """The chain id of the layer below, empty for the lowest."""
        with open(os.path.join(self._path(chain_id), "parent"), encoding="ascii") as file:
            return file.read()

    def stack(self, chain_id: str) -> Sequence[str]:
        """The chain ids of the layers from ``chain_id`` down; none for an empty one."""
        chain_ids = []
        while chain_id:
            chain_ids.append(chain_id)
            chain_id = self.parent(chain_id)
        return chain_ids

    def all(self) -> Iterator[str]:
        """The chain ids of those that are known, unpacked or not."""
        for name in os.listdir(self.root):
            if digests.is_encoded(name):
                yield "sha256:" + name

    def strays(self) -> Sequence[str]:
        """What is no layer, and was never to become one."""
        names = [name for name in os.listdir(self.root) if not (digests.is_encoded(name) or name[0] == ".")]
        return [os.path.join(self.root, name) for name in names]

    def unpack(self, chunks: Iterator[bytes], name: str, *, parent: str = "", diff_id: str | None = None,
               devices: bool = True, want_end: bool = False) -> str:  # fmt: skip
        """Unpack one (possibly compressed) layer tar on top of the chain ``parent``; return its diff_id.

        With ``diff_id`` given it is an error if the tar has another one. ``name`` is for messages. After an
        error nothing is left.
        """
        place = self.place()
        try:
            unpacked = self.unpack_apart(place, chunks, name, devices=devices, want_end=want_end)
            if diff_id is not None and unpacked.diff_id != diff_id:
                raise mismatch(name, unpacked.diff_id, diff_id)
            self.commit([(unpacked, digests.chained(parent, unpacked.diff_id))], parent)
        except BaseException:
            self.discard(place)
            raise
        return unpacked.diff_id

    def place(self) -> str:
        """A name for a layer that is to be unpacked, by this process or a child of its."""
        return os.path.join(self.root, f".new-{os.getpid()}-{next(_serial)}")

    def unpack_apart(self, place: str, chunks: Iterator[bytes], name: str, *,
                     devices: bool = True, want_end: bool = False) -> Unpacked:  # fmt: skip
        """Unpack a layer tar at ``place``, whatever is to be below it, for ``commit`` to take in."""
        diff = os.path.join(place, "diff")
        os.mkdir(place, 0o700)
        os.mkdir(diff, 0o755)
        os.chmod(diff, 0o755)
        total = hashlib.sha256()
        whiteouts: list[bytes] = []
        source = ahead(_hashed(inflated(chunks, self.limits, name), total.update))
        directory = os.open(diff, _DIRECTORY)
        try:
            size = apply(
                Stream(source),
                directory,
                name,
                limits=self.limits,
                devices=devices,
                want_end=want_end,
                whiteouts=whiteouts,
            )
        finally:
            source.close()
            os.close(directory)
        if whiteouts:
            _write(os.path.join(place, "whiteouts"), b"\0".join(whiteouts))
        return Unpacked(place=place, diff_id="sha256:" + total.hexdigest(), size=size)

    def commit(self, stack: Sequence[tuple[Unpacked | None, str]], parent: str = "") -> None:
        """Put ``stack``, layers with their chain ids from the bottom up, on top of the chain ``parent``.

        ``None`` stands for a layer that is here already. All become durable at once, before one of them has
        its name. What another process was faster with is thrown away.
        """
        lowers = [self.diff(below) for below in self.stack(parent)]
        for unpacked, chain_id in stack:
            if unpacked is None:
                lowers.insert(0, self.diff(chain_id))
            else:
                self._settle(unpacked, parent, lowers)
                lowers.insert(0, os.path.join(unpacked.place, "diff"))
            parent = chain_id
        fresh = [(unpacked.place, chain_id) for unpacked, chain_id in stack if unpacked is not None]
        if not fresh:
            return
        directory = os.open(self.root, _DIRECTORY)
        try:
            syncfs(directory)
            for place, chain_id in fresh:
                self._name(place, chain_id)
            os.fsync(directory)
        finally:
            os.close(directory)

    def _settle(self, unpacked: Unpacked, parent: str, lowers: Sequence[str]) -> None:
        """Give an unpacked layer all that it has besides its files."""
        place = unpacked.place
        listed = os.path.join(place, "whiteouts")
        if os.path.exists(listed):
            with open(listed, "rb") as file:
                whiteouts = file.read().split(b"\0")
            directory = os.open(os.path.join(place, "diff"), _DIRECTORY)
            try:
                prune(directory, whiteouts, lambda path: bool(lowers) and lookup.has(lowers, path))
            finally:
                os.close(directory)
            os.unlink(listed)
        _write(os.path.join(place, "parent"), parent.encode())
        _write(os.path.join(place, "size"), str(unpacked.size).encode())
        os.chmod(place, 0o711)

    def _name(self, place: str, chain_id: str) -> None:
        try:
            os.rename(place, self._path(chain_id))
        except OSError:
            if not os.path.isdir(self._path(chain_id)):
                raise
            self._complete(os.path.join(place, "diff"), chain_id)
            remove_tree(place)  # another process was faster with the same layer

    def discard(self, place: str) -> None:
        """Remove what has been unpacked at ``place``, if anything."""
        remove_tree(place)

    def _complete(self, diff: str, chain_id: str) -> None:
        """Give a layer that is known already its files, if it has none and ``diff`` is there."""
        if os.path.isdir(diff) and not self.has(chain_id):
            try:
                os.rename(diff, self.diff(chain_id))
            except OSError:
                if not self.has(chain_id):
                    raise

    def init(self, chain_id: str) -> str:
        """The directory of the init layer that goes on top of the layers up to ``chain_id``."""
        return os.path.join(self._path(chain_id), "init")

    def make_init(self, chain_id: str) -> None:
        """Make the init layer, if it is not there."""
        place = self.init(chain_id)
        if os.path.isdir(place):
            return
        temporary = os.path.join(self.root, f".new-{os.getpid()}-{next(_serial)}")
        try:
            make_init_layer(temporary, [self.diff(below) for below in self.stack(chain_id)])
            os.rename(temporary, place)
        except OSError:
            remove_tree(temporary)
            if not os.path.isdir(place):  # else another process was faster
                raise

    def remove(self, chain_id: str) -> None:
        """Remove a layer that nothing refers to."""
        doomed = os.path.join(self.root, f".old-{os.getpid()}-{next(_serial)}")
        os.rename(self._path(chain_id), doomed)
        remove_tree(doomed)

    def remove_leftovers(self) -> None:
        """Remove what was never finished. Only when nobody is unpacking or removing."""
        for path in self.leftovers():
            if os.path.isdir(path) and not os.path.islink(path):
                remove_tree(path)
            else:
                os.unlink(path)

    def leftovers(self) -> Sequence[str]:
        """What is being unpacked or removed, or was when somebody was killed."""
        return [os.path.join(self.root, name) for name in os.listdir(self.root) if name.startswith(".")]


def chain_of(root: str, directories: Sequence[str]) -> list[str]:
    """The chain ids, bottom first, of those of ``directories`` (top first) that are in layers of ``root``."""
    top = f"{root}/layer/"
    names = [path[len(top) :].partition("/")[0] for path in directories if path.startswith(top)]
    return list(dict.fromkeys(f"sha256:{name}" for name in reversed(names)))


def mismatch(name: str, found: str, wanted: str) -> errors.CorruptData:
    return errors.CorruptData(f"{name}: its uncompressed digest is {found}, the image says {wanted}")


def _write(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)


def _hashed(chunks: Iterator[bytes], update: Callable[[bytes], object]) -> Iterator[bytes]:
    for chunk in chunks:
        update(chunk)
        yield chunk
