"""Connections to hosts: pools, TLS and proxies. One request, one reply, nothing tried twice.

A process that was forked gets pools of its own, so a connection is never used by two. Proxies are those of
the environment, as curl and Docker read it: HTTP_PROXY, HTTPS_PROXY and NO_PROXY in either case; loopback is
never asked through one. SOCKS (RFC 1928) needs PySocks, which is loaded only then.

Out of scope: redirects, credentials, retries (``transport.py``).
"""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from urllib.parse import SplitResult, unquote, urlsplit

import urllib3
from urllib3.exceptions import InsecureRequestWarning, NewConnectionError, ProxyError
from urllib3.response import BaseHTTPResponse

from .. import __version__, errors
from .configuration import Configuration, host_of

USER_AGENT = f"mydocker/{__version__}"
_PORTS = {"http": 80, "https": 443}
_SOCKS = ("socks5", "socks5h")
_SOCKS_PORT = 1080
_POOLS = 32
_CONNECTIONS = 4

Body = bytes | Iterator[bytes] | None


class Connections:
    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._pools: dict[tuple[str, str, str], urllib3.PoolManager] = {}
        self._owner = os.getpid()

    def open(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: Body = None,
        connect: float,
        read: float,
    ) -> BaseHTTPResponse:
        """The reply to one request, its body unread. Raises ``urllib3.exceptions.HTTPError``."""
        parts = urlsplit(url)
        proxy = proxy_for(parts.scheme, parts.netloc)
        try:
            return self._pool(parts, proxy).request(
                method,
                url,
                headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **headers},
                body=body,
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
                timeout=urllib3.Timeout(connect=connect, read=read),
            )
        except NewConnectionError as error:
            if urlsplit(proxy).scheme in _SOCKS:
                raise ProxyError("unable to connect by the proxy", error) from error
            raise

    def _pool(self, parts: SplitResult, proxy: str) -> urllib3.PoolManager:
        if self._owner != os.getpid():
            self._pools, self._owner = {}, os.getpid()
        # What TLS is to believe depends on the host, what a proxy is told on the proxy alone.
        key = (proxy, parts.scheme, parts.netloc if parts.scheme == "https" else "")
        pool = self._pools.get(key)
        if pool is None:
            context = self.context(parts.netloc) if parts.scheme == "https" else None
            pool = self._pools[key] = _manager(proxy, context)
        return pool

    def context(self, netloc: str) -> ssl.SSLContext:
        """For TLS with ``netloc``: the system's authorities and those of certs.d, or no verification."""
        found = self._configuration.certificates(netloc)
        insecure = self._configuration.is_insecure(netloc)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            urllib3.disable_warnings(InsecureRequestWarning)  # the configuration wants it so
        else:
            context.load_default_certs()
        for path in found.authorities:
            with _naming(path):
                context.load_verify_locations(path)
        for certificate, key in found.clients:
            with _naming(certificate):
                context.load_cert_chain(certificate, key, _no_password)
        return context


def _no_password() -> str:
    raise ValueError("its key is encrypted, which is not supported")


@contextmanager
def _naming(path: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
        raise errors.InvalidArgument(f"cannot use {path}: {reason}") from error


def _manager(proxy: str, context: ssl.SSLContext | None) -> urllib3.PoolManager:
    if not proxy:
        return urllib3.PoolManager(_POOLS, maxsize=_CONNECTIONS, ssl_context=context)
    parts = urlsplit(proxy)
    if parts.scheme in _SOCKS:
        return _socks_manager(parts, context)
    headers = {"User-Agent": USER_AGENT}
    if parts.username:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers |= urllib3.make_headers(proxy_basic_auth=pair)
    address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    return urllib3.ProxyManager(
        address, _POOLS, maxsize=_CONNECTIONS, proxy_headers=headers, ssl_context=context
    )


def _socks_manager(parts: SplitResult, context: ssl.SSLContext | None) -> urllib3.PoolManager:
    address = parts.netloc.rpartition("@")[2]
    if find_spec("socks") is None:
        raise errors.NotSupported(
            f"the proxy {parts.scheme}://{address} needs PySocks (pip install 'mydocker[socks]')"
        )
    from urllib3.contrib.socks import SOCKSProxyManager

    if parts.port is None:
        address = f"{address}:{_SOCKS_PORT}"
    return SOCKSProxyManager(
        f"socks5h://{address}",  # names go to the proxy, whichever of the two it is called, as with Go
        unquote(parts.username) if parts.username else None,
        unquote(parts.password) if parts.password else None,
        _POOLS,
        maxsize=_CONNECTIONS,
        ssl_context=context,
    )


def proxy_for(scheme: str, netloc: str) -> str:
    """The URL of the proxy that the environment names for this host, or an empty string."""
    name = f"{scheme}_proxy"
    proxy = os.environ.get(name) or os.environ.get(name.upper()) or ""
    if not proxy or not _through_proxy(scheme, netloc):
        return ""
    kind, separator, _ = proxy.partition("://")
    if not separator:
        return f"http://{proxy}"
    if kind not in (*_PORTS, *_SOCKS):
        known = ", ".join((*_PORTS, *_SOCKS))
        raise errors.NotSupported(f"{name.upper()}: a proxy of the kind {kind} (there are {known})")
    return proxy


def _through_proxy(scheme: str, netloc: str) -> bool:
    host, port = host_of(netloc).lower(), _port(scheme, netloc)
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if host == "localhost" or (address is not None and address.is_loopback):
        return False
    exceptions = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    for word in (word.strip().lower() for word in exceptions.split(",")):
        if word == "*":
            return False
        if not word:
            continue
        name, _, only = word.rpartition(":") if word.count(":") == 1 else (word, "", "")
        if only and only != str(port):
            continue
        if _within(address, name) if address is not None else _named(host, name):
            return False
    return True


def _named(host: str, name: str) -> bool:
    """``example.org`` means its subdomains too, ``.example.org`` nothing but these."""
    return host.endswith(name if name.startswith(".") else f".{name}") or host == name


def _within(address: ipaddress.IPv4Address | ipaddress.IPv6Address, text: str) -> bool:
    try:
        return address in ipaddress.ip_network(text, strict=False)
    except ValueError:  # a name
        return False


def _port(scheme: str, netloc: str) -> int:
    _, _, port = netloc.rpartition("]")[2].partition(":")
    return int(port) if port.isdecimal() else _PORTS[scheme]
