"""One process that a monitor serves, and is the parent of."""

import msgspec

from .health import Checks
from .streams import Streams


class Process:
    """An exec'd process, or (number 0) the container's init. ``checks``: it is a health check of theirs."""

    __slots__ = ("about", "checks", "id", "number", "pid", "pidfd", "streams")

    def __init__(
        self,
        number: int,
        pid: int,
        descriptor: int,
        streams: Streams,
        id: str = "",
        about: msgspec.Raw = msgspec.Raw(b"null"),  # noqa: B008 - immutable
        checks: Checks | None = None,
    ) -> None:
        self.checks = checks
        self.id = id
        self.about = about
        self.number = number
        self.pid = pid
        self.pidfd = descriptor
        self.streams = streams
