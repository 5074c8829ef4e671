"""Give one inode the attributes of another: owner, mode, xattrs, times."""

from __future__ import annotations

import os
import stat

from ..linux.filesystem import list_xattrs

OVERLAY = ("trusted.overlay.", "user.overlay.")


def copy_attributes(
    source: int | str, status: os.stat_result, target: int | str, *, without: tuple[str, ...] = OVERLAY
) -> None:
    """Make ``target`` look like ``source``, whose lstat is ``status``; paths or descriptors.

    ``target`` may be a descriptor of O_PATH, even of a link; it has to be one where somebody else may put a
    link meanwhile. The order matters: chown takes setuid bits and file capabilities away. Xattrs that begin
    as one of ``without`` stay behind: as it is, what overlayfs noted about ``source``.
    """
    opened = isinstance(target, int)
    place = f"/proc/self/fd/{target}" if opened else target
    os.chown(place, status.st_uid, status.st_gid, follow_symlinks=opened)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(place, stat.S_IMODE(status.st_mode))
    follow = isinstance(source, int)
    for name in list_xattrs(source, follow=follow):
        if not name.startswith(without):
            value = os.getxattr(source, name, follow_symlinks=follow)
            os.setxattr(place, name, value, follow_symlinks=opened)
    os.utime(place, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=opened)
