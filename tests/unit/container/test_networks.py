"""Before a container is connected."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import cast

import pytest

from mydocker import errors
from mydocker.container import networks
from mydocker.linux.links import Netlink
from mydocker.network.document import Network
from mydocker.network.store import Networks

WANTED = Network(name="lan", id="1" * 64, created="", driver="macvlan")


class Removed:
    """Networks of which somebody has just removed one, and made another of its name."""

    def connecting(self) -> AbstractContextManager[None]:
        return nullcontext()

    def get(self, name: str) -> Network:
        return Network(name=name, id="2" * 64, created="", driver="macvlan")

    def ready(self, *_: object) -> None:
        pytest.fail("it makes a parent, which nobody would remove")


def test_a_network_that_was_just_removed() -> None:
    with (
        Netlink() as kernel,
        pytest.raises(errors.NotFound, match="network lan not found"),
        networks.ready(kernel, cast(Networks, Removed()), [WANTED]),
    ):
        pass
