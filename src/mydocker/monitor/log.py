"""Reading a container's log: Docker's json-file format, over all the files that rotation has made of it.

    log  log.1  log.2.gz …      newest first; see ``log_file.py``, which writes them

One JSON object a line, in the order in which it was read from the container:

    {"log":"hello\\n","stream":"stdout","attrs":{"tag":"web"},"time":"2024-05-17T09:30:00.123456789Z"}

``log`` ends in a newline unless the line was longer than 16 KiB, which is then continued in the next object,
or was cut off by the end of the stream. ``attrs`` is there when the log driver was told to add any.

Writing is a plain append of whole lines, so a reader sees a torn line only at the very end, and waits for
the rest of it. One that is followed by others belonged to a monitor that was killed, and is passed over.
"""

import gzip
import io
import os
import select
from collections.abc import Callable, Iterator

import msgspec

from .timestamp import parse_rfc3339

COMPRESSED = ".gz"


class Entry(msgspec.Struct, frozen=True):
    """One object of the log."""

    log: str
    stream: str
    time: str
    attrs: dict[str, str] | None = None

    @property
    def data(self) -> bytes:
        return self.log.encode()


LogEntry = Entry

_decode = msgspec.json.Decoder(Entry).decode


def read(path: str, ended: Callable[[], bool] | None = None, *, tail: int | None = None) -> Iterator[Entry]:
    """The entries of a log, the last ``tail`` of them (``None``: all), oldest first.

    With ``ended`` it goes on with what is being written until that says that nobody writes any more; a call
    that returns true is followed by one last look. A container without a log has written nothing yet.
    """
    files = _open_all(path)
    try:
        last_look = ended is None or ended()
        if tail is not None:
            _leave(files, tail)
        while True:
            while len(files) > 1:
                yield from _entries(files[0])
                files.pop(0).close()
            if files:
                yield from _entries(files[0])
            if last_look:
                return
            # 20 ms: what a person does not notice, and cheaper than a watch that may miss the removal
            select.select((), (), (), 0.02)
            assert ended is not None
            last_look = ended()
            if files:
                files += _successors(path, files[0])
            else:
                files = _open_all(path)
    finally:
        for file in files:
            file.close()


class _File:
    """One open file of the log, with what is not read to the end of a line."""

    __slots__ = ("_stream", "held", "identity", "modified", "name", "plain")

    def __init__(self, name: str) -> None:
        self.name = name
        self.plain = not name.endswith(COMPRESSED)
        self._stream: io.RawIOBase | gzip.GzipFile = (
            io.FileIO(name, "rb") if self.plain else gzip.open(name, "rb")  # noqa: SIM115 - ``close`` does
        )
        status = os.fstat(self._stream.fileno())
        self.identity = (status.st_dev, status.st_ino)
        self.modified = status.st_mtime_ns
        self.held = b""

    def read(self) -> bytes:
        if self.plain and os.fstat(self.fileno()).st_size < self._stream.tell():  # it was cleared
            self._stream.seek(0)
            self.held = b""
        return self._stream.read(1 << 16) or b""

    def seek(self, offset: int) -> None:
        self._stream.seek(offset)

    def fileno(self) -> int:
        return self._stream.fileno()

    def close(self) -> None:
        self._stream.close()


def names(path: str) -> list[str]:
    """The files of a log that are there, oldest first."""
    directory, _, name = path.rpartition("/")
    found: dict[int, str] = {}
    try:
        listed = os.listdir(directory)
    except FileNotFoundError:
        return []
    for each in listed:
        if each == name:
            found[0] = path
        elif each.startswith(f"{name}."):
            number = each[len(name) + 1 :].removesuffix(COMPRESSED)
            # while it is being compressed there are both; the one that is whole counts
            if number.isdecimal() and not (int(number) in found and each.endswith(COMPRESSED)):
                found[int(number)] = f"{directory}/{each}"
    return [found[number] for number in sorted(found, reverse=True)]


def _open_all(path: str) -> list[_File]:
    """All of them, as they were at one instant: a rotation in between is noticed."""
    while True:
        files: list[_File] = []
        try:
            before = names(path)
            for name in before:
                files.append(_File(name))  # noqa: PERF401 - those that are open are closed below
            seen = {file.identity for file in files}
            if len(seen) == len(files) and all(_is(file) for file in files) and names(path) == before:
                return files
        except FileNotFoundError:
            pass
        for file in files:
            file.close()


def _is(file: _File) -> bool:
    status = os.stat(file.name)
    return (status.st_dev, status.st_ino) == file.identity


def _successors(path: str, current: _File) -> list[_File]:
    """What has come after ``current``, if it is not the newest any more; all of it is still to be read."""
    try:
        if (status := os.stat(path)) and (status.st_dev, status.st_ino) == current.identity:
            return []
    except FileNotFoundError:
        return []
    files = _open_all(path)
    places = [place for place, file in enumerate(files) if file.identity == current.identity]
    if places:
        first = places[0] + 1
    else:
        # it was compressed or dropped meanwhile: a compressed file keeps the time of its last line
        last = os.fstat(current.fileno()).st_mtime_ns
        first = next((n for n, file in enumerate(files) if file.modified > last), len(files) - 1)
    for file in files[:first]:
        file.close()
    return files[first:]


def _entries(file: _File) -> Iterator[Entry]:
    while block := file.read():
        lines = (file.held + block).split(b"\n")
        file.held = lines.pop()
        for line in lines:
            try:
                entry = _decode(line)
            except msgspec.MsgspecError:
                continue  # torn: see above
            yield entry


def _leave(files: list[_File], tail: int) -> None:
    """Of the files and their beginnings, leave the last ``tail`` lines."""
    left = tail
    for place in range(len(files) - 1, -1, -1):
        file = files[place]
        if left <= 0 and place < len(files) - 1:
            for old in files[: place + 1]:
                old.close()
            del files[: place + 1]
            return
        offset, found = _offset_of_tail(file, left)
        file.seek(offset)
        left -= found


def _offset_of_tail(file: _File, count: int) -> tuple[int, int]:
    """Where the last ``count`` lines begin, found from the end; and how many there are from there."""
    if not file.plain:
        return _offset_in_compressed(file, count)
    fd = file.fileno()
    end = position = os.fstat(fd).st_size
    if count <= 0:
        return end, 0
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
                return position + at + 1, count
    return 0, found + (end > 0)


def _offset_in_compressed(file: _File, count: int) -> tuple[int, int]:
    starts = [0]
    position = 0
    while block := file.read():
        at = -1
        while (at := block.find(b"\n", at + 1)) >= 0:
            starts.append(position + at + 1)
        position += len(block)
    lines = starts[:-1]  # after the last newline nothing begins
    if not lines or count <= 0:
        return position, 0
    return lines[-count:][0], min(count, len(lines))


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
