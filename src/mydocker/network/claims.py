"""Ports of the host: which container has which.

    <state>/port/<protocol>-<port>-<host address>   -> <container id>     the symlink is the claim
    <state>/port.lock       flock: held by who takes a port or gives one back

A socket holds most ports, but none of SCTP, and not against other sockets before it listens; nor does it say
which container has it. A claim is there before anything leads to the container, and until nothing does any
more: where there is no claim, nothing is left to undo.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from ..content.lock import Lock
from .document import Port


class Claims:
    def __init__(self, state: str) -> None:
        self.directory = f"{state}/port"

    @contextmanager
    def changing(self) -> Iterator[Changing]:
        """Nobody else takes a port or gives one back meanwhile."""
        os.makedirs(self.directory, 0o700, exist_ok=True)
        with Lock(f"{self.directory}.lock"):
            yield Changing(self.directory)

    def owners(self) -> set[str]:
        """Every container that has a port."""
        return {_owner(f"{self.directory}/{name}") for name in _names(self.directory)} - {""}


class Changing:
    """The claims, for as long as nobody else changes them."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._hosts: dict[tuple[str, int], list[str]] = {}
        """the addresses at which a port is claimed"""
        for name in _names(directory):
            port = _port(name)
            self._hosts.setdefault((port.protocol, port.host_port), []).append(port.host)

    def take(self, port: Port, container: str) -> None:
        """Once it is seen that nothing is in the way."""
        os.symlink(container, self._path(port))
        self._hosts.setdefault((port.protocol, port.host_port), []).append(port.host)

    def meeting(self, port: Port) -> list[tuple[Port, str]]:
        """The claims that are in the way of one: of the same port, at the same address or at every one."""
        key = port.protocol, port.host_port
        hosts = [host for host in self._hosts.get(key, ()) if _meet(host, port.host)]
        found = [_claimed(*key, host) for host in hosts]
        return [(each, owner) for each in found if (owner := _owner(self._path(each)))]

    def of(self, ports: Iterable[Port], container: str) -> list[Port]:
        """Those that are ``container``'s, or nobody's."""
        return [port for port in ports if _owner(self._path(port)) in ("", container)]

    def all_of(self, container: str) -> list[Port]:
        """All that ``container`` has."""
        every = map(_port, _names(self._directory))
        return [port for port in every if _owner(self._path(port)) == container]

    def release(self, ports: Iterable[Port]) -> None:
        """Give these back; it is no error if they are nobody's."""
        for port in ports:
            with suppress(FileNotFoundError):
                os.unlink(self._path(port))

    def _path(self, port: Port) -> str:
        return f"{self._directory}/{port.protocol}-{port.host_port}-{port.host}"


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []


def _owner(path: str) -> str:
    """Empty: nobody's."""
    try:
        return os.readlink(path)
    except FileNotFoundError:
        return ""


def _port(name: str) -> Port:
    protocol, number, host = name.split("-", 2)
    return _claimed(protocol, int(number), host)


def _claimed(protocol: str, number: int, host: str) -> Port:
    """Which container's port it leads to is not known here."""
    nowhere = "::" if ":" in host else "0.0.0.0"
    return Port(protocol=protocol, host=host, host_port=number, address=nowhere, port=0)


def _meet(host: str, other: str) -> bool:
    same_family = (":" in host) == (":" in other)
    return host == other or (same_family and bool({host, other} & {"0.0.0.0", "::"}))
