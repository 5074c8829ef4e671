"""``--link``: a container of the network ``bridge``, where there are no names, is told of another one.

It gets a line of /etc/hosts for it and variables that say where its ports are (moby, ``daemon/links``):

    ALIAS_NAME=/web/db                 ALIAS_PORT=tcp://172.17.0.2:5432     (the first port)
    ALIAS_ENV_<variable>=<value>       ALIAS_PORT_5432_TCP=tcp://172.17.0.2:5432, and _ADDR, _PORT, _PROTO

The record names the other container by its identifier, so a link outlives a rename. The other way round, who
is to be told of a new address is in ``<root>/container/<id>/linked/``, one empty file for each. In networks
of users a link is one more name, for one container alone (``directory.py``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress

import msgspec

from ..errors import Conflict, CorruptData, InvalidArgument, NotFound, Unavailable
from ..network.document import Endpoint
from . import attached, events, files
from .config import HostConfig
from .record import Record
from .store import Store

_LINKED = "linked"
_PATIENCE = 1.0
_NOT_WITH_HOST = (
    "conflicting options: host type networking can't be used with links. This would result in undefined "
    "behavior"
)
_OF_IMAGES = ("HOME", "PATH")
"""variables that say nothing to others"""


def split(link: str) -> tuple[str, str]:
    """``NAME[:ALIAS]``: both."""
    name, _, alias = link.partition(":")
    return name, alias or name


def settled(store: Store, host: HostConfig) -> list[str] | None:
    """The links of a new container with identifiers in place of names. ``NotFound``, ``Conflict``."""
    result = []
    for link in host.links or ():
        name, alias = split(link)
        try:
            other = store.read_record(store.resolve(name))
        except NotFound as error:
            raise NotFound(f"could not get container for {name}: {error}") from None
        if other.host_config.network_mode == "host":
            raise InvalidArgument(_NOT_WITH_HOST)
        result.append(f"{other.id}:{alias.rpartition('/')[2]}")
    return result or None


def note(store: Store, record: Record) -> None:
    """Have the containers that ``record`` links to know whom to tell of a new address."""
    for link in record.host_config.links or ():
        directory = f"{store.directory(split(link)[0])}/{_LINKED}"
        with suppress(FileNotFoundError):  # it has been removed meanwhile
            with suppress(FileExistsError):
                os.mkdir(directory, 0o700)
            os.close(os.open(f"{directory}/{record.id}", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))


def _linked(store: Store, record: Record) -> Iterator[tuple[Record, str, Endpoint | None]]:
    """Each container that it links to, by which alias, and what that has of ``bridge`` now."""
    for link in record.host_config.links or ():
        identifier, alias = split(link)
        with suppress(NotFound, CorruptData):
            endpoints = attached.read(store, identifier).endpoints
            endpoint = next((each for each in endpoints if each.network == "bridge"), None)
            yield store.read_record(identifier), alias, endpoint


def shown(store: Store, record: Record) -> list[str] | None:
    """``inspect``'s ``Links``."""
    found = [f"/{other.name}:/{record.name}/{alias}" for other, alias, _ in _linked(store, record)]
    return found or None


def hosts(store: Store, record: Record) -> list[tuple[str, str]]:
    """Address and names for each line of /etc/hosts."""
    lines = []
    for other, alias, endpoint in _linked(store, record):
        if endpoint is not None:
            names = dict.fromkeys((alias, other.config.hostname, other.name))
            lines.append((endpoint.address, " ".join(names)))
    return lines


def check(store: Store, record: Record) -> None:
    """``Conflict`` in Docker's words if one that it links to does not run."""
    for other, alias, endpoint in _linked(store, record):
        if endpoint is None and not attached.read(store, other.id).endpoints:
            raise Conflict(f"Cannot link to a non running container: /{other.name} AS /{record.name}/{alias}")
        if endpoint is None:
            raise Conflict(f"container {other.id} not attached to default bridge network")


