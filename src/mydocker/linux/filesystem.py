"""File system calls that ``os`` lacks: ``syncfs``, ``renameat2``, ``FICLONE``, the inode flags of ``chattr``.

In scope: flushing one file system (man 2 syncfs), moving without replacing (man 2 renameat2), sharing the
blocks of a file (man 2 ioctl_ficlone), taking off the inode flags that forbid removal (man 2 ioctl_iflags),
and the names of extended attributes where a file system may have none. Path lookup is in ``path``; everything
else about files is in ``os``, which takes ``dir_fd``.
"""

import errno
import fcntl
import os
import struct

from .syscall import check, libc, syscall

# linux/fs.h: _IOW(0x94, 9, int), _IOR('f', 1, long) and _IOW('f', 2, long), and two of the flags
FICLONE = 0x40049409
FS_IOC_GETFLAGS = 0x80086601
FS_IOC_SETFLAGS = 0x40086602
FS_IMMUTABLE_FL = 0x10
FS_APPEND_FL = 0x20
_RENAME_NOREPLACE = 1  # linux/fs.h


def syncfs(descriptor: int) -> None:
    """Write out everything that the file system of ``descriptor`` still has in memory only."""
    check(libc.syncfs(descriptor))


def rename_new(name: str, source: int, target: int) -> None:
    """Move ``name`` from one open directory to another; FileExistsError if it is there already.

    Network file systems and some others cannot promise that, and are asked before.
    """
    encoded = os.fsencode(name)
    try:
        syscall("renameat2", source, encoded, target, encoded, _RENAME_NOREPLACE)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise OSError(error.errno, error.strerror, name) from None
        try:
            os.lstat(name, dir_fd=target)
        except FileNotFoundError:
            os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)
        else:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name) from None


def clear_flags(descriptor: int, flags: int) -> None:
    """Take ``flags`` (FS_IMMUTABLE_FL, FS_APPEND_FL) off an open inode."""
    (current,) = struct.unpack("l", fcntl.ioctl(descriptor, FS_IOC_GETFLAGS, struct.pack("l", 0)))
    if current & flags:
        fcntl.ioctl(descriptor, FS_IOC_SETFLAGS, struct.pack("l", current & ~flags))


def ficlone(source: int, target: int) -> bool:
    """Give the file ``target`` the contents of ``source`` by sharing its blocks; whether that can be done."""
    try:
        fcntl.ioctl(target, FICLONE, source)
    except OSError as error:
        # the file system cannot, or there are two, or this kind of file is not to be cloned
        if error.errno in (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.EISDIR):
            return False
        raise
    return True


def list_xattrs(place: int | str | bytes, *, follow: bool) -> list[str]:
    """The names of its extended attributes (listxattr(2)); none where the file system has no such thing."""
    try:
        return os.listxattr(place, follow_symlinks=follow)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return []
        raise
