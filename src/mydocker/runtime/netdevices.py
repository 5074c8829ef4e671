"""``linux.netDevices``: interfaces of the host that the container gets (config-linux.md, "Network Devices").

Each is moved into the container's network namespace, by its own name or a new one, with its permanent
addresses of global scope, and is up there. The kernel gives it back when the namespace ends.
"""

from __future__ import annotations

import errno
import os

from mydocker.errors import InvalidArgument, NotFound, StartFailed
from mydocker.linux import namespace
from mydocker.linux.links import Netlink, is_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mydocker.oci.runtime import NetDevice


def check(devices: dict[str, NetDevice], own: set[str]) -> None:
    """Refuse what cannot be meant, before anything is done."""
    if "network" not in own:
        raise InvalidArgument("linux.netDevices needs a network namespace in linux.namespaces")
    names = [device.get("name") or host for host, device in devices.items()]
    for name in (*devices, *names):
        if not is_name(name):
            raise InvalidArgument(f"linux.netDevices: not the name of a network interface: {name!r}")
    if len(set(names)) < len(names):
        raise InvalidArgument("linux.netDevices: two interfaces cannot have one name in the container")


def move(devices: dict[str, NetDevice], target: int) -> None:
    """Give the interfaces to the network namespace of the descriptor ``target``."""
    for host, device in devices.items():
        name = device.get("name") or host
        try:
            _move(host, name, target)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise StartFailed(
                f"cannot give the network interface {host} to the container as {name}: {reason}"
            ) from error


def _move(host: str, name: str, target: int) -> None:
    # Each socket belongs to the namespace that it was made in.
    with Netlink() as here, _links_of(target) as there:
        link = here.link(host)
        if link is None:
            raise NotFound(f"no such network interface on the host: {host}")
        if there.link(name) is not None:
            # The kernel would tell after the move, with the interface in there under its old name.
            raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))
        addresses = here.permanent(link.index)
        here.set_down(link.index)
        here.move(link.index, target, name)
        moved = there.link(name)
        if moved is None:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        for address in addresses:
            there.restore(moved.index, address)
        there.set_up(moved.index)


def _links_of(target: int) -> Netlink:
    """A socket of another network namespace; the caller stays in its own."""
    before = namespace.open_namespace("network")
    try:
        namespace.setns(target, namespace.CLONE_NEWNET)
        try:
            return Netlink()
        finally:
            namespace.setns(before, namespace.CLONE_NEWNET)
    finally:
        os.close(before)
