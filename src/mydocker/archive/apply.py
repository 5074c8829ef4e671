"""Unpack a layer archive into a directory, and let it write nothing else.

``apply`` takes a tar stream and an open directory. Names are resolved by the kernel from descriptors
(``openat2`` with RESOLVE_BENEATH, man 2 openat2): no path is joined to a string, so nothing that the archive
put there before (a symbolic link, CVE-2018-15664 and its kin) can lead out. Refused as ``HostileArchive``:
absolute names, ``..``, entries below a link that leads out, hard links to what is not in the archive, device
nodes where they are not wanted, more entries than the limit. A symbolic link that stays inside is followed,
as tar does; its target is written as it stands, because it means something only inside of the container.

A later entry takes the place of an earlier one of the same name. Whiteouts (image-spec layer.md) become what
overlayfs understands (kernel Documentation/filesystems/overlayfs.rst):

    dir/.wh.name       ->  a character device 0/0 named dir/name
    dir/.wh..wh..opq   ->  trusted.overlay.opaque=y on dir
    .wh..wh.*          ->  nothing, AUFS kept its own books there

They hide lower layers only. Where a layer has both the whiteout and the entry, in either order, the entry
stays, and a directory becomes opaque. A whiteout with nothing below it has to go again (``prune``), when the
layers below are there: in a directory that only one layer has, overlayfs would show its name.

Attributes are set in the order in which they do not undo each other: owner, mode (chown clears setuid),
xattrs (chown clears file capabilities), times; times of directories when everything is written. Out of
scope: removing the directory after an error, which is for whoever made it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable

from .. import errors
from ..linux.path import RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, openat2, path_of
from ..linux.tree import remove_tree
from . import tar
from .compression import Limits
from .stream import Stream, Truncated

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"
AUFS = b".wh..wh."
OPAQUE_XATTR = "trusted.overlay.opaque"

_BENEATH = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_DIRECTORIES = 200
# What an archive must not say about the stack that it will be put into.
_OVERLAY = (b"trusted.overlay.", b"user.overlay.")
_NODES = {tar.CHARACTER: stat.S_IFCHR, tar.BLOCK_DEVICE: stat.S_IFBLK, tar.FIFO: stat.S_IFIFO}


def apply(
    stream: Stream,
    directory: int,
    name: str,
    *,
    limits: Limits | None = None,
    devices: bool = True,
    want_end: bool = False,
    whiteouts: list[bytes] | None = None,
) -> int:
    """Unpack the tar in ``stream`` below the descriptor ``directory``; return the bytes in its files.

    Links count too, by the length of their targets, and holes as if they were not, as in Docker.

    ``name`` stands for the archive in messages. ``want_end``: an archive without its end marker is taken for
    truncated. The places of the whiteouts that were made are added to ``whiteouts``.
    The stream is read to its very end, past the marker, so that a digest taken of it is whole.
    """
    reader = tar.Reader(stream)
    with Unpacker(stream, directory, name, limits or Limits(), devices, whiteouts) as unpacker:
        entry = None
        try:
            for entry in reader:
                unpacker.entry(entry)
            unpacker.finish()
        except Truncated as error:
            raise errors.CorruptData(f"{name}: {error}{_after(entry)}") from error
        except errors.HostileArchive:
            raise
        except errors.CorruptData as error:
            text = str(error)
            if not text.startswith(name):
                text = f"{name}: {text}{_after(entry)}"
            raise errors.CorruptData(text) from error
    if want_end and not reader.ended:
        raise errors.CorruptData(f"{name}: truncated archive: it has no end marker{_after(entry)}")
    stream.drain()
    return unpacker.bytes


def prune(directory: int, whiteouts: Iterable[bytes], hides: Callable[[str], bool]) -> None:
    """Remove those of ``whiteouts`` below ``directory`` for which the layers below have nothing.

    ``hides`` tells whether they have a path. A later entry may have come into the place of a whiteout, or of
    a directory above it: what is there now is looked at, and links are not followed.
    """
    for place in whiteouts:
        if hides(os.fsdecode(place)):
            continue
        upper, _, name = place.rpartition(b"/")
        try:
            parent = openat2(
                directory, os.fsdecode(upper or b"."), _DIRECTORY, 0, _BENEATH | RESOLVE_NO_SYMLINKS
            )
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            continue
        try:
            status = os.stat(f"/proc/self/fd/{parent}")
            if _is_whiteout(os.lstat(name, dir_fd=parent)):
                os.unlink(name, dir_fd=parent)
                os.utime(f"/proc/self/fd/{parent}", ns=(status.st_atime_ns, status.st_mtime_ns))
        except FileNotFoundError:
            continue
        finally:
            os.close(parent)


def _after(entry: tar.Entry | None) -> str:
    return f" (last entry {_show(entry.name)})" if entry else ""


def _show(name: bytes) -> str:
    return repr(name.decode(errors="backslashreplace"))


class Unpacker:
    """The state of one unpacking: open directories, and the directory times still to be set."""

    layer = True
    """whether names that begin with ``.wh.`` are whiteouts"""

    def __init__(
        self,
        stream: Stream,
        root: int,
        archive: str,
        limits: Limits,
        devices: bool,
        whiteouts: list[bytes] | None,
    ) -> None:
        self._stream = stream
        self._root = root
        self._archive = archive
        self._limits = limits
        self._devices = devices
        self._whiteouts = whiteouts
        self._open: dict[bytes, int] = {}
        self._late: dict[bytes, tuple[int, dict[bytes, bytes] | None]] = {}
        self._entries = 0
        self.bytes = 0
        self._make: dict[bytes, Callable[[tar.Entry, int, bytes], None]] = {
            tar.REGULAR: self._regular,
            tar.LINK: self._link,
            tar.SYMLINK: self._symlink,
            tar.CHARACTER: self._node,
            tar.BLOCK_DEVICE: self._node,
            tar.FIFO: self._node,
        }

    def __enter__(self) -> Unpacker:
        return self

    def __exit__(self, *exc: object) -> None:
        self._forget()

    def _forget(self) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()

    def _hostile(self, entry: tar.Entry, why: str) -> errors.HostileArchive:
        return errors.HostileArchive(f"{self._archive}: entry {_show(entry.name)}: {why}")

    def entry(self, entry: tar.Entry) -> None:
        self._entries += 1
        if self._entries > self._limits.entries:
            raise self._hostile(entry, f"more than {self._limits.entries} entries (the limit)")
        path = self._clean(entry, entry.name)
        parent_path, _, name = path.rpartition(b"/")
        if len(name) > 255:
            raise self._hostile(entry, "a name of more than 255 bytes")
        try:
            if not name:
                self._top(entry)
                return
            parent = self._parent(entry, parent_path)
            if self.layer and name.startswith(WHITEOUT):
                self._whiteout(entry, parent, name)
            elif entry.type == tar.DIRECTORY:
                self._directory(entry, parent, name, path)
            else:
                make = self._make[entry.type]
                try:
                    make(entry, parent, name)
                except FileExistsError:
                    self._replace(parent, name, path)
                    make(entry, parent, name)
        except (OSError, OverflowError) as error:
            raise self._failed(entry, error) from error

    def _failed(self, entry: tar.Entry, error: OSError | OverflowError) -> errors.Error:
        text = f"{self._archive}: entry {_show(entry.name)}: {getattr(error, 'strerror', None) or error}"
        if isinstance(error, OverflowError):
            return errors.CorruptData(text)
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE):
            return errors.Unavailable(text)
        if error.errno in (errno.EPERM, errno.EACCES):
            return errors.Forbidden(text)
        return errors.CorruptData(text)

    def _clean(self, entry: tar.Entry, name: bytes) -> bytes:
        """``./a//b/`` as ``a/b``; b"" is the directory itself."""
        if b"\0" in name:
            raise self._hostile(entry, "a zero byte in the name")
        if len(name) > 4096:
            raise self._hostile(entry, "a name of more than 4096 bytes")
        if name[:1] == b"/" and name.strip(b"/"):
            raise self._hostile(entry, "an absolute name")
        if b"//" in name or b"./" in name or name[-1:] in b"./" or name[:1] == b"/":
            parts = name.split(b"/")
            if b".." in parts:
                raise self._hostile(entry, "the name has '..' in it")
            return b"/".join([part for part in parts if part not in (b"", b".")])
        return name

    def _parent(self, entry: tar.Entry, path: bytes) -> int:
        """A descriptor of the directory ``path``, made (root's, 0755) if no entry has made it yet."""
        missing = []
        while (found := self._present(entry, path)) is None:
            path, _, name = path.rpartition(b"/")
            missing.append(name)
        for name in reversed(missing):
            path = path + b"/" + name if path else name
            found = self._keep(path, self._implied(entry, found, name, path))
        return found

    def _present(self, entry: tar.Entry, path: bytes) -> int | None:
        if not path:
            return self._root
        known = self._open.get(path)
        if known is not None:
            return known
        try:
            return self._keep(path, self._look_up(entry, path))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _keep(self, path: bytes, directory: int) -> int:
        if len(self._open) >= _OPEN_DIRECTORIES:
            self._forget()
        self._open[path] = directory
        return directory

    def _implied(self, entry: tar.Entry, above: int, name: bytes, path: bytes) -> int:
        try:
            self._new_directory(above, name)
        except FileExistsError:
            raise self._hostile(entry, f"passes through {_show(path)}, which is not a directory") from None
        os.chmod(name, 0o755, dir_fd=above)
        os.chown(name, *self._implied_owner(), dir_fd=above, follow_symlinks=False)
        return os.open(name, _DIRECTORY, dir_fd=above)

    def _implied_owner(self) -> tuple[int, int]:
        return 0, 0

    def _new_directory(self, parent: int, name: bytes) -> None:
        """Make a directory; in the place of a whiteout it must also hide what lies below, so it is opaque."""
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            if not _is_whiteout(os.lstat(name, dir_fd=parent)):
                raise
            os.unlink(name, dir_fd=parent)
            os.mkdir(name, 0o700, dir_fd=parent)
            os.setxattr(_at(parent, name), OPAQUE_XATTR, b"y", follow_symlinks=False)

    def _look_up(self, entry: tar.Entry, path: bytes) -> int:
        try:
            return openat2(self._root, os.fsdecode(path), os.O_PATH | os.O_DIRECTORY, 0, _BENEATH)
        except OSError as error:
            if error.errno == errno.EXDEV:
                raise self._hostile(entry, "passes through a symbolic link that leads outside") from error
            if error.errno == errno.ELOOP:
                raise self._hostile(entry, "passes through a loop of symbolic links") from error
            raise

    def _replace(self, parent: int, name: bytes, path: bytes) -> None:
        """Remove what an earlier entry put there: a directory, or a link to one, may be open."""
        self._forget_below(path)
        if stat.S_ISDIR(os.lstat(name, dir_fd=parent).st_mode):
            remove_tree(name, dir_fd=parent)
        else:
            os.unlink(name, dir_fd=parent)

    def _forget_below(self, path: bytes) -> None:
        below = path + b"/"
        for known in [p for p in self._open if p == path or p.startswith(below)]:
            os.close(self._open.pop(known))
        for known in [p for p in self._late if p == path or p.startswith(below)]:
            del self._late[known]

    # One method for each type of entry; all but the first expect that there is nothing of that name.

    def _top(self, entry: tar.Entry) -> None:
        if entry.type != tar.DIRECTORY:
            raise self._hostile(entry, "takes the place of the top directory")
        path = f"/proc/self/fd/{self._root}"
        os.chown(path, entry.uid, entry.gid)
        os.chmod(path, entry.mode)
        self._late[b""] = (entry.mtime_ns, entry.xattrs)

    def _directory(self, entry: tar.Entry, parent: int, name: bytes, path: bytes) -> None:
        try:
            self._new_directory(parent, name)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(name, dir_fd=parent).st_mode):
                self._replace(parent, name, path)
                os.mkdir(name, 0o700, dir_fd=parent)
        os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
        os.chmod(name, entry.mode, dir_fd=parent)
        # xattrs wait too: a default ACL would be inherited by the entries to come
        self._late[path] = (entry.mtime_ns, entry.xattrs)

    def _regular(self, entry: tar.Entry, parent: int, name: bytes) -> None:
        descriptor = os.open(name, _WRITE, 0o600, dir_fd=parent)
        try:
            if entry.segments is None:
                for part in self._stream.parts(entry.size):
                    _write(descriptor, part)
            else:
                for offset, length in entry.segments:
                    os.lseek(descriptor, offset, os.SEEK_SET)
                    for part in self._stream.parts(length):
                        _write(descriptor, part)
                os.ftruncate(descriptor, entry.real_size)
            os.fchown(descriptor, entry.uid, entry.gid)
            os.fchmod(descriptor, entry.mode)
            if entry.xattrs:
                self._xattrs(entry.xattrs, descriptor)
            os.utime(descriptor, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(descriptor)
        self.bytes += entry.real_size

    def _link(self, entry: tar.Entry, parent: int, name: bytes) -> None:
        outside = f"a hard link to {_show(entry.link)}, which is not in the archive"
        if entry.link[:1] == b"/":
            raise self._hostile(entry, outside)
        source_path, _, source_name = self._clean(entry, entry.link).rpartition(b"/")
        try:
            known = self._open.get(source_path) if source_path else self._root
            source = self._look_up(entry, source_path) if known is None else known
            try:
                if not source_name:
                    raise self._hostile(entry, outside)
                os.link(source_name, name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
            except FileExistsError:
                if os.path.samestat(os.lstat(source_name, dir_fd=source), os.lstat(name, dir_fd=parent)):
                    return
                raise
            finally:
                if known is None:
                    os.close(source)
        except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
            raise self._hostile(entry, outside) from error

    def _symlink(self, entry: tar.Entry, parent: int, name: bytes) -> None:
        os.symlink(entry.link, name, dir_fd=parent)
        self.bytes += len(entry.link)
        os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
        self._finish_by_name(entry, parent, name)

    def _node(self, entry: tar.Entry, parent: int, name: bytes) -> None:
        device = 0
        if entry.type != tar.FIFO:
            if not self._devices:
                raise self._hostile(entry, "a device node, which is not allowed here")
            if entry.major >= 1 << 12 or entry.minor >= 1 << 20:
                raise self._hostile(entry, f"no such device number: {entry.major}:{entry.minor}")
            device = os.makedev(entry.major, entry.minor)
        os.mknod(name, _NODES[entry.type] | 0o600, device, dir_fd=parent)
        os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
        os.chmod(name, entry.mode, dir_fd=parent)
        self._finish_by_name(entry, parent, name)

    def _finish_by_name(self, entry: tar.Entry, parent: int, name: bytes) -> None:
        if entry.xattrs:
            self._xattrs(entry.xattrs, _at(parent, name))
        os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=parent, follow_symlinks=False)

    def _whiteout(self, entry: tar.Entry, parent: int, name: bytes) -> None:
        if name == OPAQUE:
            os.setxattr(f"/proc/self/fd/{parent}", OPAQUE_XATTR, b"y")
            return
        if name.startswith(AUFS):
            return
        hidden = name[len(WHITEOUT) :]
        if hidden in (b"", b".", b".."):
            raise self._hostile(entry, "a whiteout of no name")
        try:
            os.mknod(hidden, stat.S_IFCHR, os.makedev(0, 0), dir_fd=parent)
        except FileExistsError:
            if stat.S_ISDIR(os.lstat(hidden, dir_fd=parent).st_mode):
                os.setxattr(_at(parent, hidden), OPAQUE_XATTR, b"y", follow_symlinks=False)
        else:
            if self._whiteouts is not None:
                self._whiteouts.append(self._place(parent, hidden))

    def _place(self, parent: int, name: bytes) -> bytes:
        """Where ``name`` really is below the top directory: links in the archive's own path are followed."""
        top, place = path_of(self._root), path_of(parent)
        return (os.fsencode(place[len(top) :]) + b"/" + name)[1:]

    def _xattrs(self, xattrs: dict[bytes, bytes], place: int | bytes) -> None:
        for key, value in xattrs.items():
            if key.startswith(_OVERLAY):
                continue
            try:
                if isinstance(place, int):
                    os.setxattr(place, key, value)
                else:
                    os.setxattr(place, key, value, follow_symlinks=False)
            except OSError as error:
                raise OSError(error.errno, f"xattr {_show(key)}: {error.strerror}") from error

    def finish(self) -> None:
        """Set the times and xattrs of the directories, which every entry in them has changed until now."""
        for path, (mtime, xattrs) in self._late.items():
            entry = tar.Entry()
            entry.name = path
            upper, _, name = path.rpartition(b"/")
            try:
                parent = self._parent(entry, upper)
                place = _at(parent, name)
                if xattrs:
                    self._xattrs(xattrs, place)
                os.utime(place, ns=(mtime, mtime), follow_symlinks=not name)
            except (OSError, OverflowError) as error:
                raise self._failed(entry, error) from error


def _at(parent: int, name: bytes) -> bytes:
    """A path for the calls that take no directory descriptor; they are told not to follow its last part."""
    return b"/proc/self/fd/%d/%s" % (parent, name)


def _is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _write(descriptor: int, data: memoryview) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
