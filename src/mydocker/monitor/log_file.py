"""Writing a container's log to files, with rotation: drivers json-file and local, and what others keep here.

    log                    is written to; when it would get larger than allowed, it is renamed to
    log.1                  and the older ones get the next number; the oldest goes
    log.2.gz               compressed, if so asked: by a process of its own, with the time of the last line

The format is in ``log.py``. Bytes that are no UTF-8 become U+FFFD, as in Docker. ``log`` is made by the first
line: a container that says nothing has none.

A log that cannot be written (a full disk, a read-only file system) loses lines, and nothing else happens: the
container goes on, and so does the log as soon as it can. What was written of a line then is taken back.
"""

import os
import time
from collections.abc import Callable
from contextlib import suppress

import msgspec

from .log import COMPRESSED, names
from .plan import LogFiles
from .timestamp import rfc3339

LINE = 16 * 1024
"""where Docker splits a line (daemon/logger/copier.go, defaultBufSize)"""

UNFINISHED = f"{COMPRESSED}.new"

_encode = msgspec.json.encode


class Lines:
    """What was read from a container's streams, in lines of ``LINE`` bytes at most."""

    __slots__ = ("_partial",)

    def __init__(self) -> None:
        self._partial: dict[str, bytes] = {}

    def split(self, stream: str, data: bytes) -> list[bytes]:
        held = self._partial.pop(stream, b"")
        if held:
            data = held + data
        *whole, rest = data.split(b"\n")
        out: list[bytes] = []
        for line in whole:
            while len(line) >= LINE:
                out.append(line[:LINE])
                line = line[LINE:]
            out.append(line + b"\n")
        while len(rest) >= LINE:
            out.append(rest[:LINE])
            rest = rest[LINE:]
        if rest:
            self._partial[stream] = rest
        return out

    def rest(self) -> list[tuple[str, bytes]]:
        """What has no newline, by stream."""
        rest, self._partial = [*self._partial.items()], {}
        return rest


class Writer:
    """A sink (``streams.py``). ``compress(path)`` is called after a rotation of the log ``path``, and may go
    on after it returns, until ``halt()``: no file gets another name while it is being compressed."""

    __slots__ = ("_attributes", "_compress", "_fd", "_files", "_halt", "_lines")

    def __init__(
        self,
        files: LogFiles,
        compress: Callable[[str], None] | None = None,
        halt: Callable[[], None] = lambda: None,
    ) -> None:
        self._files = files
        self._compress = compress or compress_rotated
        self._halt = halt
        self._fd = -1
        self._lines = Lines()
        self._attributes = f',"attrs":{files.attributes}' if files.attributes else ""

    def write(self, stream: str, data: bytes) -> None:
        lines = self._lines.split(stream, data)
        if lines:
            self._append(stream, lines)

    def finish(self) -> None:
        """Write what has no newline, and close. The next line opens it again."""
        for stream, rest in self._lines.rest():
            self._append(stream, [rest])
        self._close()

    def clear(self) -> None:
        """Empty the log."""
        self._close()
        clear(self._files.path)

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _append(self, stream: str, lines: list[bytes]) -> None:
        tail = f',"stream":"{stream}"{self._attributes},"time":"{rfc3339(time.time_ns())}"}}\n'.encode()
        entries = [b'{"log":' + _encode(line.decode("utf-8", "replace")) + tail for line in lines]
        limit = self._files.size
        try:
            if limit <= 0:
                self._write(b"".join(entries))
                return
            pending: list[bytes] = []
            size = self._size()
            for entry in entries:
                if size and size + len(entry) > limit:
                    self._write(b"".join(pending))
                    self._rotate()
                    pending, size = [], 0
                pending.append(entry)
                size += len(entry)
            self._write(b"".join(pending))
        except OSError:
            self._close()  # these lines are lost; the next ones try again

    def _size(self) -> int:
        if self._fd < 0:
            self._fd = os.open(self._files.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
            size = os.fstat(self._fd).st_size
            if size and os.pread(self._fd, 1, size - 1) != b"\n":
                os.write(self._fd, b"\n")  # a monitor was killed in the middle of a line
        return os.fstat(self._fd).st_size

    def _write(self, text: bytes) -> None:
        if not text:
            return
        size = self._size()
        view = memoryview(text)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError:
            os.ftruncate(self._fd, size)
            raise

    def _rotate(self) -> None:
        path, count = self._files.path, self._files.count
        self._close()
        if count <= 1:
            os.truncate(path, 0)
            return
        self._halt()
        for ending in ("", COMPRESSED):
            with suppress(FileNotFoundError):
                os.unlink(f"{path}.{count - 1}{ending}")
        for number in range(count - 2, 0, -1):
            for ending in ("", COMPRESSED):
                with suppress(FileNotFoundError):
                    os.rename(f"{path}.{number}{ending}", f"{path}.{number + 1}{ending}")
        os.rename(path, f"{path}.1")
        if self._files.compress:
            self._compress(path)


def compress_rotated(path: str) -> None:
    """All that rotations have left as it was: the last file, and those for which there was no time."""
    for name in reversed(names(path)):
        if name != path and not name.endswith(COMPRESSED):
            compress_file(name)


def compress_file(path: str) -> None:
    """``log.1`` becomes ``log.1.gz``; who reads it meanwhile goes on with what they have open."""
    import gzip  # only where it is asked for
    import shutil

    temporary = f"{path}{UNFINISHED}"
    with open(path, "rb") as plain, gzip.open(temporary, "wb", compresslevel=6) as packed:
        shutil.copyfileobj(plain, packed, 1 << 16)
        status = os.fstat(plain.fileno())
    os.utime(temporary, ns=(status.st_atime_ns, status.st_mtime_ns))
    os.rename(temporary, f"{path}{COMPRESSED}")
    os.unlink(path)


def clear(path: str) -> None:
    """Empty a log that nobody writes to now, or that its writer empties."""
    directory, _, name = path.rpartition("/")
    for each in os.listdir(directory):
        if each.startswith(f"{name}."):
            with suppress(FileNotFoundError):
                os.unlink(f"{directory}/{each}")
    with suppress(FileNotFoundError):
        os.truncate(path, 0)
