"""The raw mode of a terminal, for as long as somebody else's is connected to it: termios(3)."""

from __future__ import annotations

import os
import termios


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
