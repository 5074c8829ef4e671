"""The life of a container: one table of transitions, and the document that says where in it a container is.

        created ──────► running ◄─────► paused
           │             │  ▲ ▲           │
           │             ▼  │ └─restarting│
           │           exited ◄───────────┘
           ▼             ▼
          removing ◄──► dead           (removing ends with the directory gone)

Everything that changes a container's state goes through ``State.to``; nothing else knows which step may
follow which. While a container is alive its monitor writes the state, and nobody else; otherwise whoever has
the lock. ``dead`` is a container whose files could not be removed: only ``rm`` can do anything with it.

``state.json`` is replaced as a whole. A directory without one is a container whose creation was cut short,
or one that ``run`` has created and not started yet; see ``store.py``.
"""

from enum import StrEnum

import msgspec

from ..errors import Conflict
from ..monitor.timestamp import NEVER


class Status(StrEnum):
    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    REMOVING = "removing"
    EXITED = "exited"
    DEAD = "dead"


TRANSITIONS: dict[Status, frozenset[Status]] = {
    # a failed start leaves the container created, with the error noted
    Status.CREATED: frozenset({Status.CREATED, Status.RUNNING, Status.REMOVING}),
    Status.RUNNING: frozenset({Status.PAUSED, Status.RESTARTING, Status.EXITED}),
    Status.PAUSED: frozenset({Status.RUNNING, Status.EXITED}),
    Status.RESTARTING: frozenset({Status.RUNNING, Status.EXITED}),
    # a failed start of a container that ran before leaves it exited
    Status.EXITED: frozenset({Status.EXITED, Status.RUNNING, Status.REMOVING}),
    # a removal that was cut short is taken up again
    Status.REMOVING: frozenset({Status.REMOVING, Status.DEAD}),
    Status.DEAD: frozenset({Status.REMOVING}),
}

ALIVE = frozenset({Status.RUNNING, Status.PAUSED, Status.RESTARTING})
"""the states in which a monitor must hold the container's lock"""

STARTABLE = frozenset(before for before, after in TRANSITIONS.items() if Status.RUNNING in after) - ALIVE


class State(msgspec.Struct, rename="pascal", kw_only=True, frozen=True):
    status: Status = Status.CREATED
    pid: int = 0
    """of init, in the host's PID namespace; 0 when there is none. For people to see: kills go by pidfd"""
    exit_code: int = 0
    error: str = ""
    oom_killed: bool = msgspec.field(name="OOMKilled", default=False)
    started_at: str = NEVER
    finished_at: str = NEVER
    volumes_go: bool = False
    """removing: the anonymous volumes too"""

    @property
    def running(self) -> bool:
        return self.status in ALIVE

    @property
    def attended(self) -> bool:
        """Whether somebody must hold the lock: it is alive, or being removed."""
        return self.running or self.status is Status.REMOVING

    def to(self, status: Status, **changes: str | int | bool) -> "State":
        """The state after a transition; ``Conflict`` when the table has no such step."""
        if status not in TRANSITIONS[self.status]:
            raise Conflict(f"a container that is {self.status} cannot become {status}")
        return msgspec.structs.replace(self, status=status, **changes)
