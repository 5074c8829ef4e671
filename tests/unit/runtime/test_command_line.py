"""The command line of the runtime: its table, its help, and what it makes of words."""

from __future__ import annotations

import pytest

from mydocker.errors import InvalidArgument, NotSupported
from mydocker.runtime import events, main, update, usage, verbs
from mydocker.runtime.arguments import FLAG, LIST, VALUE, parse
from mydocker.runtime.commands import COMMANDS, GLOBAL

RUNC = (
    *("checkpoint", "create", "delete", "events", "exec", "features", "kill", "list", "pause", "ps"),
    *("restore", "resume", "run", "spec", "start", "state", "update"),
)


def test_the_commands_are_those_of_runc() -> None:
    assert sorted(COMMANDS) == list(RUNC)


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_explains_every_option(command: str) -> None:
    text = usage.text(command)
    assert text.startswith("Usage: mydocker-runtime")
    for name in COMMANDS[command][1] if command else ():
        assert f"--{name}" in text


def test_help_for_what_is_not_there() -> None:
    with pytest.raises(InvalidArgument, match="no such command: fly"):
        usage.text("fly")


def test_options_end_where_words_begin() -> None:
    kinds = {"user": VALUE, "env": LIST, "tty": FLAG}
    options, words = parse(
        ["-t", "--env", "A=1", "-e", "B=2", "--user=5:6", "id", "ls", "-t"], kinds, {"t": "tty", "e": "env"}
    )
    assert words == ["id", "ls", "-t"]
    assert (options.flag("tty"), options.list("env"), options.value("user")) == (True, ["A=1", "B=2"], "5:6")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("9", 9),
        ("KILL", 9),
        ("SIGKILL", 9),
        ("sigterm", 15),
        ("RTMIN", 34),
        ("SIGRTMIN+3", 37),
        ("RTMAX", 64),
        ("0", 0),
    ],
)
def test_signals(text: str, number: int) -> None:
    assert verbs.signal_number(text) == number


@pytest.mark.parametrize("text", ["65", "SIGNOTHING", "RTMIN+31", "", "TERM+1", "-1"])
def test_no_such_signal(text: str) -> None:
    with pytest.raises(InvalidArgument, match="no such signal"):
        verbs.signal_number(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("100", 100),
        ("100b", 100),
        ("1k", 1024),
        ("2M", 2 << 20),
        ("3GiB", 3 << 30),
        ("1tb", 1 << 40),
        ("-1", -1),
    ],
)
def test_sizes(text: str, number: int) -> None:
    assert update._bytes("memory", text) == number


@pytest.mark.parametrize("text", ["", "x", "1.5m", "10x", "-2", "mm"])
def test_no_size(text: str) -> None:
    with pytest.raises(InvalidArgument, match="--memory is a number of bytes"):
        update._bytes("memory", text)


def test_limits_are_laid_over_those_of_before() -> None:
    before = {"memory": {"limit": 1, "swap": 2}, "devices": [1]}
    assert update._merged(before, {"memory": {"limit": 5}, "devices": [2], "pids": {"limit": 3}}) == {
        "memory": {"limit": 5, "swap": 2},
        "devices": [2],
        "pids": {"limit": 3},
    }
    assert before["memory"] == {"limit": 1, "swap": 2}


@pytest.mark.parametrize(
    ("text", "milliseconds"), [("500ms", 500), ("5s", 5000), ("1.5s", 1500), ("2m", 120000)]
)
def test_intervals(text: str, milliseconds: int) -> None:
    assert events._milliseconds(text) == milliseconds


@pytest.mark.parametrize("text", ["5", "0s", "s", "-1s", "x", "1d"])
def test_no_interval(text: str) -> None:
    with pytest.raises(InvalidArgument, match="--interval is a duration"):
        events._milliseconds(text)


def test_who_is_not_root_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    options, words = parse(["x"], COMMANDS["create"][1], {})
    with pytest.raises(NotSupported, match="only root can create a container"):
        verbs.create(main.Call("/nowhere", options, words))


@pytest.mark.parametrize(
    ("words", "uid", "rootless"),
    [
        ([], 0, False),
        ([], 1000, True),
        (["--rootless=true"], 0, True),
        (["--rootless", "false"], 1000, False),
        (["--rootless", "auto"], 0, False),
    ],
)
def test_rootless(monkeypatch: pytest.MonkeyPatch, words: list[str], uid: int, rootless: bool) -> None:
    monkeypatch.setattr("os.geteuid", lambda: uid)
    options, _ = parse(words, GLOBAL, {})
    assert main._rootless(options) is rootless


def test_rootless_is_one_of_three() -> None:
    options, _ = parse(["--rootless", "maybe"], GLOBAL, {})
    with pytest.raises(InvalidArgument, match="--rootless is true, false or auto, not maybe"):
        main._rootless(options)
