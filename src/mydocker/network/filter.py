"""The packet filter: one nftables table of ours, and what changes in it are elements of sets and maps.

    bridges           the links of our networks
    internal          those of them whose networks lead nowhere
    pairs             which two of them may talk: each with itself, unless its containers may not
    subnets4/6        subnet . bridge
    masquerade4/6     subnets that get the host's address on their way out
    ports4/6          protocol . host address . host port : container . port       (published at an address)
    any4/6            protocol . host port : container . port                      (published at all of them)
    limited4/6        containers with a list of whom they may talk to outside : its chain (egress.py)

Rules are the same however many networks and ports there are, so a lookup costs the same too. Every change is
one transaction: all of it or nothing. Rules and networks are changed by the ``nft`` program; ports, which
come and go with containers, by netlink (``linux/nftables.py``): 0.1 ms where the program takes four.

How the table stands beside the host's own firewall is told in ``docs/networks.md``. Out of scope: which
networks and ports there are.
"""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from ..errors import NotSupported, Unavailable
from ..linux.nftables import Nftables, field
from .document import Network, Port
from .inside import packed

if TYPE_CHECKING:
    from ..linux.nftables import Element

_BASE = """
add table inet {t}
add set inet {t} bridges {{ type ifname; }}
add set inet {t} internal {{ type ifname; }}
add set inet {t} pairs {{ type ifname . ifname; }}
add set inet {t} subnets4 {{ type ipv4_addr . ifname; flags interval; }}
add set inet {t} subnets6 {{ type ipv6_addr . ifname; flags interval; }}
add set inet {t} masquerade4 {{ type ipv4_addr; flags interval; }}
add set inet {t} masquerade6 {{ type ipv6_addr; flags interval; }}
add map inet {t} ports4 {{ type inet_proto . ipv4_addr . inet_service : ipv4_addr . inet_service; }}
add map inet {t} ports6 {{ type inet_proto . ipv6_addr . inet_service : ipv6_addr . inet_service; }}
add map inet {t} any4 {{ type inet_proto . inet_service : ipv4_addr . inet_service; }}
add map inet {t} any6 {{ type inet_proto . inet_service : ipv6_addr . inet_service; }}
add map inet {t} limited4 {{ type ipv4_addr : verdict; }}
add map inet {t} limited6 {{ type ipv6_addr : verdict; }}
add chain inet {t} raw {{ type filter hook prerouting priority raw; policy accept; }}
add chain inet {t} published
add chain inet {t} prerouting {{ type nat hook prerouting priority dstnat; policy accept; }}
add chain inet {t} output {{ type nat hook output priority -100; policy accept; }}
add chain inet {t} postrouting {{ type nat hook postrouting priority srcnat; policy accept; }}
add chain inet {t} forward {{ type filter hook forward priority filter; policy accept; }}
flush chain inet {t} raw
flush chain inet {t} published
flush chain inet {t} prerouting
flush chain inet {t} output
flush chain inet {t} postrouting
flush chain inet {t} forward
add rule inet {t} raw iifname @bridges ip daddr 127.0.0.0/8 drop
add rule inet {t} published dnat ip to meta l4proto . ip daddr . th dport map @ports4
add rule inet {t} published dnat ip to meta l4proto . th dport map @any4
add rule inet {t} published dnat ip6 to meta l4proto . ip6 daddr . th dport map @ports6
add rule inet {t} published dnat ip6 to meta l4proto . th dport map @any6
add rule inet {t} prerouting fib daddr type local jump published
add rule inet {t} output fib daddr type local ip6 daddr != ::1 jump published
add rule inet {t} output fib daddr type local meta nfproto ipv4 jump published
add rule inet {t} postrouting oifname @bridges ip saddr 127.0.0.0/8 masquerade
add rule inet {t} postrouting ct status dnat ip saddr . oifname @subnets4 masquerade
add rule inet {t} postrouting ct status dnat ip6 saddr . oifname @subnets6 masquerade
add rule inet {t} postrouting oifname @bridges return
add rule inet {t} postrouting ip saddr @masquerade4 masquerade
add rule inet {t} postrouting ip6 saddr @masquerade6 masquerade
add rule inet {t} forward iifname != @bridges oifname != @bridges return
add rule inet {t} forward iifname . oifname @pairs accept
add rule inet {t} forward iifname @internal drop
add rule inet {t} forward oifname @internal drop
add rule inet {t} forward ct state established,related accept
add rule inet {t} forward iifname @bridges ip saddr vmap @limited4
add rule inet {t} forward iifname @bridges ip6 saddr vmap @limited6
add rule inet {t} forward oifname @bridges ct status dnat accept
add rule inet {t} forward oifname @bridges drop
add rule inet {t} forward iifname @bridges accept
"""

_NUMBERS = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP, "sctp": socket.IPPROTO_SCTP}
_ABSENT = (
    os.strerror(errno.ENOENT),
    "element does not exist",  # of a set of intervals
    "cache initialization failed",  # a kernel without nftables
    os.strerror(errno.EPERM),  # who may make nothing there has made nothing
)
"""what nft says of what is not there"""
_PATIENCE = 30
"""seconds for the program nft"""
MISSING = "the program nft is missing (Debian: apt install nftables)"


def available() -> bool:
    return shutil.which("nft", path=_PATH) is not None


_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


