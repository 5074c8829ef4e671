"""The three files of a container that the engine writes: hostname, hosts and resolv.conf.

They lie in the container's directory and are bound over the image's, which stays as it is. Their contents
are Docker's (moby, ``libnetwork/etchosts``).
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from ..network.document import Endpoint
from . import attached
from .config import HostConfig
from .record import Record
from .store import Store

HOSTS = """127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""

NAMES = ("hostname", "hosts", "resolv.conf")


RESOLVER = "127.0.0.11"
"""where a container in a network of a user's finds our resolver, as under Docker"""

_FALLBACK = ("8.8.8.8", "8.8.4.4")
"""Docker's, for a host that has no name server but itself"""
_BEHIND_LOOPBACK = "/run/systemd/resolve/resolv.conf"
"""the servers that systemd-resolved, which listens on 127.0.0.53, asks itself"""


def write(store: Store, record: Record) -> None:
    directory = store.directory(record.id)
    config, host = record.config, record.host_config
    if host.network_mode.startswith("container:"):
        return  # they are the other container's
    _write(f"{directory}/hostname", f"{config.hostname}\n".encode())
    if record.networks:
        write_network(store, record, ())
        return
    of_the_host = host.network_mode == "host" and not host.extra_hosts
    hosts = _read("/etc/hosts") if of_the_host else HOSTS.encode() + _extra(store, record, ())
    _write(f"{directory}/hosts", hosts)
    _write(f"{directory}/resolv.conf", resolv_conf(_read("/etc/resolv.conf"), host))


def write_network(
    store: Store, record: Record, endpoints: Sequence[Endpoint], links: Sequence[tuple[str, str]] = ()
) -> None:
    """The files of a container with an own network, which knows its addresses once it starts.

    ``links`` are addresses and names of others. The files are written in place: they may be bound into the
    container already. Not to be called by who is ``Networks.connecting``: the network ``bridge`` may be made.
    """
    directory = store.directory(record.id)
    config, host = record.config, record.host_config
    hosts = HOSTS.encode() + _extra(store, record, endpoints)
    hosts += b"".join(f"{address}\t{others}\n".encode() for address, others in links)
    names = f"{config.hostname}.{config.domainname}" if config.domainname else config.hostname
    if "." in names:
        names += f" {names.partition('.')[0]}"
    for endpoint in endpoints:
        for address in endpoint.addresses:
            hosts += f"{address}\t{names}\n".encode()
    _write(f"{directory}/hosts", hosts)
    if set(record.networks) - {"bridge"} or host.egress:
        _write(f"{directory}/resolv.conf", resolv_conf(_read("/etc/resolv.conf"), host, resolver=True))
        return
    outside = _reached(_read("/etc/resolv.conf"), ipv6=any(each.address6 for each in endpoints))
    _write(f"{directory}/resolv.conf", resolv_conf(outside, host))


def _extra(store: Store, record: Record, endpoints: Sequence[Endpoint]) -> bytes:
    """The lines of ``--add-host``; ``host-gateway`` is where the container reaches the host."""
    lines = b""
    for entry in record.host_config.extra_hosts or ():
        alias, _, address = entry.partition(":")
        if address == "host-gateway":
            address = _gateway(store, record, endpoints)
        if address:
            lines += f"{address}\t{alias}\n".encode()
    return lines


def _gateway(store: Store, record: Record, endpoints: Sequence[Endpoint]) -> str:
    """The host's end of the first bridge, whether that leads anywhere or not; without one, of the default
    one, as under Docker. Empty before the container has started: it is not known yet."""
    if record.host_config.network_mode == "host":
        return "127.0.0.1"
    if record.networks and not endpoints:
        return ""
    network = next((each.network for each in endpoints if each.link), "bridge")
    pools = attached.of(store).get(network).pools
    return str(min((pool.gateway for pool in pools), key=lambda gateway: gateway.version))


def resolv_conf(given: bytes, host: HostConfig, *, resolver: bool = False) -> bytes:
    """The host's file, with what was asked for in place of what is there (resolv.conf(5)).

    With ``resolver``, that is who is asked; names without a dot are its business first.
    """
    if not (host.dns or host.dns_search or host.dns_options or resolver):
        return given
    servers, search, options = [], [], []
    for line in given.decode(errors="replace").splitlines():
        key, *values = line.split() or [""]
        if key == "nameserver":
            servers += values[:1]
        elif key in ("search", "domain"):
            search = values
        elif key == "options":
            options += values
    servers = [RESOLVER] if resolver else list(host.dns or servers)
    search = [] if host.dns_search == ["."] else list(host.dns_search or search)
    options = list(host.dns_options or options)
    if resolver and not any(option.startswith("ndots:") for option in options):
        options.append("ndots:0")
    lines = [f"nameserver {server}" for server in servers]
    lines += [f"search {' '.join(search)}"] if search else []
    lines += [f"options {' '.join(options)}"] if options else []
    return "".join(f"{line}\n" for line in lines).encode()


def host_servers() -> list[str]:
    """The name servers that the host asks, those on its loopback included."""
    lines = [line.split() for line in _read("/etc/resolv.conf").decode(errors="replace").splitlines()]
    return [line[1] for line in lines if line[:1] == ["nameserver"] and line[1:]]


def _reached(given: bytes, *, ipv6: bool) -> bytes:
    """Without name servers that only the host reaches, at its loopback or by IPv6; with those behind them,
    if there are any."""
    kept = _outside(given, ipv6) or _outside(_read(_BEHIND_LOOPBACK), ipv6)
    servers = kept or [f"nameserver {server}" for server in _FALLBACK]
    rest = [line for line in given.decode(errors="replace").splitlines() if not line.startswith("nameserver")]
    return "".join(f"{line}\n" for line in (*servers, *rest)).encode()


def _outside(given: bytes, ipv6: bool) -> list[str]:
    lines = [line for line in given.decode(errors="replace").splitlines() if line.startswith("nameserver")]
    servers = [(line, *line.split()[1:2]) for line in lines if line.split()[1:]]
    return [
        line
        for line, address in servers
        if not (address.startswith("127.") or address == "::1" or (":" in address and not ipv6))
    ]


def sources(store: Store, record: Record) -> dict[str, str]:
    """Destination -> source of the bind mounts; with ``container:ID`` the files of that container, which may
    be those of another one."""
    directory = store.directory(attached.whose(store, record))
    return {f"/etc/{name}": f"{directory}/{name}" for name in NAMES}


def _read(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except FileNotFoundError:
        return b""


def _write(path: str, content: bytes) -> None:
    """A new file is for all to read, whatever the umask of the caller."""
    flags = os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC
    try:
        fd = os.open(path, flags)
    except FileNotFoundError:
        fd = os.open(path, flags | os.O_CREAT, 0o644)
        os.fchmod(fd, 0o644)
    try:
        os.write(fd, content)
    finally:
        os.close(fd)
