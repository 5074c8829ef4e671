"""Which registries there are, and how each is to be reached: ``/etc/mydocker/registries.toml`` and certs.d.

    certificates = ["/etc/mydocker/certs.d", "/etc/docker/certs.d"]     the default

    [registry."docker.io"]
    mirrors = ["mirror.example:5000", "http://10.1.2.3/hub"]   asked first, in this order, when reading

    [registry."mirror.example:5000"]
    insecure = true             TLS without verification, and without TLS where there is none
    chunk-size = 16_000_000     uploads go in pieces of this size, for a proxy that takes no larger ones

    [registry."10.0.0.0/8"]     registries that are named by an address in this network
    insecure = true

    [registry."evil.example"]
    blocked = true

A mirror is ``[http[s]://]host[:port][/path]``; its path is put before the repository's name. A registry on
loopback (127.0.0.0/8, ::1, localhost) is insecure unless the file says ``insecure = false`` or certs.d has a
certificate authority for it.

certs.d is Docker's: ``<certs.d>/<host[:port]>/`` holds certificate authorities as ``*.crt``, and client
certificates as ``name.cert`` with ``name.key``. Of several directories the first that has the host counts.
"""

from __future__ import annotations

import ipaddress
import os
import tomllib
from typing import NamedTuple

import msgspec

from .. import errors
from ..oci.reference import DEFAULT_DOMAIN

DEFAULT_PATH = "/etc/mydocker/registries.toml"
HUB_HOST = "registry-1.docker.io"
"""where docker.io is; both names mean the same here"""
DEFAULT_CERTIFICATES = ("/etc/mydocker/certs.d", "/etc/docker/certs.d")


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """Of one registry."""

    mirrors: tuple[str, ...] = ()
    insecure: bool | None = None
    blocked: bool = False
    chunk_size: int = 0

    def __post_init__(self) -> None:
        if self.chunk_size < 0:
            raise ValueError("chunk-size must not be negative")
        for mirror in self.mirrors:
            scheme, separator, rest = mirror.rpartition("://")
            if (separator and scheme not in ("http", "https")) or not rest.partition("/")[0] or "@" in rest:
                raise ValueError(f"mirror {mirror!r} is not [http[s]://]host[:port][/path]")


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    certificates: tuple[str, ...] = DEFAULT_CERTIFICATES
    registry: dict[str, Settings] = {}


class Certificates(NamedTuple):
    """What certs.d has for one host."""

    authorities: tuple[str, ...] = ()
    clients: tuple[tuple[str, str], ...] = ()
    """pairs of certificate and key"""


class Configuration:
    """``path`` is what messages call it; ``Configuration()`` is that of a machine without the file."""

    def __init__(
        self,
        registries: dict[str, Settings] | None = None,
        *,
        certificates: tuple[str, ...] = DEFAULT_CERTIFICATES,
        path: str = DEFAULT_PATH,
    ) -> None:
        self.path = path
        self._registries = registries or {}
        self._certificates = certificates

    @classmethod
    def read(cls, path: str = "") -> Configuration:
        """That of ``path``, which must exist; without one the default file, which need not.

        Raises ``InvalidArgument`` with the place of what is wrong in it.
        """
        name = path or DEFAULT_PATH
        try:
            with open(name, "rb") as file:
                document = tomllib.load(file)
        except FileNotFoundError:
            if not path:
                return cls()
            raise errors.InvalidArgument(f"no such file: {path}") from None
        except OSError as error:
            raise errors.InvalidArgument(f"cannot read {name}: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise errors.InvalidArgument(f"{name}: {error}") from error
        try:
            found = msgspec.convert(document, _File)
        except msgspec.ValidationError as error:
            raise errors.InvalidArgument(f"{name}: {error}") from error
        return cls(found.registry, certificates=found.certificates, path=name)

    def trusting(self, host: str) -> Configuration:
        """The same, but for ``host``, which is insecure."""
        settings = msgspec.structs.replace(self.settings(host), insecure=True)
        return Configuration(
            {**self._registries, host: settings}, certificates=self._certificates, path=self.path
        )

    def settings(self, host: str) -> Settings:
        """Those of ``host[:port]``, by its name or else by the network of its address."""
        exact = self._registries.get(_familiar(host))
        if exact is not None:
            return exact
        address = _address(host)
        for name, settings in self._registries.items():
            if address is not None and "/" in name and address in _network(name, self.path):
                return settings
        return Settings()

    def is_insecure(self, host: str) -> bool:
        """Whether TLS goes unverified, and plain HTTP is good enough where there is no TLS."""
        given = self.settings(host).insecure
        if given is not None:
            return given
        return _is_loopback(host) and not self.certificates(host).authorities

    def certificates(self, host: str) -> Certificates:
        """``InvalidArgument`` for a client certificate without its key."""
        for parent in self._certificates:
            directory = os.path.join(parent, _familiar(host))
            try:
                names = sorted(os.listdir(directory))
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise errors.Forbidden(f"cannot read {directory}: {error.strerror}") from error
            authorities = tuple(os.path.join(directory, name) for name in names if name.endswith(".crt"))
            clients = []
            for name in names:
                if not name.endswith(".cert"):
                    continue
                key = f"{name.removesuffix('.cert')}.key"
                if key not in names:
                    raise errors.InvalidArgument(
                        f"missing key {key} for client certificate {name} in {directory} "
                        "(certificate authorities have the extension .crt)"
                    )
                clients.append((os.path.join(directory, name), os.path.join(directory, key)))
            return Certificates(authorities, tuple(clients))
        return Certificates()


def _familiar(host: str) -> str:
    return DEFAULT_DOMAIN if host == HUB_HOST else host


def host_of(netloc: str) -> str:
    """``[::1]:5000`` -> ``::1``; ``localhost:5000`` -> ``localhost``."""
    if netloc.startswith("["):
        return netloc[1:].partition("]")[0]
    return netloc.partition(":")[0]


def _address(netloc: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host_of(netloc))
    except ValueError:
        return None


def _network(text: str, path: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise errors.InvalidArgument(f"{path}: registry {text!r}: {error}") from error


def _is_loopback(netloc: str) -> bool:
    address = _address(netloc)
    return host_of(netloc) == "localhost" if address is None else address.is_loopback
