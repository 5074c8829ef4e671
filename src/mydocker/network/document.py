"""What a network is, on disk and in Docker's ``GET /networks/{id}`` (Engine API v1.43)."""

from __future__ import annotations

import hashlib
import ipaddress
from functools import cached_property
from typing import NamedTuple

import msgspec

Subnet = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

BRIDGE_NAME = "com.docker.network.bridge.name"
ICC = "com.docker.network.bridge.enable_icc"
MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"
HOST_BINDING = "com.docker.network.bridge.host_binding_ipv4"
MTU = "com.docker.network.driver.mtu"
PARENT = "parent"
DEFAULT_BRIDGE = "com.docker.network.bridge.default_bridge"
OPTIONS = frozenset((BRIDGE_NAME, ICC, MASQUERADE, HOST_BINDING, MTU, DEFAULT_BRIDGE))


class Pool(msgspec.Struct, rename="pascal", frozen=True, kw_only=True, omit_defaults=True):
    """A subnet and what of it is given out, as text."""

    subnet: str = ""
    ip_range: str = msgspec.field(name="IPRange", default="")
    gateway: str = ""
    auxiliary_addresses: dict[str, str] = msgspec.field(name="AuxiliaryAddresses", default={})


class AddressPool(NamedTuple):
    """The same to reckon with: ``part`` of the subnet is given out, but not ``gateway`` and ``others``."""

    subnet: Subnet
    part: Subnet
    gateway: Address
    others: frozenset[Address]


class Ipam(msgspec.Struct, rename="pascal", frozen=True, kw_only=True):
    driver: str = "default"
    options: dict[str, str] | None = None
    config: list[Pool] = []


class Network(msgspec.Struct, rename="pascal", frozen=True, kw_only=True, dict=True):
    """``made_parent`` is not Docker's: whether the link that it is above was made for it or one like it."""

    name: str
    id: str
    created: str
    scope: str = "local"
    driver: str = "bridge"
    enable_ipv6: bool = msgspec.field(name="EnableIPv6", default=False)
    ipam: Ipam = msgspec.field(name="IPAM", default=Ipam())
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    options: dict[str, str] = {}
    labels: dict[str, str] = {}
    made_parent: bool = False

    @property
    def enable_ipv4(self) -> bool:
        return not self.pools or any(pool.subnet.version == 4 for pool in self.pools)

    @property
    def addressed(self) -> bool:
        """Whether a container in it has an interface there, and addresses."""
        return self.driver not in ("host", "null")

    @property
    def bridged(self) -> bool:
        """Whether its containers are ports of a bridge of ours."""
        return self.driver == "bridge"

    @property
    def mode(self) -> str:
        """Of a network that is above a link of the host."""
        if self.driver == "ipvlan":
            return self.options.get("ipvlan_mode", "l2")
        return self.options.get("macvlan_mode", "bridge")

    @property
    def parent(self) -> str:
        """The link that it is above. One that nobody has named is its own, and leads nowhere."""
        return self.options.get(PARENT) or f"md-{self.id[:12]}"

    @property
    def closed(self) -> bool:
        """Whether there is nothing behind it."""
        return self.internal or (not self.bridged and not self.options.get(PARENT))

    @property
    def routed(self) -> bool:
        """Whether it has no gateway: the parent looks only at addresses, whatever network they are of."""
        return self.driver == "ipvlan" and self.mode != "l2"

    @property
    def predefined(self) -> bool:
        return self.name in PREDEFINED

    @property
    def bridge(self) -> str:
        """The name of its link; the identifier's beginning, so that anybody can tell whose it is."""
        return self.options.get(BRIDGE_NAME) or f"md-{self.id[:12]}"

    @property
    def icc(self) -> bool:
        """Whether its containers reach one another."""
        return self.options.get(ICC, "true") == "true"

    @property
    def masquerade(self) -> bool:
        return self.options.get(MASQUERADE, "true") == "true" and not self.internal

    @property
    def mtu(self) -> int:
        return int(self.options.get(MTU, "0"))

    @cached_property
    def pools(self) -> list[AddressPool]:
        found = []
        for pool in self.ipam.config:
            subnet = ipaddress.ip_network(pool.subnet)
            part = ipaddress.ip_network(pool.ip_range) if pool.ip_range else subnet
            gateway = ipaddress.ip_address(pool.gateway)
            others = frozenset(ipaddress.ip_address(each) for each in pool.auxiliary_addresses.values())
            found.append(AddressPool(subnet, part, gateway, others))
        return found


PREDEFINED = ("bridge", "host", "none")


def predefined_id(root: str, name: str) -> str:
    """Of a predefined network, which need not be on disk; ``root``: where the networks are."""
    return hashlib.sha256(f"{root}\0{name}".encode()).hexdigest()


encoder = msgspec.json.Encoder()
decoder = msgspec.json.Decoder(Network)


class Endpoint(msgspec.Struct, rename="pascal", frozen=True, kw_only=True):
    """A running container in a network: what it was given there."""

    network: str
    network_id: str = msgspec.field(name="NetworkID")
    driver: str = "bridge"
    """that of the network"""
    id: str = msgspec.field(name="EndpointID")
    interface: str
    """its name inside the container"""
    link: str
    """the name of the other end, a port of the bridge; empty where there is none"""
    mac: str
    address: str = ""
    prefix: int = 0
    gateway: str = ""
    address6: str = ""
    prefix6: int = 0
    gateway6: str = ""
    aliases: list[str] = []
    """what it is called in this network beside its name"""
    routed: bool = False
    """its default route leads to the link alone"""
    rate_in: int = 0
    rate_out: int = 0
    """bytes per second to and from the container; 0: no limit"""
    links: dict[str, str] = {}
    """what it calls others in this network, and who they are"""

    @property
    def addresses(self) -> list[str]:
        return [each for each in (self.address, self.address6) if each]

    @property
    def leads(self) -> bool:
        """Whether there is anything behind the network."""
        return self.leads_by(4) or self.leads_by(6)

    def leads_by(self, version: int) -> bool:
        """Whether a default route of this IP version can go this way."""
        address, gateway = (self.address, self.gateway) if version == 4 else (self.address6, self.gateway6)
        return bool(gateway or (address and self.routed))


def bare_endpoint(network: Network, container: str) -> Endpoint:
    """In a network where nothing has an address; ``container``: the identifier."""
    return Endpoint(
        network=network.name,
        network_id=network.id,
        driver=network.driver,
        id=predefined_id(container, network.name),
        interface="",
        link="",
        mac="",
    )


class Port(msgspec.Struct, rename="pascal", frozen=True, kw_only=True):
    """A published port: ``host``:``host_port`` leads to ``address``:``port``."""

    protocol: str
    host: str
    host_port: int
    address: str
    port: int
    proxied: bool = False
    """by a process of the container's monitor, and not by the packet filter"""

    @property
    def place(self) -> tuple[str, int, str]:
        """Where it is at the host."""
        return self.protocol, self.host_port, self.host

    @property
    def served(self) -> bool:
        """Whether connections reach the socket that holds it: the filter cannot lead those to ::1 away."""
        return self.proxied or self.host == "::"


class Attached(msgspec.Struct, rename="pascal", frozen=True, kw_only=True):
    """Everything that a running container has of networks: ``<state>/container/<id>/network.json``."""

    endpoints: list[Endpoint] = []
    ports: list[Port] = []
    limited: bool = False
    """whether it may talk to some places outside only (``egress.py``)"""
    joining: str = ""
    """a network in which it may have addresses that no endpoint tells of yet"""


attached = msgspec.json.Decoder(Attached)
