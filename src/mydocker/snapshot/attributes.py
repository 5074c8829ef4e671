"""Give one inode the attributes of another: owner, mode, xattrs, times."""

from __future__ import annotations

import errno
import os
import stat

_OVERLAY = ("trusted.overlay.", "user.overlay.")


def copy_attributes(source: str, status: os.stat_result, target: str) -> None:
    """Make ``target`` look like ``source``, whose lstat is ``status``; links are not followed.

    The order matters: chown takes setuid bits and file capabilities away. What overlayfs noted in xattrs
    about ``source`` stays behind.
    """
    os.chown(target, status.st_uid, status.st_gid, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(target, stat.S_IMODE(status.st_mode))
    for name in _names(source):
        if not name.startswith(_OVERLAY):
            os.setxattr(target, name, os.getxattr(source, name, follow_symlinks=False), follow_symlinks=False)
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)


def _names(path: str) -> list[str]:
    try:
        return os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return []
        raise
