"""What a monitor holds of its container's network from one start to the next end: ports and a resolver."""

import os

from ..errors import Conflict
from .build import Built
from .loop import Loop
from .owner import Owner
from .resolver import Resolver


class Wires:
    __slots__ = ("_held", "_loop", "_owner", "_resolver")

    def __init__(self, loop: Loop, owner: Owner) -> None:
        self._loop = loop
        self._owner = owner
        self._held: list[int] = []
        self._resolver: Resolver | None = None

    def take(self, made: Built, descriptors: list[int]) -> list[int]:
        """Keep those of ``descriptors`` that are of the network, at their end; the others are returned."""
        held = len(descriptors) - made.held
        dns = held - made.dns
        self._held = descriptors[held:]
        if made.dns:
            self._resolver = Resolver(self._loop, self._owner.directory(), *descriptors[dns:held])
        return descriptors[:dns]

    def resolve(self, descriptors: list[int]) -> None:
        """The container is in a network with names now; the sockets are there already if it was before."""
        if self._resolver is not None or len(descriptors) != 2:
            for fd in descriptors:
                os.close(fd)
            raise Conflict("names are resolved already, or there are no sockets for it")
        self._resolver = Resolver(self._loop, self._owner.directory(), *descriptors)

    def cut(self) -> None:
        """The container has ended: let go of everything."""
        for fd in self._held:
            os.close(fd)
        self._held = []
        if self._resolver is not None:
            self._resolver.close()
            self._resolver = None
