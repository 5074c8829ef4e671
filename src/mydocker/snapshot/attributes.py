"""Give one inode the attributes of another: owner, mode, xattrs, times."""

from __future__ import annotations

import os
import stat

from ..linux.filesystem import list_xattrs

OVERLAY = ("trusted.overlay.", "user.overlay.")


def copy_attributes(
    source: int | str,
    status: os.stat_result,
    target: int | str,
    *,
    without: tuple[str, ...] = OVERLAY,
    follow: bool = False,
) -> None:
    """Make ``target`` look like ``source``, whose lstat is ``status``; paths or descriptors.

    Where somebody else may put a link meanwhile, ``target`` has to be a descriptor; of one of O_PATH, which
    may be of a link, it is the name in /proc, with ``follow``. Other paths are not followed. The order
    matters: chown takes setuid bits and file capabilities away. Xattrs that begin as one of ``without`` stay
    behind: as it is, what overlayfs noted about ``source``.
    """
    to = follow or isinstance(target, int)
    os.chown(target, status.st_uid, status.st_gid, follow_symlinks=to)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(target, stat.S_IMODE(status.st_mode))
    of = isinstance(source, int)
    for name in list_xattrs(source, follow=of):
        if not name.startswith(without):
            value = os.getxattr(source, name, follow_symlinks=of)
            os.setxattr(target, name, value, follow_symlinks=to)
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=to)
