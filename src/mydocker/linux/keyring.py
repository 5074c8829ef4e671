"""Session keyrings: keyctl(2). A container that kept its caller's keyring could read the caller's keys."""

from __future__ import annotations

import os

from .syscall import syscall

_KEYCTL_JOIN_SESSION_KEYRING = 1


def join_session_keyring(name: str) -> None:
    """Leave this process's session keyring for a new one called ``name``."""
    syscall("keyctl", _KEYCTL_JOIN_SESSION_KEYRING, os.fsencode(name))