class Filter:
    def __init__(self, table: str) -> None:
        self.table = table

    def add_networks(self, networks: Iterable[Network]) -> None:
        """Make the table, if it is not there, and have it know ``networks``."""
        self._run(_BASE.format(t=self.table) + self._elements("add", networks))

    def remove_network(self, network: Network) -> None:
        """Forget it; no error for what is not there."""
        self.forget(self._elements("delete", [network]))

    def remove(self) -> None:
        """Remove the table; no error if it is not there."""
        self.forget(f"delete table inet {self.table}\ndelete table bridge {self.table}\n")

    def remove_unused(self) -> None:
        """The same, unless it knows a bridge, of whatever root directory."""
        listed = self._nft(f"list set inet {self.table} bridges\n")
        if listed.returncode == 0 and b"elements" not in listed.stdout:
            self.remove()

    def publish(self, ports: Iterable[Port], networks: Callable[[], Iterable[Network]]) -> None:
        """Have the ports lead to their containers. ``networks``: should somebody have flushed the table."""
        wanted = [_element(port) for port in ports]
        try:
            with Nftables() as kernel:
                kernel.add_elements(self.table, wanted)
        except OSError:
            self.add_networks(networks())
            try:
                with Nftables() as kernel:
                    kernel.add_elements(self.table, wanted)
            except OSError as error:
                raise _refused(error.strerror) from error

    def change(self, commands: str, networks: Iterable[Network]) -> None:
        """A transaction of somebody else's in this table, or tables of this name of other families.

        With ``networks`` the table is made first. ``NotSupported`` with what nft says against it.
        """
        known = self._elements("add", networks)
        self._run((_BASE.format(t=self.table) + known if known else "") + commands)

    def forget(self, commands: str) -> None:
        """Deletions, together; one after the other if anything of it is not there, which is no error.

        ``NotSupported`` with what else nft says.
        """
        if not commands or not available():
            return
        message = self._try(commands)
        if message and not any(each in message for each in _ABSENT):
            raise _refused(message)
        lines = commands.split("\n")
        if message and len(lines) > 2:
            for line in filter(None, lines):
                self.forget(f"{line}\n")

    def unpublish(self, ports: Iterable[Port]) -> list[Port]:
        """Forget them, together; one after the other if one of them is not there.

        Those by which something has come, or may have.
        """
        known = [(port, _element(port)) for port in ports if not port.proxied]
        if not known:
            return []
        counted = self._delete([element for _, element in known])
        if counted is None:
            counted = {}
            for _, element in known:
                counted |= self._delete([element]) or {}
        return [port for port, (name, key, _) in known if counted.get((name, key)) != 0]

    def _delete(self, elements: Sequence[Element]) -> dict[tuple[str, bytes], int] | None:
        """How many connections each has led away, as far as that is known; None if they were not there."""
        try:
            with Nftables() as kernel:
                return kernel.delete_elements(self.table, elements)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EOPNOTSUPP):  # the latter: a kernel without nftables
                raise
            return None

    def _elements(self, verb: str, networks: Iterable[Network]) -> str:
        lines = []

        def element(name: str, value: str) -> None:
            lines.append(f"{verb} element inet {self.table} {name} {{ {value} }}\n")

        for network in networks:
            if not network.bridged:
                continue
            bridge = f'"{network.bridge}"'
            element("bridges", bridge)
            if network.icc:
                element("pairs", f"{bridge} . {bridge}")
            if network.internal:
                element("internal", bridge)
            for pool in network.pools:
                version = pool.subnet.version
                element(f"subnets{version}", f"{pool.subnet} . {bridge}")
                if network.masquerade:
                    element(f"masquerade{version}", str(pool.subnet))
        return "".join(lines)

    def _run(self, commands: str) -> None:
        message = self._try(commands)
        if message:
            raise _refused(message)

    def _try(self, commands: str) -> str:
        """The first line of what nft says against it, empty when it is done."""
        done = self._nft(commands)
        if done.returncode == 0:
            return ""
        return done.stderr.decode(errors="replace").partition("\n")[0] or f"exit status {done.returncode}"

    def _nft(self, commands: str) -> subprocess.CompletedProcess[bytes]:
        """``Unavailable`` if it was killed or takes too long, which says nothing about the packet filter."""
        program = shutil.which("nft", path=_PATH)
        if program is None:
            raise NotSupported(MISSING)
        try:
            done = subprocess.run(
                [program, "-f", "-"],
                input=commands.encode(),
                capture_output=True,
                check=False,
                timeout=_PATIENCE,
            )
        except subprocess.TimeoutExpired:
            raise Unavailable(f"nft has not ended after {_PATIENCE} seconds (try again)") from None
        if done.returncode < 0:
            raise Unavailable(f"the program nft was killed by signal {-done.returncode} (try again)")
        return done


def _refused(reason: str | None) -> NotSupported:
    return NotSupported(f"the packet filter refuses ({reason})")


def _element(port: Port) -> Element:
    """The map that a port goes into, its key there, and where it leads to."""
    six = ":" in port.address
    key = field(bytes((_NUMBERS[port.protocol],)))
    name = f"any{6 if six else 4}"
    if port.host not in ("0.0.0.0", "::"):
        key += field(packed(port.host))
        name = f"ports{6 if six else 4}"
    key += field(port.host_port.to_bytes(2, "big"))
    return name, key, field(packed(port.address)) + field(port.port.to_bytes(2, "big"))
