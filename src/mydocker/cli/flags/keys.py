"""``--detach-keys``: the sequence of keys that leaves a terminal without ending what runs in it.

A sequence is ``a``, ``ctrl-p``, ``ctrl-p,ctrl-q`` …: single characters or ``ctrl-`` with a letter or one of
``@ [ \\ ] ^ _``, as control characters are written (man 7 ascii). An empty one means the default.
"""

from __future__ import annotations

from mydocker import errors

DEFAULT = b"\x10\x11"  # ctrl-p,ctrl-q


def parse_keys(text: str) -> bytes:
    """Raises ``InvalidArgument``."""
    if not text:
        return DEFAULT
    keys = bytearray()
    for key in text.split(","):
        if len(key) == 1 and key.isascii():
            keys.append(ord(key))
            continue
        letter = key.removeprefix("ctrl-")
        if letter == key or len(letter) != 1:
            raise errors.InvalidArgument(f"invalid detach keys ({text}) provided: unknown character: '{key}'")
        if letter.isascii() and letter.islower():
            keys.append(ord(letter) - ord("a") + 1)
        elif letter in "@[\\]^_":
            keys.append(ord(letter) - ord("@"))
        else:
            raise errors.InvalidArgument(f"invalid detach keys ({text}) provided: unknown character: '{key}'")
    return bytes(keys)
