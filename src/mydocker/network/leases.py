"""Addresses: who has which.

    <state>/network/<name>/<address>   -> <container id>     the symlink is the claim

A claim is symlink(2), which succeeds for one of two who want the same address. Leases lie under <state>
because they end with the processes: after a reboot there are none. Whose lease it is can be read from it, so
whoever finds a container dead can give back what it had.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from contextlib import suppress

from ..errors import Forbidden, InvalidArgument, Unavailable
from .document import Address, Network


class Leases:
    def __init__(self, state: str) -> None:
        self.directory = f"{state}/network"

    def of(self, network: str) -> dict[str, str]:
        """Address -> container."""
        found = {}
        for address in self._names(network):
            with suppress(FileNotFoundError):
                found[address] = os.readlink(f"{self.directory}/{network}/{address}")
        return found

    def owner(self, network: str, address: str) -> str:
        """Who has an address; empty: nobody."""
        try:
            return os.readlink(f"{self.directory}/{network}/{address}")
        except FileNotFoundError:
            return ""

    def version(self, network: str) -> int:
        """Another number whenever an address there has been given out or taken back."""
        try:
            return os.stat(f"{self.directory}/{network}").st_mtime_ns
        except FileNotFoundError:
            return 0

    def _names(self, network: str) -> list[str]:
        try:
            return os.listdir(f"{self.directory}/{network}")
        except FileNotFoundError:
            return []

    def claim(self, network: Network, container: str, *, address: str = "", version: int = 4) -> Address:
        """Take ``address``, or the first that is free; ``Forbidden`` if somebody has it."""
        if address:
            wanted = check(network, address, version)
            if not self._take(network.name, wanted, container):
                raise Forbidden("Address already in use")
            return wanted
        taken = _numbers(self._names(network.name), version)
        for subnet, part, gateway, others in network.pools:
            if subnet.version != version:
                continue
            base, last = subnet.network_address, subnet.broadcast_address
            kept = {int(each) for each in (base, last, gateway, *others)}
            for number in range(int(part.network_address), int(part.broadcast_address) + 1):
                if number in taken or number in kept:
                    continue
                candidate = subnet[number - int(base)]
                if self._take(network.name, candidate, container):
                    return candidate
        raise Unavailable(
            f"no available IPv{version} addresses on this network's address pools: "
            f"{network.name} ({network.id})"
        )

    def _take(self, network: str, address: Address, container: str) -> bool:
        path = f"{self.directory}/{network}/{address}"
        while True:
            try:
                os.symlink(container, path)
            except FileExistsError:
                return False
            except FileNotFoundError:
                os.makedirs(f"{self.directory}/{network}", 0o700, exist_ok=True)
                continue
            return True

    def release(self, network: str, address: str, container: str) -> None:
        """Give ``address`` back, if it is ``container``'s."""
        path = f"{self.directory}/{network}/{address}"
        with suppress(FileNotFoundError):
            if os.readlink(path) == container:
                os.unlink(path)

    def release_all(self, container: str) -> None:
        """Give back whatever ``container`` has, in every network: its processes are gone."""
        for network in self._networks():
            for address, owner in self.of(network).items():
                if owner == container:
                    self.release(network, address, container)

    def owners(self) -> set[str]:
        """Every container that has an address."""
        return {owner for network in self._networks() for owner in self.of(network).values()}

    def _networks(self) -> list[str]:
        try:
            return os.listdir(self.directory)
        except FileNotFoundError:
            return []

    def close(self, network: str) -> bool:
        """Remove the directory of a network; false if there are leases in it."""
        try:
            os.rmdir(f"{self.directory}/{network}")
        except FileNotFoundError:
            return True
        except OSError:  # ENOTEMPTY
            return False
        return True


def check(network: Network, text: str, version: int) -> Address:
    """An address, of IPv4 or IPv6, that somebody asked for."""
    try:
        address = ipaddress.ip_address(text)
        if address.version != version:
            raise ValueError
    except ValueError:
        raise InvalidArgument(f"invalid IPv{version} address: {text}") from None
    for pool in network.pools:
        if address in pool.subnet:
            if address == pool.gateway or address in pool.others:
                raise Forbidden("Address already in use")
            if address in (pool.subnet.network_address, pool.subnet.broadcast_address):
                raise InvalidArgument(f"Invalid address {address}: it is the subnet's own")
            return address
    raise InvalidArgument(f"Invalid address {address}: It does not belong to any of this network's subnets")


def _numbers(names: list[str], version: int) -> set[int]:
    """The addresses of one family as numbers: there may be thousands, and each start goes through them."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    wanted = [name for name in names if (":" in name) == (version == 6)]
    return {int.from_bytes(socket.inet_pton(family, name), "big") for name in wanted}
