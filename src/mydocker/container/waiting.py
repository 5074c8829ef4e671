"""What a builder has ready for a container that nobody has asked for yet: its identifier and its init.

    <directory>/<identifier>    a note, locked (flock(2)) by the builder for as long as it waits

The note is there before the cgroup of that name is, and goes when a container's record stands for that, or
after it. One whose lock is free was left by a builder that was killed: whoever makes the next takes away what
is left of that.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress

from ..content.lock import locked
from ..errors import Error, NotFound
from ..runtime import cgroup, waiting
from ..runtime.waiting import WaitingInit
from .spec import CGROUP_PARENT, own_network


class Waiting:
    """Around the time that a builder waits. Where an init cannot be made in advance, there is none."""

    def __init__(self, directory: str, identifier: str) -> None:
        self._identifier = identifier
        self._path = f"{directory}/{identifier}"
        os.makedirs(directory, 0o700, exist_ok=True)
        sweep(directory)
        self._note = locked(self._path)
        self._init: WaitingInit | None = None
        with suppress(Error, OSError):  # no right to, or no room: who needs an init then says so
            self._init = waiting.wait(f"{CGROUP_PARENT}/{identifier}", own_network())

    def __enter__(self) -> Waiting:
        return self

    def __exit__(self, *_: object) -> None:
        if self._init is not None:
            self._init.discard()
        self._forget()

    def init(self, identifier: str) -> WaitingInit | None:
        """For the container ``identifier``, which has a record by now; None if this is for another."""
        if identifier != self._identifier:
            return None
        self._forget()
        return self._init

    def _forget(self) -> None:
        note, self._note = self._note, -1
        if note >= 0:
            os.unlink(self._path)
            os.close(note)


def sweep(directory: str) -> None:
    """Remove the cgroups, and the notes, of those who were killed."""
    for identifier in os.listdir(directory):
        path = f"{directory}/{identifier}"
        try:
            note = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(note, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(note).st_nlink:
                with suppress(NotFound):
                    cgroup.open(f"{CGROUP_PARENT}/{identifier}").remove()
                os.unlink(path)
        except BlockingIOError:
            continue  # it waits
        finally:
            os.close(note)
