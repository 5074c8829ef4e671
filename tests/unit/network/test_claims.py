"""Ports of the host are claimed once, and given back by whoever has them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from mydocker.network.claims import Claims
from mydocker.network.document import Port

ONE = Port(protocol="tcp", host="127.0.0.1", host_port=80, address="10.0.0.2", port=8080)


def at(host: str, **changes: object) -> Port:
    return msgspec.structs.replace(ONE, host=host, **changes)


@pytest.fixture
def claims(tmp_path: Path) -> Claims:
    found = Claims(str(tmp_path))
    with found.changing() as claims:
        claims.take(ONE, "a")
    return found


@pytest.mark.parametrize(
    ("port", "met"),
    [
        (at("127.0.0.1"), True),
        (at("127.0.0.1", address="10.0.0.3", port=1), True),
        (at("0.0.0.0"), True),
        (at("127.0.0.2"), False),
        (at("::"), False),
        (at("127.0.0.1", protocol="udp"), False),
        (at("127.0.0.1", host_port=8), False),
        (at("127.0.0.1", host_port=800), False),
    ],
)
def test_what_is_in_the_way(claims: Claims, port: Port, met: bool) -> None:
    with claims.changing() as now:
        found = [(claimed.place, owner) for claimed, owner in now.meeting(port)]
    assert found == ([(ONE.place, "a")] if met else [])


@pytest.mark.parametrize(("every", "host", "met"), [
    ("0.0.0.0", "127.0.0.1", True), ("::", "::1", True), ("::", "0.0.0.0", False), ("0.0.0.0", "::1", False),
])  # fmt: skip
def test_every_address_of_a_family(tmp_path: Path, every: str, host: str, met: bool) -> None:
    claims = Claims(str(tmp_path))
    with claims.changing() as now:
        now.take(at(every), "a")
        assert bool(now.meeting(at(host))) is met
    with claims.changing() as now:
        assert bool(now.meeting(at(host))) is met


def test_nobodys(tmp_path: Path) -> None:
    claims = Claims(str(tmp_path))
    assert claims.owners() == set()
    with claims.changing() as now:
        assert (now.meeting(ONE), now.of([ONE], "a"), now.all_of("a")) == ([], [ONE], [])
        now.release([ONE])


def test_given_back_by_who_has_it(claims: Claims) -> None:
    second, six = at("127.0.0.2"), at("fd00::2", address="fd00::3", protocol="sctp")
    with claims.changing() as now:
        now.take(second, "b")
        now.take(six, "b")
        free = at("127.0.0.3")
        assert [now.of([ONE, second, free], owner) for owner in "ab"] == [[ONE, free], [second, free]]
        assert {each.place for each in now.all_of("b")} == {second.place, six.place}
        assert claims.owners() == {"a", "b"}
        now.release(now.all_of("b"))
        assert claims.owners() == {"a"}
        now.release([ONE])
    assert claims.owners() == set()
