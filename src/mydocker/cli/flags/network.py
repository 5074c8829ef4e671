"""Flags of ``run``, ``create`` and ``network connect``: where a container is, and what leads to it.

In scope: the syntax of ``--network`` and ``--publish`` as Docker's command line reads them (docker/cli
``opts/network.go``, docker/go-connections ``nat/parse.go``). Whether a network exists is the engine's to say.
"""

from __future__ import annotations

import csv
import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from mydocker import errors
from mydocker.cli.flags.go import quote
from mydocker.container.config import EndpointConfig, EndpointIpam, PortBinding
from mydocker.network.document import Pool, Subnet

_PROTOCOLS = ("tcp", "udp", "sctp")


class Attachment(NamedTuple):
    """One ``--network``: its name, and what the long form says of it."""

    name: str
    aliases: tuple[str, ...] = ()
    ip: str = ""
    ip6: str = ""
    mac: str = ""
    links: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = ()


def parse_network(text: str) -> Attachment:
    """``NAME``, or ``name=NAME,alias=…,ip=…,ip6=…,mac-address=…,driver-opt=…``. Raises ``ValueError``."""
    if "=" not in text:
        if not text:
            raise ValueError("network name is required")
        return Attachment(text)
    found: dict[str, list[str]] = {}
    for field in next(csv.reader([text])):
        key, equals, value = field.partition("=")
        key, value = key.strip().lower(), value.strip()
        if not equals:
            raise ValueError(f"invalid field {field}")
        if key not in ("name", "alias", "ip", "ip6", "mac-address", "driver-opt"):
            raise ValueError(f"invalid field key {key}")
        found.setdefault(key, []).append(value)
    if "name" not in found:
        raise ValueError("network name/id is not specified")
    last = {key: values[-1] for key, values in found.items()}
    return Attachment(
        last["name"],
        tuple(found.get("alias", ())),
        last.get("ip", ""),
        last.get("ip6", ""),
        last.get("mac-address", ""),
        options=tuple(pair for given in found.get("driver-opt", ()) for pair in parse_options(given)),
    )


def parse_options(text: str) -> list[tuple[str, str]]:
    """``NAME=VALUE``, or several with commas between them."""
    pairs = [word.partition("=") for word in text.split(",")]
    if not all(name and equals for name, equals, _ in pairs):
        raise ValueError("invalid key value pair format in driver options")
    return [(name.strip().lower(), value.strip()) for name, _, value in pairs]


def parse_link(text: str) -> str:
    """``CONTAINER[:ALIAS]``"""
    name, colon, alias = text.partition(":")
    if not text:
        raise ValueError("empty string specified for links")
    if not name or (colon and not alias) or ":" in alias:
        raise ValueError(f"bad format for links: {text}")
    return text


def parse_egress(text: str) -> list[str]:
    """``none``, or places with commas between them; what they are is the engine's to say."""
    found = [word.strip() for word in text.split(",")]
    if not all(found):
        raise ValueError("an empty place")
    return found


def parse_address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(f"IP address is not correctly formatted: {text}") from None


def endpoints(flags: Mapping[str, Any]) -> tuple[str, dict[str, EndpointConfig]]:
    """The network mode and how the container is in each network. Raises ``InvalidArgument``."""
    attachments = [*flags["network"], *flags["net"]]
    aliases = (*flags["network-alias"], *flags["net-alias"])
    options = tuple(pair for given in flags["network-opt"] for pair in given)
    own = Attachment("", aliases, flags["ip"], flags["ip6"], flags["mac-address"], options=options)
    if not attachments:
        attachments = [Attachment("default")]
    names = [each.name for each in attachments]
    if len(set(names)) < len(names):
        raise errors.InvalidArgument(f"network {quote(names[-1])} is specified multiple times")
    first = attachments[0]
    for one, other, flag in (
        (own.aliases, first.aliases, "network-alias"),
        (own.ip, first.ip, "ip"),
        (own.ip6, first.ip6, "ip6"),
        (own.mac, first.mac, "mac-address"),
    ):
        if one and other:
            raise errors.InvalidArgument(
                f"conflicting options: cannot specify both --{flag} and per-network {flag.split('-')[-1]}"
            )
    merged = Attachment(
        first.name,
        first.aliases or own.aliases,
        first.ip or own.ip,
        first.ip6 or own.ip6,
        first.mac or own.mac,
        tuple(flags["link"]) if user_defined(first.name) else (),
        (*first.options, *own.options),
    )
    mode = merged.name
    if mode in ("none", "host") or mode.startswith("container:"):
        if len(attachments) > 1:
            raise errors.InvalidArgument(
                "conflicting options: cannot attach both user-defined and non-user-defined network-modes"
            )
        if merged.ip or merged.ip6:
            raise errors.InvalidArgument(
                "user specified IP address is supported on user defined networks only"
            )
        if merged.aliases:
            raise errors.InvalidArgument(
                "network-scoped aliases are only supported for user-defined networks"
            )
        if merged.options:
            raise errors.InvalidArgument("conflicting options: network-opt and the network mode")
        if merged.mac:
            raise errors.InvalidArgument("conflicting options: mac-address and the network mode")
        return mode, {}
    if own.aliases and not user_defined(mode):
        raise errors.InvalidArgument("network-scoped aliases are only supported for user-defined networks")
    found = {each.name: endpoint(each) for each in (merged, *attachments[1:])}
    if mode == "default":
        return mode, {"bridge": found["default"]} if found["default"] != EndpointConfig() else {}
    return mode, found


def user_defined(mode: str) -> bool:
    return mode not in ("default", "bridge", "none", "host") and not mode.startswith("container:")


