"""The image's configuration under the user's: moby's rules, case by case."""

from __future__ import annotations

import pytest

from mydocker.container.config import Config
from mydocker.container.merge import command, environment, merge
from mydocker.errors import InvalidArgument
from mydocker.image.documents import RunConfig

IMAGE = RunConfig(
    user="www",
    env=["PATH=/image", "LANG=C"],
    entrypoint=["/entry"],
    cmd=["serve", "--fast"],
    working_dir="/srv",
    volumes={"/data": {}},
    exposed_ports={"80/tcp": {}},
    labels={"from": "image", "both": "image"},
    stop_signal="SIGQUIT",
)


@pytest.mark.parametrize(
    ("entrypoint", "cmd", "line"),
    [
        (None, None, ["/entry", "serve", "--fast"]),
        (None, ["stop"], ["/entry", "stop"]),
        (["/other"], None, ["/other"]),
        (["/other"], ["x"], ["/other", "x"]),
        ([""], ["sh", "-c", "x"], ["sh", "-c", "x"]),
        ([], None, ["serve", "--fast"]),
    ],
)
def test_entry_point_and_command(
    entrypoint: list[str] | None, cmd: list[str] | None, line: list[str]
) -> None:
    path, args = command(merge(Config(entrypoint=entrypoint, cmd=cmd), IMAGE))
    assert [path, *args] == line


@pytest.mark.parametrize("image", [None, RunConfig()])
def test_no_command(image: RunConfig | None) -> None:
    with pytest.raises(InvalidArgument, match=r"^no command specified$"):
        merge(Config(), image)


def test_an_emptied_entry_point_leaves_no_command() -> None:
    with pytest.raises(InvalidArgument, match="no command"):
        merge(Config(entrypoint=[""]), IMAGE)


def test_single_values_come_from_the_image_unless_given() -> None:
    taken = merge(Config(), IMAGE)
    assert (taken.user, taken.working_dir, taken.stop_signal) == ("www", "/srv", "SIGQUIT")
    own = merge(Config(user="0", working_dir="/", stop_signal="INT"), IMAGE)
    assert (own.user, own.working_dir, own.stop_signal) == ("0", "/", "INT")


def test_lists_are_joined_and_the_user_wins() -> None:
    merged = merge(
        Config(
            env=["LANG=de", "X=1"],
            labels={"both": "user"},
            volumes={"/more": {}},
            exposed_ports={"53/udp": {}},
        ),
        IMAGE,
    )
    assert merged.env == ["LANG=de", "X=1", "PATH=/image"]
    assert merged.labels == {"from": "image", "both": "user"}
    assert set(merged.volumes or ()) == {"/data", "/more"}
    assert set(merged.exposed_ports or ()) == {"80/tcp", "53/udp"}


def test_environment_of_the_process() -> None:
    config = Config(hostname="h", tty=True, env=["A=1", "PATH=/mine", "TERM", "E="])
    assert environment(config, "/default") == ["PATH=/mine", "HOSTNAME=h", "A=1", "E="]
    assert environment(Config(hostname="h"), "/default") == ["PATH=/default", "HOSTNAME=h"]
