"""``--network-opt rate-in=…,rate-out=…``: how fast a container may be talked to, and talk, in one network.

A token bucket at the host's end of its veth holds what goes in, one at its own end what comes out; a
container that has CAP_NET_ADMIN can take the second away. Rates are tc(8)'s: bits per second with a unit.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping

from ..errors import InvalidArgument, NotSupported
from ..linux import qdisc
from ..linux.links import Link, Netlink

IN, OUT = "rate-in", "rate-out"
_RATE = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)([gmk]?)bit")
_UNITS = {"g": 10**9, "m": 10**6, "k": 10**3, "": 1}
_LEAST, _MOST = 1000, (1 << 32) - 1
_BURST = 16 * 1024
"""bytes at least that pass at once"""
_HEADER = 18
"""bytes of a frame before its packet, with the tag of a VLAN"""


def parse(options: Mapping[str, str]) -> tuple[int, int]:
    """Bytes per second in and out, 0 where there is no limit."""
    for name in options:
        if name not in (IN, OUT):
            raise NotSupported(f"network option {name} is not supported (there are {IN} and {OUT})")
    return _rate(options.get(IN, "")), _rate(options.get(OUT, ""))


def _rate(text: str) -> int:
    if not text:
        return 0
    found = _RATE.fullmatch(text.lower())
    rate = int(float(found[1]) * _UNITS[found[2]] / 8) if found else 0
    if not _LEAST <= rate <= _MOST:
        raise InvalidArgument(f"invalid rate {text!r}: use bits per second from 8kbit to 34gbit, as 10mbit")
    return rate


def hold(kernel: Netlink, link: Link, rate: int) -> None:
    """Let so many bytes per second go out by a link. ``NotSupported`` where the kernel cannot.

    What passes at once is as much as the longest packet at least: a longer one would never pass.
    """
    if not rate:
        return
    burst = max(rate // 100, _BURST, link.mtu + _HEADER)
    try:
        qdisc.add_tbf(kernel, link.index, rate=rate, burst=burst, limit=burst + max(rate // 10, burst))
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EOPNOTSUPP):
            raise NotSupported(
                "this kernel cannot limit the rate of a network: it has no queueing discipline tbf "
                "(CONFIG_NET_SCH_TBF)"
            ) from error
        raise