def endpoint(attachment: Attachment) -> EndpointConfig:
    ipam = EndpointIpam(ipv4_address=attachment.ip, ipv6_address=attachment.ip6)
    return EndpointConfig(
        ipam_config=ipam if attachment.ip or attachment.ip6 else None,
        aliases=list(attachment.aliases) or None,
        links=list(attachment.links) or None,
        mac_address=attachment.mac,
        driver_opts=dict(attachment.options) or None,
    )


# -- ``network create``


def pools(
    subnets: Iterable[str], ranges: Iterable[str], gateways: Iterable[str], auxiliary: Mapping[str, str]
) -> list[Pool]:
    """Each range, gateway and auxiliary address goes to the subnet that it is in, as in Docker's client."""
    found: list[dict[str, Any]] = [{"subnet": subnet} for subnet in subnets]
    ranges, gateways = list(ranges), list(gateways)
    if len(found) < max(len(ranges), len(gateways)):
        raise errors.InvalidArgument("every ip-range or gateway must have a corresponding subnet")
    _apart([pool["subnet"] for pool in found])

    def home(text: str, what: str) -> dict[str, Any]:
        try:
            address = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise errors.InvalidArgument(f"no matching subnet for {what} {text}") from None
        for pool in found:
            try:
                subnet = ipaddress.ip_network(pool["subnet"], strict=False)
            except ValueError:
                continue  # which the engine reports
            if subnet.version == address.version and address.subnet_of(subnet):  # type: ignore[arg-type]
                return pool
        raise errors.InvalidArgument(f"no matching subnet for {what} {text}")

    for key, what, given in (("ip_range", "range", ranges), ("gateway", "gateway", gateways)):
        for text in given:
            pool = home(text, what)
            if key in pool:
                raise errors.InvalidArgument(f"cannot configure multiple {what}s on the same subnet")
            pool[key] = text
    for name, text in auxiliary.items():
        home(text, "aux-address").setdefault("auxiliary_addresses", {})[name] = text
    return [Pool(**pool) for pool in found]


def _apart(subnets: list[str]) -> None:
    known: list[Subnet] = []
    for text in subnets:
        try:
            subnet = ipaddress.ip_network(text, strict=False)
        except ValueError:
            continue  # which the engine reports
        if any(subnet.overlaps(other) for other in known if other.version == subnet.version):
            raise errors.InvalidArgument("multiple overlapping subnet configuration is not supported")
        known.append(subnet)


# -- published ports


def parse_publish(text: str) -> tuple[str, list[tuple[str, PortBinding]]]:
    """``[[HOST-ADDRESS:][HOST-PORT[-LAST]]:]PORT[-LAST][/PROTOCOL]``: key and binding of each port.

    Or ``target=PORT[,published=PORT][,protocol=PROTOCOL]``, which means ``published:target/protocol``.
    """
    address, host, inner = _split(_short(text) if "=" in text else text)
    numbers, slash, protocol = inner.partition("/")
    protocol = protocol.lower() if slash else "tcp"
    if not numbers:
        raise errors.InvalidArgument(f"no port specified: {text}<empty>")
    if protocol not in _PROTOCOLS:
        raise errors.InvalidArgument(f"invalid proto: {protocol}")
    if address:
        try:
            ipaddress.ip_address(address)
        except ValueError:
            raise errors.InvalidArgument(f"invalid IP address: {address}") from None
    low, high = _range(numbers, "containerPort")
    if not host:
        return text, [(f"{port}/{protocol}", PortBinding(host_ip=address)) for port in range(low, high + 1)]
    first, last = _range(host, "hostPort")
    if last - first == high - low:
        pairs = [(low + step, str(first + step)) for step in range(high - low + 1)]
    elif low == high:
        pairs = [(low, f"{first}-{last}")]
    else:
        raise errors.InvalidArgument(
            f"invalid ranges specified for container and host Ports: {numbers} and {host}"
        )
    return text, [
        (f"{port}/{protocol}", PortBinding(host_ip=address, host_port=outer)) for port, outer in pairs
    ]


def _short(text: str) -> str:
    given = {"published": "", "target": "", "protocol": "tcp"}
    for field in text.split(","):
        key, equals, value = field.partition("=")
        if not key or not equals:
            raise errors.InvalidArgument(
                f"invalid publish opts format (should be name=value but got '{field}')"
            )
        if key not in (*given, "mode"):
            raise errors.InvalidArgument(
                f"invalid publish option {quote(key)}: it is one of {', '.join(given)}"
            )
        given[key] = value
    return f"{given['published']}:{given['target']}/{given['protocol']}"


def _split(text: str) -> tuple[str, str, str]:
    """Host address, host port, container port."""
    if text.startswith("["):
        address, bracket, rest = text[1:].partition("]")
        host, colon, inner = rest.removeprefix(":").rpartition(":")
        if not bracket or not rest.startswith(":") or not colon:
            raise errors.InvalidArgument(f"invalid port specification: {quote(text)}")
        return address, host, inner
    rest, _, inner = text.rpartition(":")
    address, colon, host = rest.rpartition(":")
    return (address, host, inner) if colon else ("", rest, inner)


def _range(text: str, what: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    last = last if dash else first
    if not (first.isdecimal() and last.isdecimal()) or int(last) > 65535 or int(first) > int(last):
        raise errors.InvalidArgument(f"invalid {what}: {text}")
    return int(first), int(last)


def port_bindings(given: Iterable[tuple[str, list[tuple[str, PortBinding]]]]) -> dict[str, list[PortBinding]]:
    found: dict[str, list[PortBinding]] = {}
    for _, pairs in given:
        for port, binding in pairs:
            found.setdefault(port, []).append(binding)
    return found
