"""Walk a tree by descriptors, however deep it is.

Whoever is in a container can nest directories without end, but a path has at most 4096 bytes, a process a
thousand descriptors or so, and Python a thousand calls. So the way down is a list, and only its last
directories are open: one further up is opened again by ``..``, and has to be the one that it was, for in a
tree that somebody is changing a directory may have been moved meanwhile, to anywhere.
"""

from __future__ import annotations

import errno
import os

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN = 32
"""descriptors at most"""


class Descent:
    """``with Descent(top) as way:`` owns the descriptor ``top`` and all that are entered."""

    def __init__(self, top: int) -> None:
        self._open = [top]
        self._above: list[tuple[int, int]] = []

    def __enter__(self) -> Descent:
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self._open:
            os.close(descriptor)

    @property
    def here(self) -> int:
        """The directory where one is; open until the next ``enter`` or ``leave``."""
        return self._open[-1]

    def enter(self, directory: int) -> None:
        """``directory``, a descriptor of one in ``here``, is where one is now."""
        self._above.append(_identity(self.here))
        self._open.append(directory)
        if len(self._open) > _OPEN:
            os.close(self._open.pop(0))

    def leave(self) -> None:
        """Back to the directory above; ``OSError`` (ESTALE) if it cannot be found again."""
        identity = self._above.pop()
        if len(self._open) == 1:
            above = os.open("..", DIRECTORY, dir_fd=self.here)
            self._open.insert(0, above)
            if _identity(above) != identity:
                raise OSError(errno.ESTALE, "a directory was moved while the tree was walked")
        os.close(self._open.pop())


def _identity(directory: int) -> tuple[int, int]:
    status = os.fstat(directory)
    return status.st_dev, status.st_ino
