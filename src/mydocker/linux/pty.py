"""Pseudo-terminals of a devpts instance, by descriptor from end to end: ioctl_tty(2).

The slave is opened through its master (``TIOCGPTPEER``), never by its name in a directory that somebody else
could have put something into (CVE-2025-52565).
"""

from __future__ import annotations

import fcntl
import os
import struct

_TIOCGPTN = 0x80045430
_TIOCSPTLCK = 0x40045431
_TIOCGPTPEER = 0x5441
# asm-generic/ioctls.h; the module termios has them too, and is slow to load
_TIOCSCTTY = 0x540E
_TIOCGWINSZ = 0x5413
_TIOCSWINSZ = 0x5414


def unlock(master: int) -> None:
    """Allow the slave of ``master`` to be opened (unlockpt(3))."""
    fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))


def number(master: int) -> int:
    """Return the N of the slave's name /dev/pts/N."""
    value: int = struct.unpack("I", fcntl.ioctl(master, _TIOCGPTN, b"\0\0\0\0"))[0]
    return value


def open_peer(master: int) -> int:
    """Return a descriptor of the slave, close-on-exec, not yet anybody's controlling terminal."""
    return fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)


def set_size(terminal: int, rows: int, columns: int) -> None:
    """Set the window size; the kernel sends SIGWINCH if it changed."""
    fcntl.ioctl(terminal, _TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def get_size(terminal: int) -> tuple[int, int]:
    """Return (rows, columns)."""
    rows, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(terminal, _TIOCGWINSZ, bytes(8)))
    return rows, columns


def set_controlling(terminal: int) -> None:
    """Make ``terminal`` the controlling terminal of this session, whose leader the caller is."""
    fcntl.ioctl(terminal, _TIOCSCTTY, 0)
