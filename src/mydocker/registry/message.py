"""A request to a registry and its reply, as ``transport.py`` takes and returns them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from urllib3.response import BaseHTTPResponse


class Request(NamedTuple):
    method: str
    target: str
    """a path on the endpoint, or a URL"""
    scopes: tuple[str, ...] = ()
    """``repository:library/alpine:pull``: what a token has to allow"""
    headers: Mapping[str, str] = {}
    body: bytes | Callable[[], Iterator[bytes]] | None = None
    accept: frozenset[int] = frozenset((200,))
    """statuses that are no errors"""
    limit: int | None = 64 << 10
    """bytes that the reply may have; None: it is not read, ``stream`` is"""
    patient: bool = True
    """whether it is tried again; not if half of it changes what the next try has to be"""
    secret: bool = False
    """whether the body is for this host only, so that no redirect leads it to another one"""
    read: float | None = None
    """seconds to wait for the reply, if not the usual ones"""


class Reply(NamedTuple):
    status: int
    headers: Mapping[str, str]
    url: str
    """where it came from in the end"""
    data: bytes
    stream: BaseHTTPResponse | None = None
    """the body, if it was not read; to be closed"""
