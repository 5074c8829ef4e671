"""``--security-opt``: which of the kernel's restrictions a container runs under.

In scope: reading the options, and the seccomp section and no_new_privs that follow from them. Out of scope:
capabilities (``oci/capabilities.py``) and applying anything (``runtime/``). SELinux labels and AppArmor
profiles other than ``unconfined`` are refused: an option that says it confines must not do nothing.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from ..errors import InvalidArgument, NotSupported
from ..oci import go
from ..oci.seccomp_default import default_seccomp
from ..oci.seccomp_profile import seccomp_from_profile

if TYPE_CHECKING:
    from ..oci.runtime import Seccomp


class SecurityOptions(msgspec.Struct, frozen=True, kw_only=True):
    no_new_privileges: bool = False
    seccomp: str = ""
    """``unconfined``, a profile as JSON text, or empty for the default"""


def options(texts: Iterable[str]) -> SecurityOptions:
    """Docker's two separators, ``key=value`` and ``key:value``; ``InvalidArgument`` in Docker's words."""
    no_new_privileges = False
    seccomp = ""
    for text in texts:
        if text == "no-new-privileges":
            no_new_privileges = True
            continue
        separator = "=" if "=" in text else ":"
        key, found, value = text.partition(separator)
        if not found:
            raise InvalidArgument(f"invalid --security-opt 1: {text!r}")
        if key == "no-new-privileges":
            if value not in go.TRUE | go.FALSE:
                raise InvalidArgument(f"invalid --security-opt 2: {text!r}")
            no_new_privileges = value in go.TRUE
        elif key == "seccomp":
            seccomp = "" if value == "builtin" else value
            if seccomp not in ("", "unconfined"):
                # For no capabilities, only to see now whether it can be meant at all.
                seccomp_from_profile(_profile(seccomp), (), _kernel_version(), os.uname().machine)
        elif (key, value) in (("apparmor", "unconfined"), ("label", "disable")):
            continue  # what is asked for is what there is
        elif key in ("apparmor", "label"):
            raise NotSupported(f"--security-opt {text}: {key} is not supported yet")
        else:
            raise InvalidArgument(f"invalid --security-opt 2: {text!r}")
    return SecurityOptions(no_new_privileges=no_new_privileges, seccomp=seccomp)


def seccomp(chosen: SecurityOptions, capabilities: list[str], *, privileged: bool) -> Seccomp | None:
    """The filter, or ``None``: unconfined, or privileged without a profile of its own."""
    if chosen.seccomp == "unconfined" or (privileged and not chosen.seccomp):
        return None
    if chosen.seccomp:
        section: Seccomp | None = seccomp_from_profile(  # type: ignore[assignment]
            _profile(chosen.seccomp), capabilities, _kernel_version(), os.uname().machine
        )
        return section
    default: Seccomp = _default(tuple(capabilities))
    return default


@functools.lru_cache(maxsize=4)
def _default(capabilities: tuple[str, ...]) -> Any:
    return default_seccomp(capabilities, _kernel_version(), os.uname().machine)


def _profile(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise InvalidArgument(f"Decoding seccomp profile failed: {error}") from None


def _kernel_version() -> tuple[int, int]:
    major, minor = os.uname().release.split(".")[:2]
    return int(major), int("".join(digit for digit in minor if digit.isdecimal()))
