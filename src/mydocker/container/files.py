"""The three files of a container that the engine writes: hostname, hosts and resolv.conf.

They lie in the container's directory and are bound over the image's, which stays as it is. Their contents
are Docker's (moby, ``libnetwork/etchosts``).
"""

from __future__ import annotations

import os

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


def write(directory: str, record: Record) -> None:
    config, host = record.config, record.host_config
    if host.network_mode.startswith("container:"):
        return  # they are the other container's
    name = f"{config.hostname}.{config.domainname}" if config.domainname else config.hostname
    hosts = _read("/etc/hosts") if host.network_mode == "host" else HOSTS.encode()
    for entry in host.extra_hosts or ():
        alias, _, address = entry.partition(":")
        hosts += f"{address}\t{alias}\n".encode()
    _write(f"{directory}/hostname", f"{name}\n".encode())
    _write(f"{directory}/hosts", hosts)
    _write(f"{directory}/resolv.conf", _read("/etc/resolv.conf"))


def sources(store: Store, record: Record) -> dict[str, str]:
    """Destination -> source of the bind mounts; with ``container:ID`` the files of that container."""
    kind, _, other = record.host_config.network_mode.partition(":")
    directory = store.directory(other if kind == "container" else record.id)
    return {f"/etc/{name}": f"{directory}/{name}" for name in NAMES}


def _read(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except FileNotFoundError:
        return b""


def _write(path: str, content: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        os.write(fd, content)
    finally:
        os.close(fd)
