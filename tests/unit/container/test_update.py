"""Changing limits: what goes with what was set before, and what the kernel is asked for."""

from __future__ import annotations

import pytest

from mydocker import errors
from mydocker.container.config import HostConfig
from mydocker.container.update import limits, merged

MIB = 1 << 20


@pytest.mark.parametrize(
    ("before", "changes", "message"),
    [
        (
            {"memory": 64 * MIB, "memory_swap": 128 * MIB},
            {"memory": 256 * MIB},
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the "
            "same time",
        ),
        (
            {},
            {"memory": 256 * MIB},
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the "
            "same time",
        ),
        (
            {"memory": 64 * MIB, "memory_swap": -1},
            {"memory": 32 * MIB},
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the "
            "same time",
        ),
        (
            {"cpu_quota": 50_000},
            {"nano_cpus": 10**9},
            "Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set",
        ),
        (
            {"cpu_period": 50_000},
            {"nano_cpus": 10**9},
            "Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set",
        ),
        (
            {"nano_cpus": 10**9},
            {"cpu_quota": 50_000},
            "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set",
        ),
        (
            {"nano_cpus": 10**9},
            {"cpu_period": 50_000},
            "Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set",
        ),
    ],
)
def test_conflicts(before: dict[str, int], changes: dict[str, int | str], message: str) -> None:
    with pytest.raises(errors.Conflict) as caught:
        merged(HostConfig(**before), changes)  # type: ignore[arg-type]
    assert str(caught.value) == message


def test_swap_that_was_set_stays() -> None:
    host = merged(HostConfig(memory=64 * MIB, memory_swap=512 * MIB), {"memory": 256 * MIB})
    assert (host.memory, host.memory_swap) == (256 * MIB, 512 * MIB)


def test_only_what_was_named_is_asked_for() -> None:
    host = HostConfig(memory=64 * MIB, memory_swap=128 * MIB, cpu_shares=512, pids_limit=5)
    assert limits(host, {"cpu_shares": 512}) == {"devices": [], "cpu": {"shares": 512}}
    assert limits(host, {"memory": 64 * MIB}) == {
        "devices": [],
        "memory": {"limit": 64 * MIB, "swap": 128 * MIB},
    }
    assert limits(host, {"pids_limit": 5})["pids"] == {"limit": 5}


def test_no_limit_on_processes_is_said_to_the_kernel() -> None:
    assert limits(HostConfig(pids_limit=-1), {"pids_limit": -1})["pids"] == {"limit": -1}
