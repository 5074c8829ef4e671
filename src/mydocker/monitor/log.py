"""The log of a container: Docker's json-file format, written and read.

One JSON object a line, in the order in which it was read from the container:

    {"log":"hello\\n","stream":"stdout","time":"2024-05-17T09:30:00.123456789Z"}

``log`` ends in a newline unless the line was longer than 16 KiB, which is then continued in the next object,
or was cut off by the end of the stream. Bytes that are no UTF-8 become U+FFFD, as in Docker.

Writing is a plain append of whole lines, so a reader sees a torn line only at the very end, and waits for
the rest of it. The file is made by the first line: a container that says nothing has none.
"""

import os
import select
import time
from collections.abc import Callable, Iterator

import msgspec

from .timestamp import parse_rfc3339, rfc3339

LINE = 16 * 1024
"""where Docker splits a line (daemon/logger/copier.go, defaultBufSize)"""

_encode = msgspec.json.encode


class Entry(msgspec.Struct, frozen=True):
    """One object of the log."""

    log: str
    stream: str
    time: str

    @property
    def data(self) -> bytes:
        return self.log.encode()


LogEntry = Entry

_decode = msgspec.json.Decoder(Entry).decode


class Writer:
    """Turns what was read from one container's streams into lines of its log."""

    __slots__ = ("_fd", "_partial", "_path")

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1
        self._partial: dict[str, bytes] = {}

    def write(self, stream: str, data: bytes) -> None:
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
        if out:
            self._append(stream, out)

    def finish(self) -> None:
        """Write what has no newline, and close."""
        for stream, rest in self._partial.items():
            self._append(stream, [rest])
        self._partial = {}
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _append(self, stream: str, lines: list[bytes]) -> None:
        if self._fd < 0:
            self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        tail = f',"stream":"{stream}","time":"{rfc3339(time.time_ns())}"}}\n'.encode()
        text = b"".join(b'{"log":' + _encode(line.decode("utf-8", "replace")) + tail for line in lines)
        view = memoryview(text)
        while view:
            view = view[os.write(self._fd, view) :]


def read(path: str, ended: Callable[[], bool] | None = None, *, tail: int | None = None) -> Iterator[Entry]:
    """The entries of a log, the last ``tail`` of them (``None``: all), oldest first.

    With ``ended`` it goes on with what is being written until that says that nobody writes any more; a call
    that returns true is followed by one last look. A container without a log has written nothing yet.
    """
    fd = -1
    held = b""
    try:
        while True:
            last_look = ended is None or ended()
            if fd < 0:
                try:
                    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                except FileNotFoundError:
                    fd = -1
                else:
                    if tail is not None:
                        os.lseek(fd, _offset_of_tail(fd, tail), os.SEEK_SET)
            if fd >= 0:
                while block := os.read(fd, 1 << 16):
                    lines = (held + block).split(b"\n")
                    held = lines.pop()
                    for line in lines:
                        yield _decode(line)
            if last_look:
                return
            tail = None if fd >= 0 else tail
            # 20 ms: what a person does not notice, and cheaper than a watch that may miss the removal
            select.select((), (), (), 0.02)
    finally:
        if fd >= 0:
            os.close(fd)


def select_entries(
    entries: Iterator[Entry],
    *,
    since: float | None = None,
    until: float | None = None,
    stdout: bool = True,
    stderr: bool = True,
) -> Iterator[Entry]:
    """Those of the wanted streams from ``since`` to ``until`` (Unix times)."""
    wanted = {"stdout"} if stdout else set()
    if stderr:
        wanted.add("stderr")
    first = None if since is None else int(since * 1e9)
    last = None if until is None else int(until * 1e9)
    for entry in entries:
        instant = parse_rfc3339(entry.time) if first is not None or last is not None else 0
        if last is not None and instant > last:
            return
        if entry.stream in wanted and (first is None or instant >= first):
            yield entry


def _offset_of_tail(fd: int, count: int) -> int:
    """Where the last ``count`` lines begin, found from the end."""
    end = position = os.fstat(fd).st_size
    if count <= 0:
        return end
    found = 0
    while position > 0:
        size = min(1 << 16, position)
        position -= size
        block = os.pread(fd, size, position)
        at = len(block)
        while (at := block.rfind(b"\n", 0, at)) >= 0:
            if position + at == end - 1:
                continue  # the newline that ends the last line
            found += 1
            if found == count:
                return position + at + 1
    return 0
