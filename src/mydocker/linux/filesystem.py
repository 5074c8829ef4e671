"""File system calls that ``os`` lacks: ``syncfs`` and the inode flags of ``chattr``.

In scope: flushing one file system (man 2 syncfs), taking off the inode flags that forbid removal (man 2
ioctl_iflags). Path lookup is in ``path``; everything else about files is in ``os``, which takes ``dir_fd``.
"""

import fcntl
import struct

from .syscall import check, libc

# linux/fs.h: _IOR('f', 1, long) and _IOW('f', 2, long), and two of the flags
FS_IOC_GETFLAGS = 0x80086601
FS_IOC_SETFLAGS = 0x40086602
FS_IMMUTABLE_FL = 0x10
FS_APPEND_FL = 0x20


def syncfs(descriptor: int) -> None:
    """Write out everything that the file system of ``descriptor`` still has in memory only."""
    check(libc.syncfs(descriptor))


def clear_flags(descriptor: int, flags: int) -> None:
    """Take ``flags`` (FS_IMMUTABLE_FL, FS_APPEND_FL) off an open inode."""
    (current,) = struct.unpack("l", fcntl.ioctl(descriptor, FS_IOC_GETFLAGS, struct.pack("l", 0)))
    if current & flags:
        fcntl.ioctl(descriptor, FS_IOC_SETFLAGS, struct.pack("l", current & ~flags))
