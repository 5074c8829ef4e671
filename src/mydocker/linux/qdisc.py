"""Queueing disciplines of links by rtnetlink(7): how fast packets leave one. See tc-tbf(8)."""

from __future__ import annotations

import _socket
import struct

from .netlink import Socket, attribute, nested, number, text

RTM_NEWQDISC = 36
TC_H_ROOT = 0xFFFFFFFF
TCA_KIND, TCA_OPTIONS = 1, 2
TCA_TBF_PARMS, TCA_TBF_BURST = 1, 6
TC_LINKLAYER_ETHERNET = 1

_TCMSG = struct.Struct("=BxHiIII")  # tcm_family, tcm__pad2, tcm_ifindex, tcm_handle, tcm_parent, tcm_info
_RATESPEC = struct.Struct("=BBHhHI")  # cell_log, linklayer, overhead, cell_align, mpu, rate
_TBF = struct.Struct("=12s12sIII")  # rate, peakrate, limit, buffer, mtu


def add_tbf(kernel: Socket, index: int, *, rate: int, burst: int, limit: int) -> None:
    """A token bucket as the root of a link: bytes per second, bytes at once, bytes that may wait.

    ``OSError``: ENOENT if the kernel has none.
    """
    speed = _RATESPEC.pack(0, TC_LINKLAYER_ETHERNET, 0, 0, 0, rate)
    parameters = _TBF.pack(speed, bytes(_RATESPEC.size), limit, 0, 0)
    options = nested(TCA_OPTIONS, attribute(TCA_TBF_PARMS, parameters), number(TCA_TBF_BURST, burst))
    body = _TCMSG.pack(_socket.AF_UNSPEC, 0, index, 0, TC_H_ROOT, 0) + text(TCA_KIND, "tbf") + options
    kernel.new(RTM_NEWQDISC, body, str(index))
