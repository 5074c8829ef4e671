"""systemd's manager, as far as a scope for a container needs it: org.freedesktop.systemd1(5).

    with Manager() as manager:
        manager.start_transient("x.scope", [("PIDs", ("au", [pid])), …])     the process is in its cgroup then
        manager.control_group("x.scope")                                     /system.slice/x.scope
        manager.set_properties("x.scope", […])
        manager.stop("x.scope")

systemd is asked directly, over its private socket, which is for root; where that is missing, over the system
bus. What it refuses is a ``BusError``. Out of scope: which properties a container has
(``runtime/systemd_properties.py``).
"""

from __future__ import annotations

import os

from . import dbus
from .dbus import BusError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    Properties = Sequence[tuple[str, tuple[str, Any]]]

PRIVATE = "/run/systemd/private"
SYSTEM_BUS = "/run/dbus/system_bus_socket"
TIMEOUT = 30.0
"""Seconds for one answer, or for a job to end, as runc has it."""

UNIT_EXISTS = "org.freedesktop.systemd1.UnitExists"
NO_SUCH_UNIT = "org.freedesktop.systemd1.NoSuchUnit"

_NAME = "org.freedesktop.systemd1"
_PATH = "/org/freedesktop/systemd1"
_MANAGER = f"{_NAME}.Manager"
_PROPERTIES = "org.freedesktop.DBus.Properties"


def booted() -> bool:
    """Whether this host runs systemd: sd_booted(3)."""
    return os.path.isdir("/run/systemd/system")


class Manager:
    """A conversation with PID 1. Owns a socket."""

    __slots__ = ("_bus", "_destination")

    def __init__(self, private: str = PRIVATE, system_bus: str = SYSTEM_BUS) -> None:
        self._destination: str | None = None
        try:
            self._bus = dbus.Connection(private, TIMEOUT)
        except (FileNotFoundError, ConnectionRefusedError):
            self._bus = dbus.Connection(system_bus, TIMEOUT)
            self._destination = _NAME
            try:
                self._join_bus()
            except BaseException:
                self._bus.close()
                raise

    def _join_bus(self) -> None:
        """What a bus wants before it passes on calls and the signals of a service."""
        bus = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
        self._bus.call(*bus, "Hello")
        self._bus.call(*bus, "AddMatch", "s", f"type='signal',sender='{_NAME}',member='JobRemoved'")
        self._manager("Subscribe")

    def __enter__(self) -> Manager:
        return self

    def __exit__(self, *_: object) -> None:
        self._bus.close()

    def start_transient(self, unit: str, properties: Properties) -> None:
        """Make and start a unit; returns when it runs.

        One of this name that failed, and is kept for somebody to see, is in the way and is forgotten.
        """
        start = ("StartTransientUnit", "ssa(sv)a(sa(sv))", unit, "replace", properties, ())
        try:
            (job,) = self._manager(*start)
        except BusError as error:
            if error.name != UNIT_EXISTS:
                raise
            self.reset_failed(unit)
            (job,) = self._manager(*start)
        try:
            result = self._wait(job)
        except TimeoutError:
            self._manager("StopUnit", "ss", unit, "replace")  # the job would be done some day
            raise
        if result != "done":
            self.reset_failed(unit)
            raise BusError("", f"the job to start the unit {unit} ended as {result}")

    def set_properties(self, unit: str, properties: Properties) -> None:
        """Change properties for as long as the unit runs."""
        self._manager("SetUnitProperties", "sba(sv)", unit, True, properties)

    def stop(self, unit: str) -> None:
        """Stop a unit, and forget how it ended; one that is not there is no error."""
        try:
            (job,) = self._manager("StopUnit", "ss", unit, "replace")
            self._wait(job)
        except BusError as error:
            if error.name != NO_SUCH_UNIT:
                raise
        self.reset_failed(unit)

    def reset_failed(self, unit: str) -> None:
        """Forget a unit that failed; one that is not there is no error."""
        try:
            self._manager("ResetFailedUnit", "s", unit)
        except BusError as error:
            if error.name != NO_SUCH_UNIT:
                raise

    def control_group(self, unit: str) -> str:
        """The cgroup of a unit, from the root of the hierarchy."""
        (path,) = self._manager("GetUnit", "s", unit)
        interface = f"{_NAME}.{unit.rpartition('.')[2].capitalize()}"
        return str(self._property(path, interface, "ControlGroup"))

    def version(self) -> int:
        """The number of the release: 252 of ``252.38-1~deb12u1``."""
        text = str(self._property(_PATH, _MANAGER, "Version")).lstrip("v")
        digits = text[: len(text) - len(text.lstrip("0123456789"))]
        return int(digits or 0)

    def _property(self, path: str, interface: str, name: str) -> Any:
        ((_, value),) = self._bus.call(self._destination, path, _PROPERTIES, "Get", "ss", interface, name)
        return value

    def _manager(self, member: str, signature: str = "", *arguments: Any) -> tuple[Any, ...]:
        return self._bus.call(self._destination, _PATH, _MANAGER, member, signature, *arguments)

    def _wait(self, job: str) -> str:
        """How the job ended: ``done``, ``failed``, ``timeout``, ``canceled`` …"""
        while True:
            signal = self._bus.signal()
            if signal.member == "JobRemoved" and signal.body[1] == job:
                return str(signal.body[3])
