"""The caller's terminal: raw while a container has it, and put back whatever happens.

In scope: modes and size of the terminal on standard input or output. Out of scope: what is read from it
(``attach.py``).

Three things put it back, each for what the one before cannot see: the end of the ``with`` block, for every
return and exception; ``atexit``, for an exit from the middle; and a guard, a forked process that does
nothing but wait for the end of a pipe, for SIGKILL.
"""

from __future__ import annotations

import atexit
import errno
import os
import signal
import termios
from types import TracebackType

from mydocker import errors
from mydocker.linux import pty
from mydocker.linux.process import close_all_but

_IFLAG, _OFLAG, _CFLAG, _LFLAG, _CC = 0, 1, 2, 3, 6
_GONE = (errno.EIO, errno.ENOTTY)


def is_terminal(fd: int) -> bool:
    return os.isatty(fd)


def size(*fds: int) -> tuple[int, int] | None:
    """Rows and columns of the first of ``fds`` that is a terminal and knows them."""
    for fd in fds:
        try:
            found = pty.get_size(fd)
        except OSError as error:
            if error.errno not in (errno.ENOTTY, errno.EBADF, errno.EIO, errno.EINVAL):
                raise
            continue
        if found != (0, 0):
            return found
    return None


def require(fd: int) -> None:
    """Raise what Docker says to ``-it`` in a pipeline."""
    if not is_terminal(fd):
        raise errors.InvalidArgument("the input device is not a TTY")


class Raw:
    """``with Raw(0):`` every byte goes through as typed, Ctrl-C and Ctrl-Z included (man 3 cfmakeraw)."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._saved: list[int | list[bytes | int]] | None = None
        self._guard = -1

    def __enter__(self) -> Raw:
        saved = termios.tcgetattr(self._fd)
        self._guard = _start_guard(self._fd, saved)
        self._saved = saved
        atexit.register(self.restore)
        self.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.restore()
        self._saved = None
        atexit.unregister(self.restore)
        os.write(self._guard, b"restored")
        os.close(self._guard)

    def enter(self) -> None:
        """Make it raw; also again after it was given back for a while."""
        mode = termios.tcgetattr(self._fd)
        mode[_IFLAG] &= ~(
            termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP
            | termios.INLCR | termios.IGNCR | termios.ICRNL | termios.IXON
        )  # fmt: skip
        mode[_OFLAG] &= ~termios.OPOST
        mode[_CFLAG] = (mode[_CFLAG] & ~(termios.CSIZE | termios.PARENB)) | termios.CS8
        mode[_LFLAG] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
        mode[_CC][termios.VMIN] = 1
        mode[_CC][termios.VTIME] = 0
        termios.tcsetattr(self._fd, termios.TCSADRAIN, mode)

    def restore(self) -> None:
        if self._saved is not None:
            _set(self._fd, self._saved)


class Silent(Raw):
    """``with Silent(0):`` lines are read as ever, but what is typed is not shown."""

    def enter(self) -> None:
        mode = termios.tcgetattr(self._fd)
        mode[_LFLAG] &= ~termios.ECHO
        termios.tcsetattr(self._fd, termios.TCSADRAIN, mode)


def _set(fd: int, mode: list[int | list[bytes | int]]) -> None:
    try:
        termios.tcsetattr(fd, termios.TCSADRAIN, mode)
    except termios.error as error:
        if error.args[0] not in _GONE:  # a terminal that has been closed needs nothing any more
            raise


def _start_guard(fd: int, saved: list[int | list[bytes | int]]) -> int:
    """Fork the process that restores ``fd`` if the pipe, whose writing end is returned, ends without a word.

    It holds nothing but the terminal and the pipe, and no signal ends it: a terminal's own signals reach
    every process in the foreground, this one too. It is forked twice so that nobody has to wait for it.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        try:
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            if os.fork() == 0:
                _guard(fd, saved, reader)
        finally:
            os._exit(0)
    os.close(reader)
    os.waitpid(child, 0)
    return writer


def _guard(fd: int, saved: list[int | list[bytes | int]], reader: int) -> None:
    os.chdir("/")
    close_all_but((fd, reader))
    if os.read(reader, 1) == b"":
        _set(fd, saved)
