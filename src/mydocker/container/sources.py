"""The host's directories that bind mounts are of, made where there are none: ``-v``, ``bind-create-src``.

As in Docker they are root's, with mode 0755 whatever the umask of the caller. Source: moby,
``daemon/volume/mounts/mounts.go`` (``Setup``).
"""

from __future__ import annotations

import os

from .record import MountPoint

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


def make(point: MountPoint) -> None:
    """Nothing happens where there is something already, a file too. Raises ``OSError``."""
    if point.type != "bind" or "create" not in point.options or os.path.lexists(point.source):
        return
    try:
        os.close(_made(point.source))
    except OSError as error:
        raise OSError(error.errno, error.strerror, point.source) from None


def _made(path: str) -> int:
    """A descriptor of the directory ``path``, made with its parents where missing.

    Whoever may write to a parent may put something else in the place of what was just made, so its mode is
    changed by descriptor, and no link is followed to it.
    """
    here = os.open("/", _DIRECTORY)
    for name in filter(None, path.split("/")):
        try:
            inner = _entered(name, here)
        finally:
            os.close(here)
        here = inner
    return here


def _entered(name: str, parent: int) -> int:
    try:
        return os.open(name, _DIRECTORY, dir_fd=parent)
    except FileNotFoundError:
        pass
    try:
        os.mkdir(name, 0o755, dir_fd=parent)
    except FileExistsError:
        return os.open(name, _DIRECTORY, dir_fd=parent)  # somebody was faster
    made = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    os.chmod(".", 0o755, dir_fd=made)
    return made
