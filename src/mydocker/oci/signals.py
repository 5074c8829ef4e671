"""Signals by the names that images and command lines give them."""

from __future__ import annotations

import signal

from ..errors import InvalidArgument


def signal_number(name: str | int) -> int:
    """``9``, ``KILL`` or ``SIGKILL``; ``RTMIN+1`` and ``RTMAX-1`` too. Docker's message if it is none."""
    text = str(name).strip().upper().removeprefix("SIG")
    if text.isdecimal():
        number = int(text)
    else:
        base, sign, offset = text, "", ""
        for mark in "+-":
            if mark in text:
                base, sign, offset = text.partition(mark)
        member = signal.Signals.__members__.get(f"SIG{base}")
        if member is None or (sign and (not offset.isdecimal() or not base.startswith("RT"))):
            raise InvalidArgument(f"Invalid signal: {name}")
        number = member + int(f"{sign}{offset}" or "0")
    if not 0 < number <= signal.SIGRTMAX:
        raise InvalidArgument(f"Invalid signal: {name}")
    return number
