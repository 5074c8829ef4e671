"""Write a directory as a tar: the read-write layer of a container, or a whole root file system.

``pack`` walks from an open directory by descriptors (openat, man 2 open) and never follows a link; names are
taken in the order of their bytes, so the same tree gives the same archive. Files, directories, symbolic
links, devices and fifos go in with owner, mode, time and xattrs; several names of one inode as hard links to
the first of them; sockets do not go in, as with docker. Large holes stay holes.

With ``whiteouts`` the directory is the upper directory of an overlay, whose own marks become those of a layer
archive (image-spec layer.md; kernel Documentation/filesystems/overlayfs.rst), the reverse of ``apply``:

    a character device 0/0 named dir/name      ->  dir/.wh.name
    trusted.overlay.opaque=y on dir            ->  dir/.wh..wh..opq
    other xattrs trusted.overlay.*             ->  nothing; redirect and metacopy are refused: what they stand
                                                   for is in another layer

The tree may be changing, under the hands of somebody hostile: have it on a mount of its own with ``nodev``
(``snapshot/view.py``), so that opening a file that has just become a device does nothing. What vanishes
during the walk was not there; a large file that shrinks while it is read is an error.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from .. import errors
from ..linux.descent import DIRECTORY, Descent
from ..linux.filesystem import list_xattrs
from . import tar
from .apply import OPAQUE, OPAQUE_XATTR, WHITEOUT
from .stream import Truncated
from .write import Writer

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OVERLAY = ("trusted.overlay.", "user.overlay.")
_ELSEWHERE = ("trusted.overlay.redirect", "trusted.overlay.metacopy")
# Of this machine and not of the file: labels of its policy, checksums with its key.
_HOSTS = frozenset(("security.selinux", "security.evm"))
_HOLES = 1 << 20
"""bytes in holes from which on a file is stored as a sparse one"""
_SMALL = 1 << 16
"""bytes up to which a file is read before its header is written, so that it has one size at one moment"""
_TYPES = {
    stat.S_IFREG: tar.REGULAR,
    stat.S_IFDIR: tar.DIRECTORY,
    stat.S_IFLNK: tar.SYMLINK,
    stat.S_IFCHR: tar.CHARACTER,
    stat.S_IFBLK: tar.BLOCK_DEVICE,
    stat.S_IFIFO: tar.FIFO,
}


def pack(directory: int, writer: Writer, *, whiteouts: bool, top: bool = False) -> int:
    """Write what is in ``directory``, an open directory; return the bytes in its files.

    ``top``: with an entry for the directory itself. The archive is not finished by this. NotSupported for
    what no layer can hold, Unavailable for what changes too fast; ``OSError`` with the path.
    """
    packer = _Packer(writer, whiteouts)
    packer.walk(directory, top)
    return packer.bytes


def pack_entry(
    parent: int, name: bytes, writer: Writer, stored: bytes, leave: Callable[[int], bool] | None = None
) -> int:
    """Write ``name`` of the open directory ``parent``, and what is in it, under the name ``stored``.

    For a tree that is not on a mount of its own: files are opened only after they have been seen to be files,
    and a directory for whose descriptor ``leave`` is true goes in empty. The rest is as in ``pack``.
    """
    packer = _Packer(writer, False, leave or (lambda _: False))
    packer.one(parent, name, stored)
    return packer.bytes


class _Packer:
    def __init__(self, writer: Writer, whiteouts: bool, leave: Callable[[int], bool] | None = None) -> None:
        self._writer = writer
        self._whiteouts = whiteouts
        self._leave = leave
        self._links: dict[tuple[int, int], bytes] = {}
        self.bytes = 0

    def walk(self, directory: int, top: bool) -> None:
        if top:
            self._directory(directory, b"./")
        self._descend(os.dup(directory), b"")

    def one(self, parent: int, name: bytes, stored: bytes) -> None:
        directory = self._entry(parent, name, stored)
        if directory is not None:
            self._descend(directory, stored + b"/")

    def _descend(self, directory: int, path: bytes) -> None:
        with Descent(directory) as way:
            frames = [(path, _names(directory))]
            while frames:
                path, names = frames[-1]
                if not names:
                    frames.pop()
                    if frames:
                        way.leave()
                    continue
                name = names.pop()
                below = path + name
                try:
                    inner = self._entry(way.here, name, below)
                    if inner is not None:
                        way.enter(inner)
                        frames.append((below + b"/", []))
                        frames[-1][1].extend(_names(inner))
                except FileNotFoundError:
                    continue
                except OSError as error:
                    if error.filename is None or isinstance(error.filename, str):
                        raise  # of whoever takes the archive, or named already
                    raise OSError(error.errno, error.strerror, os.fsdecode(below)) from error

    def _entry(self, parent: int, name: bytes, path: bytes) -> int | None:
        """Write one entry; of a directory return the descriptor."""
        status = os.lstat(name, dir_fd=parent)
        kind = stat.S_IFMT(status.st_mode)
        if self._whiteouts:
            if kind == stat.S_IFCHR and status.st_rdev == 0:
                self._mark(path[: len(path) - len(name)] + WHITEOUT + name)
                return None
            if name.startswith(WHITEOUT):
                raise errors.NotSupported(
                    f"{_show(path)}: no layer can hold a name that begins with {WHITEOUT.decode()!r}, which "
                    "stands for a removal there"
                )
        if kind == stat.S_IFDIR:
            descriptor = os.open(name, DIRECTORY, dir_fd=parent)
            try:
                self._directory(descriptor, path + b"/")
                left = self._leave is not None and self._leave(descriptor)
            except BaseException:
                os.close(descriptor)
                raise
            if left:
                os.close(descriptor)
                return None
            return descriptor
        if kind == stat.S_IFREG:
            self._regular(parent, name, path)
        elif kind != stat.S_IFSOCK:
            self._special(parent, name, path, status)
        return None

    def _directory(self, descriptor: int, path: bytes) -> None:
        entry = _described(path, os.fstat(descriptor))
        opaque = self._xattrs(entry, descriptor)
        self._writer.add(entry)
        if opaque:
            self._mark(path + OPAQUE)

    def _mark(self, path: bytes) -> None:
        entry = tar.Entry()
        entry.name = path
        entry.mode = 0o600
        self._writer.add(entry)

    def _regular(self, parent: int, name: bytes, path: bytes) -> None:
        descriptor = self._open(parent, name)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise errors.Unavailable(f"{_show(path)} changed while it was read")
            entry = _described(path, status)
            if self._is_known(entry, status):
                return
            self._xattrs(entry, descriptor)
            self._contents(entry, descriptor, status)
            self.bytes += entry.real_size
        finally:
            os.close(descriptor)

    def _open(self, parent: int, name: bytes) -> int:
        if self._leave is None:
            return os.open(name, _FILE, dir_fd=parent)
        handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise errors.Unavailable(f"{_show(name)} changed while it was read")
            return os.open(f"/proc/self/fd/{handle}", _FILE & ~os.O_NOFOLLOW)
        finally:
            os.close(handle)

    def _contents(self, entry: tar.Entry, descriptor: int, status: os.stat_result) -> None:
        entry.size = entry.real_size = status.st_size
        if status.st_size <= _SMALL:
            try:
                data = os.pread(descriptor, _SMALL, 0)
            except OSError as error:
                raise OSError(error.errno, error.strerror, os.fsdecode(entry.name)) from error
            entry.size = entry.real_size = len(data)
            self._writer.add(entry, data)
        else:
            if status.st_blocks * 512 <= status.st_size - _HOLES:
                _find_segments(entry, descriptor)
            try:
                self._writer.add(entry, descriptor)
            except Truncated as error:
                raise errors.Unavailable(f"{error} (try again)") from error

    def _special(self, parent: int, name: bytes, path: bytes, status: os.stat_result) -> None:
        """A symbolic link, a device, a fifo."""
        entry = _described(path, status)
        if entry.type == tar.SYMLINK:
            entry.link = os.readlink(name, dir_fd=parent)
        elif entry.type != tar.FIFO:
            entry.major, entry.minor = os.major(status.st_rdev), os.minor(status.st_rdev)
        if not self._is_known(entry, status):
            self._xattrs(entry, b"/proc/self/fd/%d/%s" % (parent, name))
            self._writer.add(entry)
            self.bytes += len(entry.link)

    def _is_known(self, entry: tar.Entry, status: os.stat_result) -> bool:
        """Whether this inode has been written under another name; then it is written as a link to that."""
        if status.st_nlink < 2:
            return False
        first = self._links.setdefault((status.st_dev, status.st_ino), entry.name)
        if first == entry.name:
            return False
        entry.type, entry.link, entry.major, entry.minor = tar.LINK, first, 0, 0
        self._writer.add(entry)
        return True

    def _xattrs(self, entry: tar.Entry, place: int | bytes) -> bool:
        """Read the xattrs that go into an archive; whether overlayfs takes the directory for opaque."""
        opaque = False
        follow = isinstance(place, int)
        for key in list_xattrs(place, follow=follow):
            if key.startswith(_OVERLAY):
                if self._whiteouts and key in _ELSEWHERE:
                    raise errors.NotSupported(
                        f"{_show(entry.name)}: overlayfs has noted {key}: its contents are in another layer "
                        "(the container was started with an option that this version does not use)"
                    )
                if self._whiteouts and key == OPAQUE_XATTR:
                    opaque = os.getxattr(place, key, follow_symlinks=follow) == b"y"
                continue
            if key in _HOSTS:
                continue
            if entry.xattrs is None:
                entry.xattrs = {}
            entry.xattrs[os.fsencode(key)] = os.getxattr(place, key, follow_symlinks=follow)
        return opaque


def _names(directory: int) -> list[bytes]:
    """Names in ``directory``, the last one first."""
    return sorted(map(os.fsencode, os.listdir(directory)), reverse=True)


def _described(path: bytes, status: os.stat_result) -> tar.Entry:
    entry = tar.Entry()
    entry.name = path
    entry.type = _TYPES[stat.S_IFMT(status.st_mode)]
    entry.mode = stat.S_IMODE(status.st_mode)
    entry.uid, entry.gid = status.st_uid, status.st_gid
    entry.mtime_ns = status.st_mtime_ns
    return entry


def _find_segments(entry: tar.Entry, descriptor: int) -> None:
    """Where there is data (man 2 lseek, SEEK_DATA), if that leaves holes worth mentioning."""
    segments: list[tuple[int, int]] = []
    at, end, size = 0, 0, entry.real_size
    while at < size:
        try:
            at = os.lseek(descriptor, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            break  # a hole up to the end
        end = min(os.lseek(descriptor, at, os.SEEK_HOLE), size)
        segments.append((at, end - at))
        at = end
    stored = sum(length for _, length in segments)
    if size - stored >= _HOLES and len(segments) < tar.SPARSE_LIMIT:
        if not segments or end < size:
            segments.append((size, 0))  # GNU tar takes the end of the file from the last segment
        entry.segments, entry.size = segments, stored


def _show(path: bytes) -> str:
    return repr(path.decode(errors="backslashreplace"))
