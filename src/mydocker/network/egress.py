"""``--egress``: the only places outside that a container may begin to talk to.

    none               nothing           10.0.0.0/8, 10.1.2.3, fd00::1     a subnet or an address, all of it
    HOST:PORT[/tcp|udp]                  a name, or an address ([fd00::1]:443), at one port of both or one

Outside is whatever is not in a network of the container's own: neighbours are reached as before, and so is
who talks to it first. What counts is where a packet was sent to, whoever gets it: a port that is published
leads on from the host's address. In the packet filter (``filter.py``) each such container has, by its name,

    chain egress_<id>         jumped to for its addresses (maps limited4/6), from forward and input
    sets egressnet4/6_<id>    subnets
    sets egress4/6_<id>       address . protocol . port; those of names with a timeout: they are put there
                              when the container's resolver is told an address by those that it asks

and in a table of the bridge family the links that may only send from addresses of theirs; beside that only
neighbours are looked for, from addresses that no host passes anything on from. Other names than those in the
list are asked nobody outside. Out of scope: the resolver itself, and when an endpoint is limited
(``container/endpoints.py``).
"""

from __future__ import annotations

import ipaddress
import string
import time
from collections.abc import Iterable
from typing import NamedTuple

from ..errors import InvalidArgument, NotSupported
from .document import Endpoint, Network
from .filter import Filter
from .pools import parse

NONE = "none"
LASTING = 3600
"""seconds at least for which an address that a name server has told is good: programs remember addresses"""
_LABEL = frozenset(string.ascii_letters + string.digits + "-_")

LONGEST = 86400
"""seconds at most"""
_NEIGHBOURS = "{ nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert }"
_PORT = "meta l4proto . ct original proto-dst"
_TABLE = """
add chain inet {t} input {{ type filter hook input priority filter; policy accept; }}
flush chain inet {t} input
add rule inet {t} input iifname != @bridges accept
add rule inet {t} input ct state established,related accept
add rule inet {t} input icmpv6 type {neighbours} ip6 hoplimit 255 accept
add rule inet {t} input ip saddr vmap @limited4
add rule inet {t} input ip6 saddr vmap @limited6
add table bridge {t}
add set bridge {t} limited {{ type ifname; }}
add set bridge {t} own4 {{ type ifname . ipv4_addr; }}
add set bridge {t} own6 {{ type ifname . ipv6_addr; }}
add chain bridge {t} prerouting {{ type filter hook prerouting priority -300; policy accept; }}
flush chain bridge {t} prerouting
add rule bridge {t} prerouting iifname != @limited accept
add rule bridge {t} prerouting ether type ip iifname . ip saddr @own4 accept
add rule bridge {t} prerouting ether type arp iifname . arp saddr ip @own4 accept
add rule bridge {t} prerouting ether type ip6 iifname . ip6 saddr @own6 accept
add rule bridge {t} prerouting ip6 saddr {{ ::, fe80::/10 }} icmpv6 type {neighbours} accept
add rule bridge {t} prerouting drop
"""
_CHAIN = """
add set inet {t} egress4_{id} {{ type ipv4_addr . inet_proto . inet_service; flags timeout; }}
add set inet {t} egress6_{id} {{ type ipv6_addr . inet_proto . inet_service; flags timeout; }}
add set inet {t} egressnet4_{id} {{ type ipv4_addr; flags interval; }}
add set inet {t} egressnet6_{id} {{ type ipv6_addr; flags interval; }}
add chain inet {t} egress_{id}
flush chain inet {t} egress_{id}
add rule inet {t} egress_{id} ct original ip daddr @egressnet4_{id} return
add rule inet {t} egress_{id} ct original ip6 daddr @egressnet6_{id} return
add rule inet {t} egress_{id} meta l4proto tcp ct original ip daddr . {port} @egress4_{id} return
add rule inet {t} egress_{id} meta l4proto udp ct original ip daddr . {port} @egress4_{id} return
add rule inet {t} egress_{id} meta l4proto tcp ct original ip6 daddr . {port} @egress6_{id} return
add rule inet {t} egress_{id} meta l4proto udp ct original ip6 daddr . {port} @egress6_{id} return
add rule inet {t} egress_{id} meta l4proto tcp reject with tcp reset
add rule inet {t} egress_{id} reject with icmpx admin-prohibited
"""
_GONE = """
flush chain inet {t} egress_{id}
delete chain inet {t} egress_{id}
delete set inet {t} egress4_{id}
delete set inet {t} egress6_{id}
delete set inet {t} egressnet4_{id}
delete set inet {t} egressnet6_{id}
"""


Key = tuple[str, int, str]
"""address, port, protocol"""


class Place(NamedTuple):
    """One entry of the list: a subnet, or a name or an address at a port."""

    subnet: ipaddress.IPv4Network | ipaddress.IPv6Network | None
    host: str = ""
    """a name, in lower case, or an address"""
    port: int = 0
    protocols: tuple[str, ...] = ()

    @property
    def named(self) -> bool:
        return self.subnet is None and not _is_address(self.host)


def places(entries: Iterable[str]) -> list[Place]:
    """What a list says; ``InvalidArgument`` for what is no entry of one."""
    words = [*entries]
    if NONE in words:
        if len(words) > 1:
            raise InvalidArgument("egress: none goes with nothing else")
        return []
    return [_place(word) for word in words]