def environment(store: Store, record: Record) -> list[str]:
    """The variables about those that run."""
    found: list[str] = []
    for other, alias, endpoint in _linked(store, record):
        if endpoint is None:
            continue
        prefix = alias.upper().replace("-", "_")
        found += _ports(prefix, endpoint.address, sorted(other.config.exposed_ports or (), key=_order))
        found.append(f"{prefix}_NAME=/{record.name}/{alias}")
        for variable in other.config.env or ():
            name, equals, _ = variable.partition("=")
            if equals and name not in _OF_IMAGES:
                found.append(f"{prefix}_ENV_{variable}")
    return found


def _order(port: str) -> tuple[bool, str, int]:
    """TCP first, as in Docker, then by number."""
    number, _, protocol = port.partition("/")
    return protocol not in ("", "tcp"), protocol, int(number)


def _ports(prefix: str, address: str, ports: Sequence[str]) -> list[str]:
    found = []
    runs: list[list[tuple[int, str]]] = []
    for port in ports:
        number, _, protocol = port.partition("/")
        each = int(number), protocol or "tcp"
        where = f"{each[1]}://{address}:{number}"
        if not runs:
            found.append(f"{prefix}_PORT={where}")
        name = f"{prefix}_PORT_{number}_{each[1].upper()}"
        found += [
            f"{name}={where}",
            f"{name}_ADDR={address}",
            f"{name}_PORT={number}",
            f"{name}_PROTO={each[1]}",
        ]
        if runs and runs[-1][-1] == (each[0] - 1, each[1]):
            runs[-1].append(each)
        else:
            runs.append([each])
    for run in runs:
        (first, protocol), (last, _) = run[0], run[-1]
        if first != last:
            name = f"{prefix}_PORT_{first}_{protocol.upper()}"
            found += [
                f"{name}_START={protocol}://{address}:{first}",
                f"{name}_PORT_START={first}",
                f"{name}_END={protocol}://{address}:{last}",
                f"{name}_PORT_END={last}",
            ]
    return found


def tell(store: Store, identifier: str) -> None:
    """A container has an address now: write it into /etc/hosts of those that link to it and run.

    One that is being started looks by itself in the end (``refresh``), and is not waited for.
    """
    directory = f"{store.directory(identifier)}/{_LINKED}"
    try:
        linking = os.listdir(directory)
    except FileNotFoundError:
        return
    for other in linking:
        try:
            with store.editing(other, _PATIENCE) as record:
                _write_hosts(store, record)
        except Unavailable:
            continue
        except (NotFound, CorruptData):
            with suppress(FileNotFoundError):
                os.unlink(f"{directory}/{other}")


def refresh(store: Store, identifier: str) -> None:
    """What a container links to may have been given an address while it was started. Its record is held."""
    _write_hosts(store, store.read_record(identifier))


def _write_hosts(store: Store, record: Record) -> None:
    endpoints = attached.read(store, record.id).endpoints
    if endpoints:
        files.write_network(store, record, endpoints, hosts(store, record))


def remove(store: Store, name: str) -> None:
    """Undo the link ``/PARENT/ALIAS``: what ``rm --link`` means. ``NotFound`` if there is no such link."""
    parent, _, alias = name.strip("/").rpartition("/")
    try:
        identifier = store.resolve(parent) if parent else ""
    except NotFound:
        identifier = ""
    if not identifier:
        raise NotFound(f"Cannot get parent /{parent} for link name /{name.strip('/')}")
    with store.editing(identifier) as record:
        links = record.host_config.links or []
        left = [link for link in links if split(link)[1] != alias]
        if left == links:
            raise NotFound(f"container {record.name} has no link {alias}")
        host = msgspec.structs.replace(record.host_config, links=left or None)
        changed = msgspec.structs.replace(record, host_config=host)
        store.write_record(changed)
        _write_hosts(store, changed)
    events.container(store, changed, "update")
