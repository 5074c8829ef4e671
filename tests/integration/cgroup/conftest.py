"""Control groups on the real kernel; what is set is read back.

Each test runs in the view of the machine itself, and also with v1 alone and with v2 alone where that is
something else (``support.cgroups``). What the kernel does not offer in a view is skipped there with its
reason.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from mydocker.errors import NotFound
from mydocker.runtime import cgroup as cgroups
from support import cgroups as support

if TYPE_CHECKING:
    from mydocker.runtime.cgroup import Cgroup


@pytest.fixture(params=support.views())
def view(request: pytest.FixtureRequest) -> Iterator[str]:
    kind: str = request.param
    with support.view(kind), support.undone_controllers():
        try:
            yield kind
        finally:
            with contextlib.suppress(NotFound):
                cgroups.open(support.PARENT).remove()


@pytest.fixture
def prepare(view: str) -> Iterator[Callable[..., Cgroup]]:  # noqa: ARG001
    """``prepare(memory={…})`` makes one, which is removed after the test."""
    made: list[Cgroup] = []

    def make(**resources: Any) -> Cgroup:
        cgroup = cgroups.prepare(f"{support.PARENT}/{len(made)}", resources)  # type: ignore[arg-type]
        made.append(cgroup)
        return cgroup

    yield make
    for cgroup in made:
        cgroup.remove()
