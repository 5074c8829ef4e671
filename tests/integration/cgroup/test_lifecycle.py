"""Made in every hierarchy, joined, taken over or not, emptied by force, removed."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from mydocker.errors import Conflict, InvalidArgument, NotFound, NotSupported
from mydocker.linux.cgroup.hierarchy import discover
from mydocker.runtime import cgroup as cgroups
from support import cgroups as support
from support.cgroups import (
    PARENT,
    Member,
    controllers,
    existing,
    idle,
)
from support.waiting import wait_until

if TYPE_CHECKING:
    from mydocker.runtime.cgroup import Cgroup


@pytest.mark.parametrize("kind", ["v1", "v2"])
def test_a_view_shows_one_version(kind: str) -> None:
    if reason := support.missing(kind):
        pytest.skip(reason)
    with support.view(kind):
        assert {hierarchy.unified for hierarchy in discover()} == {kind == "v2"}


def test_a_directory_in_every_hierarchy_and_a_process_in_each(prepare: Callable[..., Cgroup]) -> None:
    cgroup = prepare()
    assert cgroup.paths() == {h.name: f"{h.mount}{PARENT}/0" for h in discover()}
    assert len(existing(cgroup)) == len(discover())
    member = Member(cgroup, idle)
    try:
        lines = [line.split(":", 2) for line in member.cgroups().splitlines()]
        mounted = {name for h in discover() for name in (h.controllers or [""])}
        inside = {name for _, names, path in lines for name in names.split(",") if path == f"{PARENT}/0"}
        assert inside == mounted
        assert cgroup.pids() == [member.pid]
    finally:
        member.end()
    cgroup.remove()
    assert existing(cgroup) == []


def test_removal_may_be_repeated(prepare: Callable[..., Cgroup]) -> None:
    cgroup = prepare()
    cgroup.remove()
    cgroup.remove()
    with pytest.raises(NotFound, match=f"no such cgroup: {PARENT}/0"):
        cgroups.open(cgroup.path)


def test_removal_kills_what_is_left_also_in_cgroups_below(prepare: Callable[..., Cgroup]) -> None:
    cgroup = prepare(pids={"limit": 50}) if "pids" in controllers() else prepare()
    first = Member(cgroup, idle)
    for path in cgroup.paths().values():
        os.makedirs(f"{path}/below/deeper")
        for file in ("cpuset.cpus", "cpuset.mems"):
            if os.path.exists(f"{path}/{file}") and not os.path.exists(f"{path}/cgroup.type"):
                for name in ("below", "below/deeper"):
                    copy(f"{path}/{file}", f"{path}/{name}/{file}")
    below = cgroups.open(f"{cgroup.path}/below/deeper")
    second = Member(below, idle)
    below.close()
    assert sorted(cgroup.pids()) == sorted([first.pid, second.pid])
    cgroup.remove()
    assert [first.wait(), second.wait()] == [-signal.SIGKILL] * 2
    assert existing(cgroup) == []


def copy(source: str, target: str) -> None:
    with open(source) as old, open(target, "w") as new:
        new.write(old.read())


def test_removal_of_a_frozen_cgroup(prepare: Callable[..., Cgroup]) -> None:
    if not support.can_freeze():
        pytest.skip("needs a freezer")
    cgroup = prepare()
    member = Member(cgroup, idle)
    cgroup.freeze()
    cgroup.remove()
    assert member.wait() == -signal.SIGKILL
    assert existing(cgroup) == []


def test_a_dead_process_that_nobody_has_reaped_does_not_matter(prepare: Callable[..., Cgroup]) -> None:
    cgroup = prepare()
    member = Member(cgroup, lambda: 7)
    os.waitid(os.P_PID, member.pid, os.WEXITED | os.WNOWAIT)
    cgroup.remove()
    assert existing(cgroup) == []
    assert member.wait() == 7


def test_an_occupied_cgroup_is_not_taken_over(prepare: Callable[..., Cgroup]) -> None:
    cgroup = prepare()
    member = Member(cgroup, idle)
    try:
        with pytest.raises(Conflict, match="has processes in it"):
            cgroups.prepare(cgroup.path, {})
        assert len(existing(cgroup)) == len(discover())
        assert cgroup.pids() == [member.pid]
    finally:
        member.end()


def test_an_empty_one_is_taken_over(prepare: Callable[..., Cgroup]) -> None:
    cgroup = prepare()
    again = cgroups.prepare(cgroup.path, {})
    assert again.paths() == cgroup.paths()
    again.close()


@pytest.mark.usefixtures("view")
def test_failure_leaves_nothing() -> None:
    resources: Any = {"hugepageLimits": [{"pageSize": "3MB", "limit": 4096}]}
    with pytest.raises(NotSupported, match=r"hugetlb"):
        cgroups.prepare(f"{PARENT}/failed", resources)
    left = [h.mount for h in discover() if os.path.exists(f"{h.mount}{PARENT}/failed")]
    assert left == []


def test_closed_and_opened_again(prepare: Callable[..., Cgroup]) -> None:
    cgroup = prepare()
    cgroup.close()
    before = len(os.listdir("/proc/self/fd"))
    with cgroups.open_paths(cgroup.paths()) as opened:
        assert opened.paths() == cgroup.paths()
        member = Member(opened, idle)
        assert opened.pids() == cgroup.pids() == [member.pid]
        member.end()
    assert len(os.listdir("/proc/self/fd")) == before


def test_one_that_is_gone_says_so(prepare: Callable[..., Cgroup]) -> None:
    cgroup = prepare()
    cgroup.remove()
    with pytest.raises(NotFound, match=rf"no such cgroup: .*{PARENT}/0 "):
        cgroup.stats()
    with pytest.raises(NotFound, match=rf"no such cgroup: .*{PARENT}/0 "):
        cgroup.update({"devices": [{"allow": False, "access": "rwm"}]})


@pytest.mark.parametrize("path", ["", "/", "/a/../b", "..", "a\nb"])
def test_paths_that_are_none(path: str) -> None:
    with pytest.raises(InvalidArgument, match="cgroup path"):
        cgroups.prepare(path, {})


def test_a_relative_path_is_below_the_caller_or_on_v2_alone_beside_it(prepare: Callable[..., Cgroup]) -> None:
    outer = prepare()

    def act() -> int:
        inner = cgroups.prepare("relative", {})
        places = inner.paths()
        inner.remove()
        own = os.path.dirname(outer.path) if places.keys() == {"unified"} else outer.path
        return 0 if places == {h.name: f"{h.mount}{own}/relative" for h in discover()} else 1

    assert Member(outer, act).wait() == 0


def test_frozen_processes_stand_still(prepare: Callable[..., Cgroup]) -> None:
    if not support.can_freeze():
        with pytest.raises(NotSupported, match="freez"):
            prepare().freeze()
        return
    cgroup = prepare()
    counter = ctypes.c_ulonglong.from_buffer(support.shared_page())

    def count() -> None:
        while True:
            counter.value += 1

    members = [Member(cgroup, count), Member(cgroup, idle)]
    try:
        wait_until(lambda: counter.value > 1000)
        assert not cgroup.frozen()
        cgroup.freeze()
        assert cgroup.frozen()
        first = counter.value
        time.sleep(0.05)
        assert counter.value == first
        cgroup.thaw()
        wait_until(lambda: counter.value > first)
        assert not cgroup.frozen()
    finally:
        for member in members:
            member.end()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_reaches_every_process_however_fast_it_forks(
    prepare: Callable[..., Cgroup], number: int
) -> None:
    cgroup = prepare(pids={"limit": 60}) if "pids" in controllers() else prepare()
    members = [Member(cgroup, fork_and_leave) for _ in range(3)]
    time.sleep(0.1)
    cgroup.kill(number)
    wait_until(lambda: cgroup.pids() == [])
    for member in members:
        member.wait()


def fork_and_leave() -> None:
    """A process that is never the same for long: each one forks a successor and ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        with contextlib.suppress(BlockingIOError):
            if os.fork():
                os._exit(0)
        time.sleep(0.001)


def test_killing_what_is_empty_or_gone_is_no_error(prepare: Callable[..., Cgroup]) -> None:
    cgroup = prepare()
    cgroup.kill()
    cgroup.kill(signal.SIGTERM)
    cgroup.remove()
    cgroup.kill()
    assert cgroup.pids() == []
