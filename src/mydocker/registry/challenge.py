"""``WWW-Authenticate``: what a server wants to see (RFC 9110, 11.6.1).

    Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull"
    Basic realm="registry", Bearer realm="…"           several in one header, or one header each

Out of scope: what is answered (``authentication.py``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = re.compile(rf'\s*({_TOKEN})\s*=\s*("(?:[^"\\]|\\.)*"|[^\s,"]+)\s*')
_SCHEME = re.compile(rf"[\s,]*({_TOKEN})(?:\s+|\s*(?=,|$))")


class Challenge(NamedTuple):
    scheme: str
    """in lower case"""
    parameters: Mapping[str, str]


def parse(header: str) -> list[Challenge]:
    """All challenges of the header; what cannot be read ends the list."""
    return list(_challenges(header))


def _challenges(header: str) -> Iterator[Challenge]:
    at = 0
    while (scheme := _SCHEME.match(header, at)) is not None:
        at = scheme.end()
        parameters: dict[str, str] = {}
        while (parameter := _PARAMETER.match(header, at)) is not None:
            name, value = parameter.groups()
            if value.startswith('"'):
                value = re.sub(r"\\(.)", r"\1", value[1:-1])
            parameters[name.lower()] = value
            at = parameter.end()
            if not header.startswith(",", at):
                break
            if _PARAMETER.match(header, at + 1) is None:
                break
            at += 1
        yield Challenge(scheme[1].lower(), parameters)
