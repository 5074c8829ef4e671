"""The order in which a container that runs is connected and disconnected, and what is left if that fails."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mydocker import errors
from mydocker.container import attached, connect, endpoints
from mydocker.container.config import Config, EndpointConfig, HostConfig
from mydocker.container.record import Record
from mydocker.container.store import Store
from mydocker.content.lock import Lock
from mydocker.network.document import Attached, Ipam, Network, Pool
from mydocker.network.store import Networks

IDENTIFIER = "c" * 64
LAN = Network(
    name="lan", id="1" * 64, created="", ipam=Ipam(config=[Pool(subnet="10.0.0.0/24", gateway="10.0.0.1")])
)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """Of a container that runs; its links are made and removed by nobody."""
    made = Store(str(tmp_path / "root"), str(tmp_path / "state"))
    made.make()
    os.mkdir(made.directory(IDENTIFIER))
    os.mkdir(made.run_directory(IDENTIFIER))
    (tmp_path / "root/network").mkdir()
    attached.of(made)._write(LAN)
    Path(made.directory(IDENTIFIER), "resolv.conf").write_text("before")
    target = os.open("/proc/self/ns/net", os.O_RDONLY)
    monkeypatch.setattr(attached, "target", lambda *_: (os.getpid(), os.dup(target)))
    monkeypatch.setattr(Networks, "ready", lambda *_: LAN)
    monkeypatch.setattr(endpoints, "attach", lambda *_, **__: None)
    monkeypatch.setattr(endpoints, "detach", lambda *_, **__: None)
    monkeypatch.setattr(connect, "_resolve", lambda *_: None)
    yield made
    os.close(target)


def record() -> Record:
    return Record(
        id=IDENTIFIER,
        created="",
        path="",
        args=[],
        name="c",
        config=Config(),
        host_config=HostConfig(network_mode="bridge"),
        networks={"lan": EndpointConfig()},
    )


def plug(store: Store) -> None:
    connect._plug(store, record(), LAN, EndpointConfig())


def leases(store: Store) -> list[str]:
    return [*attached.of(store).leases.of("lan")]


def refuse(*_: object, **__: object) -> None:
    raise errors.NotSupported("no")


def resolv_conf(store: Store) -> str:
    return Path(store.directory(IDENTIFIER), "resolv.conf").read_text()


def test_nobody_who_waits_for_the_monitor_has_the_lock(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: object) -> None:
        alone = Lock(f"{store.state}/network.lock")
        assert alone.acquire_now()
        alone.release()

    monkeypatch.setattr(connect, "_resolve", resolve)
    plug(store)
    assert leases(store) == ["10.0.0.2"]
    assert "127.0.0.11" in resolv_conf(store)


@pytest.mark.parametrize("step", [(endpoints, "attach"), (connect, "_resolve"), (connect, "_check_runs")])
def test_what_fails_leaves_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch, step: tuple[Any, str]
) -> None:
    monkeypatch.setattr(*step, refuse)
    with pytest.raises(errors.NotSupported):
        plug(store)
    assert (attached.read(store, IDENTIFIER), leases(store)) == (Attached(), [])
    assert resolv_conf(store) == "before", "nobody would answer there"


def test_what_cannot_be_undone_is_still_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "attach", refuse)
    monkeypatch.setattr(endpoints, "detach", refuse)
    with pytest.raises(errors.NotSupported):
        plug(store)
    (endpoint,) = attached.read(store, IDENTIFIER).endpoints
    assert endpoint.addresses == leases(store) == ["10.0.0.2"]


def test_no_endpoint_is_told_of_whose_address_is_given_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug(store)
    give_back = endpoints.give_back

    def look(made: Networks, container: str, endpoint: Any, *, limited: bool) -> None:
        assert attached.read(store, IDENTIFIER) == Attached(joining="lan")
        give_back(made, container, endpoint, limited=limited)

    monkeypatch.setattr(endpoints, "give_back", look)
    assert connect._unplug(store, record(), LAN)
    assert (attached.read(store, IDENTIFIER), leases(store)) == (Attached(), [])


def test_a_way_that_cannot_be_gone_keeps_nobody(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError

    plug(store)
    monkeypatch.setattr(connect, "_new_ways", refuse)
    connect._unplug(store, record(), LAN)
    assert (attached.read(store, IDENTIFIER), leases(store)) == (Attached(), [])


def test_whose_namespace_it_is(store: Store) -> None:
    chain = [record()]
    for each in ("d", "e"):
        host = HostConfig(network_mode=f"container:{chain[-1].id}")
        chain.append(msgspec.structs.replace(record(), id=each * 64, host_config=host))
    for made in chain:
        os.makedirs(store.directory(made.id), exist_ok=True)
        store.write_record(made)
        assert attached.whose(store, made) == IDENTIFIER
