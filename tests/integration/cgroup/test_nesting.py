"""cgroup v2 takes no processes where it divides: engines in containers, containers that divide themselves."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from mydocker.errors import Conflict, NotFound
from mydocker.runtime import cgroup as cgroups
from support import cgroups as support
from support.cgroups import (
    MEGABYTE,
    PARENT,
    Member,
    idle,
    need,
    values,
)

if TYPE_CHECKING:
    from mydocker.runtime.cgroup import Cgroup


def test_a_parent_with_processes_of_its_own(prepare: Callable[..., Cgroup]) -> None:
    """cgroup v2: limits are only below cgroups without processes ("no internal processes", man 7 cgroups)."""
    if not need("hugetlb"):
        pytest.skip("cgroup v1 knows no such rule")
    outer = prepare()
    member = Member(outer, idle)
    resources: Any = {"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]}
    try:
        with pytest.raises(
            Conflict, match=rf"cannot enable .*\+hugetlb.* below the cgroup .*{PARENT}/0: it has processes"
        ):
            cgroups.prepare(f"{PARENT}/0/inner", resources)
        assert cgroups.open(outer.path).pids() == [member.pid]
        with pytest.raises(NotFound):
            cgroups.open(f"{PARENT}/0/inner")
    finally:
        member.end()


def test_at_the_top_of_a_cgroup_namespace_processes_make_room(prepare: Callable[..., Cgroup]) -> None:
    """An engine in a container: the root that it sees is a cgroup with processes, its own among them."""
    if not need("hugetlb"):
        pytest.skip("cgroup v1 knows no such rule")
    outer = prepare()
    resources: Any = {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MEGABYTE}]}

    def act() -> int:
        support.enter_cgroup_namespace()
        inner = cgroups.prepare("/inner", resources)
        limited = values(inner)["hugetlb.2MB.max"] == str(4 * MEGABYTE)
        with open("/proc/self/cgroup") as handle:
            moved = handle.read().endswith("::/mydocker-init\n")
        inner.remove()
        return 0 if limited and moved else 1

    support.enable_below(outer, "hugetlb")
    assert Member(outer, act).wait() == 0


def test_a_process_added_to_a_container_that_divides_its_cgroup(prepare: Callable[..., Cgroup]) -> None:
    if not need("hugetlb"):
        pytest.skip("cgroup v1 knows no such rule")
    cgroup = prepare()
    support.enable_below(cgroup, "hugetlb")
    below = cgroups.prepare(f"{cgroup.path}/below", {})
    member = Member(below, idle)
    try:
        support.enable_in(cgroup, "hugetlb")
        descriptor = cgroup.fd_beside(member.pid)
        assert descriptor is not None
        assert os.path.samestat(os.fstat(descriptor), os.stat(below.paths()["unified"]))
        added = Member(cgroup, idle)
        assert sorted(below.pids()) == sorted([member.pid, added.pid])
        added.end()
    finally:
        member.end()
        below.close()
