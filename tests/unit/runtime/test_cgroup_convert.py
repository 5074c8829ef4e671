"""What the words of the specification become: conversions to v2, and device lists for v1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from mydocker.errors import InvalidArgument, NotSupported
from mydocker.runtime import cgroup_v2
from mydocker.runtime.cgroup_device import DEFAULT_ALLOWED, Policy

if TYPE_CHECKING:
    from mydocker.oci.runtime import DeviceRule


@pytest.mark.parametrize(
    ("shares", "weight"),
    [(2, 1), (512, 59), (1024, 100), (2048, 174), (262144, 10000), (1023, 100), (10240, 639)],
)
def test_cpu_weight(shares: int, weight: int) -> None:
    assert cgroup_v2.cpu_weight(shares) == weight


def test_cpu_weight_never_falls_as_shares_rise() -> None:
    weights = [cgroup_v2.cpu_weight(shares) for shares in range(2, 262145, 131)]
    assert weights == sorted(weights)


@pytest.mark.parametrize("shares", [1, -3, 262145])
def test_shares_out_of_range(shares: int) -> None:
    with pytest.raises(InvalidArgument, match=r"the (minimum|maximum) allowed cpu-shares is (2|262144)"):
        cgroup_v2.cpu_weight(shares)


@pytest.mark.parametrize(("weight", "converted"), [(10, 1), (1000, 10000), (500, 4950)])
def test_io_weight(weight: int, converted: int) -> None:
    assert cgroup_v2.io_weight(weight) == converted


@pytest.mark.parametrize(
    ("limit", "swap", "expected"),
    [
        (None, None, None),
        (100, None, None),
        (100, 0, None),
        (100, 100, "0"),
        (100, 250, "150"),
        (100, -1, "max"),
        (None, -1, "max"),
        (-1, None, "max"),
        (-1, 0, "max"),
    ],
)
def test_swap(limit: int | None, swap: int | None, expected: str | None) -> None:
    assert cgroup_v2.swap_max(limit, swap) == expected


@pytest.mark.parametrize(("limit", "swap"), [(None, 100), (-1, 100), (100, 99)])
def test_swap_that_has_no_meaning(limit: int | None, swap: int) -> None:
    with pytest.raises(InvalidArgument, match="memory"):
        cgroup_v2.swap_max(limit, swap)


def rules(*lines: str) -> list[DeviceRule]:
    """``+ c 1:3 rwm`` allows, ``- a *:* rwm`` denies."""
    found: list[dict[str, Any]] = []
    for line in lines:
        sign, kind, numbers, access = line.split()
        entry: dict[str, Any] = {"allow": sign == "+", "type": kind, "access": access}
        for name, number in zip(("major", "minor"), numbers.split(":"), strict=True):
            if number != "*":
                entry[name] = int(number)
        found.append(entry)
    return cast("list[DeviceRule]", found)


PROMISED = {(kind, major, minor): access for _, kind, major, minor, access in DEFAULT_ALLOWED}


def test_no_rule_allows_the_promised_devices_only() -> None:
    policy = Policy.of([])
    assert (policy.default, policy.exceptions()) == (False, PROMISED)


def test_a_rule_for_everything_makes_the_earlier_ones_moot() -> None:
    policy = Policy.of(rules("+ c 10:* rwm", "- a *:* rwm", "+ c 10:229 rw"))
    assert policy.exceptions() == {("c", 10, 229): "rw", **PROMISED}


def test_a_privileged_list() -> None:
    policy = Policy.of(rules("- a *:* rwm", "+ a *:* rwm"))
    assert (policy.default, policy.rules) == (True, ())


def test_a_default_of_all_with_exceptions() -> None:
    policy = Policy.of(rules("+ a *:* rwm", "- b 8:0 rw", "+ b 8:0 r"))
    assert (policy.default, policy.exceptions()) == (True, {("b", 8, 0): "w"})


def test_a_denial_takes_away_all_that_it_covers() -> None:
    policy = Policy.of(rules("+ c 10:1 rwm", "+ c 10:2 rw", "- c 10:* w"))
    assert policy.exceptions() == {("c", 10, 1): "rm", ("c", 10, 2): "r", **PROMISED}


def test_what_v1_cannot_say_is_refused_and_not_ignored() -> None:
    policy = Policy.of(rules("+ c 10:* rwm", "- c 10:229 w"))
    with pytest.raises(NotSupported, match=r"c 10:229 w: .* c 10:\* rwm"):
        policy.exceptions()


@pytest.mark.parametrize(
    "rule", [{"type": "x"}, {"access": "rx"}, {"type": "c", "major": -2}, {"type": "c", "minor": 1 << 40}]
)
def test_malformed_rules(rule: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match=r"linux\.resources\.devices\[0\]"):
        Policy.of(cast("list[DeviceRule]", [{"allow": True, **rule}]))
