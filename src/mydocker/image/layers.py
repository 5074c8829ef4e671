"""Layers as directories: unpacked once, shared read-only by every container of every image that has them.

    <root>/layer/<chain id, 64 digits>/diff      the files of this one layer, once they have been needed
                                       parent    the chain id below it, empty for the lowest
                                       size      bytes in its files, decimal; its flock: who unpacks it
                                       init      mount targets that the stack up to here lacks (where an
                                                 image ends here): snapshot/targets.py
    <root>/layer/.new-<pid>-<n>/                 one that is being unpacked, renamed when it is whole
    <root>/layer/.old-<pid>-<n>/                 one that is being removed, renamed before

So a directory with a chain id for its name is complete, but for ``diff``: the files of a layer that was made
here (``commit``) are in its blob, until a container is to stand on them. Which may be removed is
``ImageStore``'s to know, and it holds the lock under which leftovers (dotted names) are cleared away.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Callable, Iterator, Sequence

from .. import errors
from ..archive.apply import apply
from ..archive.compression import Limits, inflated
from ..archive.stream import Stream, ahead
from ..content import files
from ..content.lock import Lock
from ..linux.filesystem import syncfs
from ..oci import digest as digests
from ..snapshot import lookup
from ..snapshot.targets import make_init_layer
from ..snapshot.tree import remove_tree

_serial = itertools.count()


class LayerStore:
    def __init__(self, root: str, limits: Limits | None = None) -> None:
        self.root = root
        self.limits = limits or Limits()

    def initialise(self) -> None:
        os.makedirs(self.root, mode=0o755, exist_ok=True)

    def _path(self, chain_id: str) -> str:
        return os.path.join(self.root, digests.encoded(digests.validate_sha256(chain_id)))

    def diff(self, chain_id: str) -> str:
        """The directory with the layer's files."""
        return os.path.join(self._path(chain_id), "diff")

    def has(self, chain_id: str) -> bool:
        """Whether the layer is unpacked."""
        return os.path.isdir(self.diff(chain_id))

    def register(self, chain_id: str, parent: str, size: int) -> None:
        """Make a layer known whose files are in a blob only; ``size`` bytes in files."""
        temporary = os.path.join(self.root, f".new-{os.getpid()}-{next(_serial)}")
        os.mkdir(temporary, 0o700)
        try:
            self._describe(temporary, parent, size, durable=True)
            self._commit(temporary, chain_id)
        except BaseException:
            remove_tree(temporary)
            raise

    def unpacking(self, chain_id: str) -> Lock:
        """For ``with``: nobody else unpacks this layer, which is known."""
        return Lock(os.path.join(self._path(chain_id), "size"))

    def size(self, chain_id: str) -> int:
        with open(os.path.join(self._path(chain_id), "size"), encoding="ascii") as file:
            return int(file.read())

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
        for name in os.listdir(self.root):
            if not name.startswith("."):
                yield "sha256:" + name

    def unpack(self, chunks: Iterator[bytes], name: str, *, parent: str = "", diff_id: str | None = None,
               devices: bool = True, want_end: bool = False) -> str:  # fmt: skip
        """Unpack one (possibly compressed) layer tar on top of the chain ``parent``; return its diff_id.

        With ``diff_id`` given it is an error if the tar has another one. ``name`` is for messages. After an
        error nothing is left.
        """
        temporary = os.path.join(self.root, f".new-{os.getpid()}-{next(_serial)}")
        os.mkdir(temporary, 0o700)
        try:
            found, size = self._unpack(
                chunks, name, os.path.join(temporary, "diff"), parent, devices=devices, want_end=want_end
            )
            if diff_id is not None and found != diff_id:
                raise errors.CorruptData(
                    f"{name}: its uncompressed digest is {found}, the image says {diff_id}"
                )
            chain_id = digests.of(f"{parent} {found}".encode()) if parent else found
            self._describe(temporary, parent, size)
            self._commit(temporary, chain_id)
        except BaseException:
            remove_tree(temporary)
            raise
        return found

    def _describe(self, temporary: str, parent: str, size: int, *, durable: bool = False) -> None:
        for file, text in (("parent", parent), ("size", str(size))):
            with open(os.path.join(temporary, file), "w", encoding="ascii") as handle:
                handle.write(text)
                if durable:
                    handle.flush()
                    os.fsync(handle.fileno())

    def _unpack(
        self, chunks: Iterator[bytes], name: str, diff: str, parent: str, *, devices: bool, want_end: bool
    ) -> tuple[str, int]:
        os.mkdir(diff, 0o755)
        os.chmod(diff, 0o755)
        total = hashlib.sha256()
        source = ahead(_hashed(inflated(chunks, self.limits, name), total.update))
        directory = os.open(diff, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            size = apply(
                Stream(source),
                directory,
                name,
                limits=self.limits,
                devices=devices,
                want_end=want_end,
                hides=self._hides(parent),
            )
            syncfs(directory)
        finally:
            source.close()
            os.close(directory)
        return "sha256:" + total.hexdigest(), size

    def _hides(self, parent: str) -> Callable[[str], bool]:
        """Whether the chain ``parent`` has a path. Few layers ask, so the chain is followed when one does."""
        lowers: Sequence[str] | None = None

        def hides(path: str) -> bool:
            nonlocal lowers
            if lowers is None:
                lowers = [self.diff(below) for below in self.stack(parent)]
            return bool(lowers) and lookup.has(lowers, path)

        return hides

    def _commit(self, temporary: str, chain_id: str) -> None:
        os.chmod(temporary, 0o711)
        try:
            os.rename(temporary, self._path(chain_id))
        except OSError:
            if not os.path.isdir(self._path(chain_id)):
                raise
            self._complete(os.path.join(temporary, "diff"), chain_id)
            remove_tree(temporary)  # another process was faster with the same layer
        files.sync_directory(self.root)

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
        for name in os.listdir(self.root):
            if name.startswith("."):
                remove_tree(os.path.join(self.root, name))


def _hashed(chunks: Iterator[bytes], update: Callable[[bytes], object]) -> Iterator[bytes]:
    for chunk in chunks:
        update(chunk)
        yield chunk
