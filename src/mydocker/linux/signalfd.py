"""Signals as something to poll, with where each came from: signalfd(2).

A signal must be blocked in the process to arrive here instead of being handled. ``SI_USER`` and its kin tell
a signal that somebody sent from one that the kernel raised, which Python's own handlers cannot.
"""

from __future__ import annotations

import os
import struct

from mydocker.linux.syscall import check, libc

from . import native as ctypes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

_SIGSET_SIZE = 128
_SIG_BLOCK, _SIG_SETMASK = 0, 2  # the module signal costs 7 ms of a cold start
_INFO = struct.Struct("=IiiII")  # ssi_signo, ssi_errno, ssi_code, ssi_pid, ssi_uid
_INFO_SIZE = 128
# sigaction(2), "The si_code field": fcntl(F_SETSIG) delivers with these, kill(2) and the terminal never do.
_POLL_CODES = range(1, 7)


class Received:
    """One signal: its number and ``si_code``."""

    __slots__ = ("code", "number")

    def __init__(self, number: int, code: int) -> None:
        self.number = number
        self.code = code

    @property
    def from_descriptor(self) -> bool:
        """Whether it announces something on a file descriptor (O_ASYNC with F_SETSIG)."""
        return self.code in _POLL_CODES


class SignalFd:
    """Blocks ``numbers`` while it is open; ``with`` puts the mask back as it was."""

    def __init__(self, numbers: Iterable[int]) -> None:
        self._numbers = frozenset(numbers)
        self._fd = -1
        self._before = ctypes.create_string_buffer(_SIGSET_SIZE)

    def __enter__(self) -> SignalFd:
        mask = bytearray(_SIGSET_SIZE)
        for number in self._numbers:
            mask[(number - 1) // 8] |= 1 << (number - 1) % 8
        flags = os.O_CLOEXEC | os.O_NONBLOCK
        check(libc.sigprocmask(_SIG_BLOCK, ctypes.c_char_p(bytes(mask)), self._before))
        try:
            self._fd = check(libc.signalfd(-1, ctypes.c_char_p(bytes(mask)), flags))
        except OSError:
            check(libc.sigprocmask(_SIG_SETMASK, self._before, None))
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)
        self._fd = -1
        check(libc.sigprocmask(_SIG_SETMASK, self._before, None))

    def fileno(self) -> int:
        return self._fd

    def read(self) -> list[Received]:
        """What has arrived; nothing if nothing has."""
        try:
            data = os.read(self._fd, 16 * _INFO_SIZE)
        except BlockingIOError:
            return []
        found = []
        for offset in range(0, len(data), _INFO_SIZE):
            number, _, code, _, _ = _INFO.unpack_from(data, offset)
            found.append(Received(number, code))
        return found
