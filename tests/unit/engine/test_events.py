"""Filters over a journal that a test has written, and the form of what comes out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mydocker import errors
from mydocker.cli.commands.events import document, line
from mydocker.container import events as writing
from mydocker.container.config import Config, HostConfig
from mydocker.container.record import MountPoint, Record
from mydocker.container.store import Store
from mydocker.engine.events import events

ID = "ab" * 32


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "root"), str(tmp_path / "state"))


def record(name: str = "web", image: str = "alpine:3.20", **labels: str) -> Record:
    return Record(
        id=ID,
        created="2024-01-01T00:00:00Z",
        path="true",
        args=[],
        name=name,
        config=Config(image=image, labels=labels or None),
        host_config=HostConfig(),
        mounts=[
            MountPoint(type="volume", name="v" * 64, source="/v", destination="/data"),
            MountPoint(type="bind", source="/b", destination="/bind"),
        ],
    )


def actions(store: Store, **filters: list[str]) -> list[str]:
    return [message.action for message in events(store, since=0, until=4e9, filters=filters, going_on=_no)]


def _no() -> bool:
    return False


@pytest.fixture
def busy(store: Store) -> Store:
    web = record(tier="front")
    writing.container(store, web, "create")
    writing.mounted(store, web)
    writing.container(store, web, "start")
    writing.container(store, web, "exec_create: ls -l", execID="1")
    writing.container(store, web, "die", exitCode="3")
    writing.image(store, "tag", "sha256:1", "alpine:latest", None)
    writing.image(store, "pull", "busybox:1", "busybox", {"vendor": "x"})
    return store


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["create", "mount", "start", "exec_create: ls -l", "die", "tag", "pull"]),
        ({"type": ["volume"]}, ["mount"]),
        ({"type": ["volume", "image"]}, ["mount", "tag", "pull"]),
        ({"event": ["die"]}, ["die"]),
        ({"event": ["exec_create"]}, ["exec_create: ls -l"]),
        ({"event": ["exec_create: ls -l"]}, ["exec_create: ls -l"]),
        ({"container": ["web"], "event": ["start", "die"]}, ["start", "die"]),
        ({"container": [ID[:5]], "event": ["start"]}, ["start"]),
        ({"container": ["other"]}, []),
        ({"image": ["alpine"]}, ["create", "start", "exec_create: ls -l", "die", "tag"]),
        ({"image": ["alpine:3.20"]}, ["create", "start", "exec_create: ls -l", "die"]),
        ({"image": ["busybox"]}, ["pull"]),
        ({"volume": ["v" * 64]}, ["mount"]),
        ({"label": ["tier=front"], "event": ["die"]}, ["die"]),
        ({"label": ["tier"], "event": ["die"]}, ["die"]),
        ({"label": ["tier=back"]}, []),
        ({"label": ["vendor"]}, ["pull"]),
        ({"scope": ["local"], "event": ["die"]}, ["die"]),
        ({"scope": ["swarm"]}, []),
    ],
)
def test_filters(busy: Store, filters: dict[str, list[str]], expected: list[str]) -> None:
    assert actions(busy, **filters) == expected


def test_an_unknown_filter_is_refused_before_anything_is_read(store: Store) -> None:
    with pytest.raises(errors.InvalidArgument, match=r"^invalid filter 'colour'$"):
        events(store, filters={"colour": ["red"]})


def test_since_and_until(busy: Store) -> None:
    everything = list(events(busy, since=0, until=4e9, going_on=_no))
    instant = everything[3].time_nano / 1e9
    assert list(events(busy, since=instant, going_on=_no)) == everything[3:]
    assert list(events(busy, since=0, until=instant)) == everything[:4]
    assert list(events(busy, going_on=_no)) == []


def test_a_line_that_is_no_event_is_passed_over(busy: Store) -> None:
    with open(f"{busy.state}/events", "ab") as file:
        file.write(b'{"Type":"cont\n')
    writing.container(busy, record(), "destroy")
    assert actions(busy)[-1] == "destroy"


def test_the_document_is_dockers(busy: Store) -> None:
    die = next(one for one in events(busy, since=0, going_on=_no) if one.action == "die")
    shown = document(die)
    assert list(shown) == ["status", "id", "from", "Type", "Action", "Actor", "scope", "time", "timeNano"]
    assert shown["Actor"] == {
        "ID": ID,
        "Attributes": {"exitCode": "3", "image": "alpine:3.20", "name": "web", "tier": "front"},
    }
    assert (shown["status"], shown["id"], shown["from"]) == ("die", ID, "alpine:3.20")
    assert shown["time"] == shown["timeNano"] // 10**9
    with open(f"{busy.state}/events", "rb") as file:
        stored = [json.loads(text) for text in file]
    assert shown in [{"scope": "local", **one} for one in stored]


def test_a_volume_has_no_fields_for_old_clients(busy: Store) -> None:
    mount = next(one for one in events(busy, since=0, going_on=_no) if one.action == "mount")
    assert list(document(mount)) == ["Type", "Action", "Actor", "scope", "time", "timeNano"]
    assert mount.actor.attributes == {
        "container": ID, "destination": "/data", "driver": "local", "propagation": "", "read/write": "true",
    }  # fmt: skip


def test_the_line_for_people(busy: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    die = next(one for one in events(busy, since=0, going_on=_no) if one.action == "die")
    assert line(die).endswith(f" container die {ID} (exitCode=3, image=alpine:3.20, name=web, tier=front)")
    stamp = line(die).split()[0]
    assert len(stamp) >= len("2024-05-30T12:07:14.123456789Z")


def test_a_journal_that_cannot_be_written_stops_nobody(store: Store) -> None:
    store.make()
    Path(store.state, "events").mkdir()
    writing.container(store, record(), "start")
    assert Path(store.state, "events").is_dir()
