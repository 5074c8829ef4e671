"""What ``--change`` asks for, over what the container was created with: the rules of ``docker commit``."""

from __future__ import annotations

import pytest

from mydocker.container.commit import image_config
from mydocker.container.config import Config
from mydocker.image.changes import apply_changes
from mydocker.image.documents import Healthcheck, RunConfig

CONTAINER = Config(
    hostname="host",
    user="alice",
    exposed_ports={"80/tcp": {}},
    tty=True,
    env=["A=1", "B=2"],
    entrypoint=["entry"],
    cmd=["command", "two"],
    image="base:1",
    volumes={"/data": {}},
    working_dir="/work",
    labels={"one": "1"},
    stop_signal="SIGUSR1",
    stop_timeout=3,
)


def test_nothing_asked() -> None:
    assert image_config(RunConfig(), CONTAINER, None) == RunConfig(
        user="alice",
        exposed_ports={"80/tcp": {}},
        env=["A=1", "B=2"],
        entrypoint=["entry"],
        cmd=["command", "two"],
        volumes={"/data": {}},
        working_dir="/work",
        labels={"one": "1"},
        stop_signal="SIGUSR1",
    )


def test_an_empty_container() -> None:
    assert image_config(RunConfig(), Config(cmd=["x"]), None) == RunConfig(cmd=["x"])


@pytest.mark.parametrize(
    ("change", "member", "value"),
    [
        ("USER root", "user", "root"),
        ("EXPOSE 53/udp", "exposed_ports", {"53/udp": {}, "80/tcp": {}}),
        ("ENV B=3 C=4", "env", ["B=3", "C=4", "A=1"]),
        ("CMD new", "cmd", ["/bin/sh", "-c", "new"]),
        ("CMD new", "entrypoint", ["entry"]),
        ('ENTRYPOINT ["new"]', "entrypoint", ["new"]),
        ('ENTRYPOINT ["new"]', "cmd", None),
        ("ENTRYPOINT []", "entrypoint", []),
        ("ENTRYPOINT []", "cmd", ["command", "two"]),
        ("VOLUME /more", "volumes", {"/more": {}, "/data": {}}),
        ("WORKDIR below", "working_dir", "/below"),
        ("LABEL one=2 two=2", "labels", {"one": "2", "two": "2"}),
        ("STOPSIGNAL SIGINT", "stop_signal", "SIGINT"),
        ("ONBUILD RUN x", "on_build", ["RUN x"]),
    ],
)
def test_one_change(change: str, member: str, value: object) -> None:
    assert getattr(image_config(apply_changes([change]), CONTAINER, None), member) == value


def test_a_new_entry_point_with_a_new_command() -> None:
    asked = apply_changes(['ENTRYPOINT ["new"]', 'CMD ["args"]'])
    found = image_config(asked, CONTAINER, None)
    assert (found.entrypoint, found.cmd) == (["new"], ["args"])


def test_the_health_check_is_the_images() -> None:
    check = Healthcheck(test=["CMD", "true"])
    assert image_config(RunConfig(), CONTAINER, RunConfig(healthcheck=check)).healthcheck == check
