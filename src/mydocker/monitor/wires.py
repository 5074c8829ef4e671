"""What a monitor holds of its container's network from one start to the next end: ports and a resolver."""

import os
import socket

from ..errors import Conflict, Unavailable
from .build import Built
from .children import Children
from .loop import Loop
from .owner import Owner
from .protocol import PortRequest
from .proxy import Proxy, Target
from .resolver import Resolver


class Wires:
    __slots__ = ("_children", "_held", "_loop", "_owner", "_proxy", "_resolver", "_taken")

    def __init__(self, loop: Loop, owner: Owner, children: Children) -> None:
        self._loop = loop
        self._owner = owner
        self._children = children
        self._held: list[int] = []
        self._proxy: Proxy | None = None
        self._resolver: Resolver | None = None
        self._taken = False
        """whether the container runs"""

    def take(self, made: Built, descriptors: list[int]) -> list[int]:
        """Keep those of ``descriptors`` that are of the network, at their end; the others are returned."""
        self._taken = True
        held = len(descriptors) - made.held
        dns = held - made.dns
        served = held + len(made.served)
        self._held = descriptors[served:]
        if made.served:
            self._serve(*zip(descriptors[held:served], made.served, strict=True))
        if made.dns:
            self._resolver = Resolver(self._loop, self._owner.directory(), *descriptors[dns:held])
        return descriptors[:dns]

    def _serve(self, *given: tuple[int, tuple[str, int]]) -> None:
        if self._proxy is None:
            self._proxy = Proxy(self._loop, self._children)
        self._proxy.add(*(Target(socket.socket(fileno=fd), *where) for fd, where in given))

    def resolve(self, descriptors: list[int]) -> None:
        """The container is in a network with names now; the sockets are there already if it was before."""
        self._check(descriptors)
        if self._resolver is not None or len(descriptors) != 2:
            _close(descriptors)
            raise Conflict("names are resolved already, or there are no sockets for it")
        self._resolver = Resolver(self._loop, self._owner.directory(), *descriptors)

    def change(self, request: PortRequest, descriptors: list[int]) -> None:
        """Hold one more port, or let go of one; who has none of that description has nothing to let go."""
        if request.held:
            self._check(descriptors)
            if len(descriptors) != 1:
                _close(descriptors)
                raise Unavailable("there is no room for one more socket (RLIMIT_NOFILE)")
            if request.address:
                self._serve(*((fd, (request.address, request.port)) for fd in descriptors))
            else:
                self._held += descriptors
            return
        _close(descriptors)
        where = (request.protocol, request.host, request.host_port)
        if self._proxy is not None and self._proxy.remove(*where):
            return
        for fd in self._held:
            handle = socket.socket(fileno=fd)
            if Target(handle, "", 0).is_at(*where):
                self._held.remove(fd)
                handle.close()
                return
            handle.detach()

    def _check(self, descriptors: list[int]) -> None:
        """Nothing is taken for a container that has ended, and may start again with other ones."""
        if not self._taken:
            _close(descriptors)
            raise Unavailable("the container has just ended")

    def cut(self) -> None:
        """The container has ended: let go of everything."""
        self._taken = False
        _close(self._held)
        self._held = []
        if self._proxy is not None:
            self._proxy.close()
            self._proxy = None
        if self._resolver is not None:
            self._resolver.close()
            self._resolver = None


def _close(descriptors: list[int]) -> None:
    for fd in descriptors:
        os.close(fd)