def _place(word: str) -> Place:
    if _is_address(word):
        return Place(ipaddress.ip_network(word))
    rest, slash, last = word.rpartition("/")
    if slash and last not in ("tcp", "udp"):
        return Place(parse(word))
    host, colon, number = (rest if slash else word).rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise _invalid(word)
    if not colon or not number.isdecimal() or not 0 < int(number) < 65536:
        raise _invalid(word)
    if not _is_address(host) and not _is_name(host):
        raise _invalid(word)
    return Place(None, host.lower(), int(number), (last,) if slash else ("tcp", "udp"))


def _invalid(word: str) -> InvalidArgument:
    return InvalidArgument(f"invalid egress {word!r}: use none, HOST:PORT[/tcp|udp], an address or a subnet")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_name(text: str) -> bool:
    return 0 < len(text) < 254 and all(
        0 < len(label) < 64 and _LABEL.issuperset(label) for label in text.split(".")
    )


def is_outside(address: str) -> bool:
    """Whether what a name server tells may be an address of somebody else than the host and its link."""
    found = ipaddress.ip_address(address)
    return not (found.is_loopback or found.is_link_local or found.is_multicast or found.is_unspecified)


class Remembered:
    """What was allowed for a while, so that the packet filter need not be told again with every answer."""

    def __init__(self) -> None:
        self._whose: object = None
        self._until: dict[Key, float] = {}

    def due(self, whose: object, keys: Iterable[Key], seconds: float) -> list[Key]:
        """Those that more than half of ``seconds`` are over for; all of them if ``whose`` is another."""
        now = time.monotonic()
        if whose != self._whose:
            self._whose, self._until = whose, {}
        self._until = {key: until for key, until in self._until.items() if until > now}
        return [key for key in keys if self._until.get(key, now) - now < seconds / 2]

    def note(self, keys: Iterable[Key], seconds: float) -> None:
        self._until |= dict.fromkeys(keys, time.monotonic() + seconds)


class Egress:
    """The lists of containers in the packet filter."""

    def __init__(self, filter: Filter) -> None:
        self._filter = filter

    def on(self, container: str, endpoint: Endpoint, allowed: list[Place], networks: list[Network]) -> None:
        """Have an endpoint, whose link need not be there yet, reach only what is ``allowed``."""
        commands = (
            _TABLE + _CHAIN + self._allowed(allowed) + self._endpoint("add", endpoint, endpoint.addresses)
        )
        try:
            self._filter.change(self._text(commands, container), networks)
        except NotSupported as error:
            raise NotSupported(f"--egress needs nftables, with its bridge family: {error}") from None

    def allow(self, container: str, addresses: Iterable[Key], seconds: int) -> None:
        """Of a name, for a while; from now on if it is there already."""
        lines = []
        for address, port, protocol in addresses:
            version = 6 if ":" in address else 4
            key = f"{address} . {protocol} . {port}"
            for verb, more in (("add", ""), ("delete", ""), ("add", f" timeout {seconds}s")):
                lines.append(f"{verb} element inet {{t}} egress{version}_{{id}} {{{{ {key}{more} }}}}\n")
        self._filter.change(self._text("".join(lines), container), [])

    def off(self, container: str, endpoint: Endpoint, own: Iterable[str], *, last: bool) -> None:
        """An endpoint is gone; ``last``: and no other is left. No error for what is not there.

        ``own``: its addresses that nobody else has by now, whose limits would go.
        """
        commands = self._endpoint("delete", endpoint, own) + (_GONE if last else "")
        self._filter.forget(self._text(commands, container))

    def _text(self, commands: str, container: str) -> str:
        return commands.format(t=self._filter.table, id=container[:12], neighbours=_NEIGHBOURS, port=_PORT)

    def _allowed(self, allowed: list[Place]) -> str:
        lines = []
        for version in (4, 6):
            subnets = [place.subnet for place in allowed if place.subnet is not None]
            merged = ipaddress.collapse_addresses([each for each in subnets if each.version == version])  # type: ignore[type-var]
            lines += [
                f"add element inet {{t}} egressnet{version}_{{id}} {{{{ {each} }}}}\n" for each in merged
            ]
        for place in allowed:
            if place.subnet is None and not place.named:
                version = 6 if ":" in place.host else 4
                for protocol in place.protocols:
                    key = f"{place.host} . {protocol} . {place.port}"
                    lines.append(f"add element inet {{t}} egress{version}_{{id}} {{{{ {key} }}}}\n")
        return "".join(lines)

    def _endpoint(self, verb: str, endpoint: Endpoint, addresses: Iterable[str]) -> str:
        lines = [f'{verb} element bridge {{t}} limited {{{{ "{endpoint.link}" }}}}\n']
        for address in addresses:
            version = 6 if ":" in address else 4
            key = f'"{endpoint.link}" . {address}'
            lines.append(f"{verb} element bridge {{t}} own{version} {{{{ {key} }}}}\n")
            jump = " : jump egress_{id}"
            lines.append(f"{verb} element inet {{t}} limited{version} {{{{ {address}{jump} }}}}\n")
        return "".join(lines)
