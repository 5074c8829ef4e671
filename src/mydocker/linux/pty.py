"""Pseudo-terminals of a devpts instance, by descriptor from end to end: ioctl_tty(2).

The slave is opened through its master (``TIOCGPTPEER``), never by its name in a directory that somebody else
could have put something into (CVE-2025-52565).
"""

from __future__ import annotations

import fcntl
import os
import struct
import termios

_TIOCGPTN = 0x80045430
_TIOCSPTLCK = 0x40045431
_TIOCGPTPEER = 0x5441


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
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def get_size(terminal: int) -> tuple[int, int]:
    """Return (rows, columns)."""
    rows, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(terminal, termios.TIOCGWINSZ, bytes(8)))
    return rows, columns


def set_controlling(terminal: int) -> None:
    """Make ``terminal`` the controlling terminal of this session, whose leader the caller is."""
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)


class RawMode:
    """A terminal in raw mode (cfmakeraw(3)) for as long as a ``with`` block runs; then as it was."""

    __slots__ = ("_before", "_terminal")

    def __init__(self, terminal: int) -> None:
        self._terminal = terminal
        self._before: list[int | list[bytes | int]] | None = None

    def __enter__(self) -> RawMode:
        if os.isatty(self._terminal):
            before = termios.tcgetattr(self._terminal)
            raw = list(before)
            raw[0] &= ~(
                termios.IGNBRK
                | termios.BRKINT
                | termios.PARMRK
                | termios.ISTRIP
                | termios.INLCR
                | termios.IGNCR
                | termios.ICRNL
                | termios.IXON
            )
            raw[1] &= ~termios.OPOST
            raw[2] = raw[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
            raw[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
            termios.tcsetattr(self._terminal, termios.TCSANOW, raw)
            self._before = before
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            termios.tcsetattr(self._terminal, termios.TCSANOW, self._before)
            self._before = None
