"""Give one inode the attributes of another: owner, mode, xattrs, times."""

from __future__ import annotations

import os
import stat

from ..linux.filesystem import list_xattrs

_OVERLAY = ("trusted.overlay.", "user.overlay.")


def copy_attributes(
    source: int | str, status: os.stat_result, target: int | str, *, without: tuple[str, ...] = _OVERLAY
) -> None:
    """Make ``target`` look like ``source``, whose lstat is ``status``; both paths, or both descriptors.

    The order matters: chown takes setuid bits and file capabilities away. Links are not followed. Xattrs that
    begin as one of ``without`` stay behind: as it is, what overlayfs noted about ``source``.
    """
    follow = isinstance(source, int)
    os.chown(target, status.st_uid, status.st_gid, follow_symlinks=follow)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(target, stat.S_IMODE(status.st_mode))
    for name in list_xattrs(source, follow=follow):
        if not name.startswith(without):
            value = os.getxattr(source, name, follow_symlinks=follow)
            os.setxattr(target, name, value, follow_symlinks=follow)
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=follow)
