"""Names with numbers in them, in the order that a person expects."""

from __future__ import annotations

import itertools

from mydocker.cli.format.order import natural


def test_natural() -> None:
    wanted = ["", "1", "2", "10", "a", "a1b", "a2", "a2b", "a10", "b"]
    for mixed in itertools.islice(itertools.permutations(wanted), 0, 3_000_000, 30_011):
        assert sorted(mixed, key=natural) == wanted


def test_other_digits_are_letters() -> None:
    assert sorted(["\u0663", "\u00b2", "7"], key=natural)[0] == "7"
