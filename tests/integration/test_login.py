"""``login``, ``logout`` and ``search`` as a person runs them."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support import faulty
from support.command import Result, Runner
from support.fake_registry import FakeRegistry, TokenService
from support.terminal import opened

PASSWORD = "open sesame"
WARNING = """
WARNING! Your credentials are stored unencrypted in '{}'.
Configure a credential helper to remove this warning. See
https://docs.docker.com/go/credential-store/

"""

Call = Callable[..., Result]


@pytest.fixture
def guarded() -> Iterator[FakeRegistry]:
    with FakeRegistry(users={"alice": PASSWORD}) as fake:
        fake.add_manifest("some/alpine", "1")
        yield fake


@pytest.fixture
def call(mydocker: Runner, tmp_path: Path) -> Call:
    """The command with a client configuration of the test's own."""
    return lambda *arguments, **options: mydocker("--config", str(tmp_path / "docker"), *arguments, **options)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "docker" / "config.json"


@pytest.mark.both_ways
def test_in_and_out(guarded: FakeRegistry, call: Call, config: Path) -> None:
    secret = PASSWORD.encode()
    done = call("login", "-u", "alice", "--password-stdin", guarded.address, stdin=secret + b"\n")
    assert done.out == "Login Succeeded\n"
    assert done.err == WARNING.format(config)
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert list(json.loads(config.read_text())["auths"]) == [guarded.address]
    assert "some/alpine" in call("search", f"{guarded.address}/alp").out

    again = call("login", guarded.address)
    assert again.out == "Login Succeeded\n"
    assert again.err == (
        "Authenticating with existing credentials... [Username: alice]\n\n"
        " Info -> To login with a different account, run 'mydocker logout' followed by 'mydocker login'\n\n\n"
    )

    assert call("logout", guarded.address).out == f"Removing login credentials for {guarded.address}\n"
    assert json.loads(config.read_text()) == {"auths": {}}
    refused = call("search", f"{guarded.address}/alp", check=1)
    assert refused.err == (
        f"mydocker: search for {guarded.address}/alp: unauthorized: authentication required "
        f"(try 'mydocker login {guarded.address}')\n"
    )


def test_a_password_among_the_flags(guarded: FakeRegistry, call: Call, config: Path) -> None:
    done = call("login", "--username=alice", "-p", PASSWORD, guarded.address)
    expected = "WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n"
    assert done.err == expected + WARNING.format(config)
    assert done.out == "Login Succeeded\n"


def test_a_wrong_password(guarded: FakeRegistry, call: Call, config: Path) -> None:
    done = call("login", "-u", "alice", "--password-stdin", guarded.address, stdin=b"wrong", check=1)
    assert done.err == f"mydocker: login attempt to {guarded.url}/v2/ failed with status: 401 Unauthorized\n"
    assert not config.exists()


def test_a_password_that_is_no_longer_right(guarded: FakeRegistry, call: Call) -> None:
    call("login", "-u", "alice", "-p", PASSWORD, guarded.address)
    guarded.users = {"alice": "changed"}
    done = call("login", guarded.address, check=1)
    assert "Login did not succeed, error: login attempt to" in done.err
    assert done.err.endswith("mydocker: Cannot perform an interactive login from a non TTY device\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--password-stdin",), "the --password-stdin option requires --username to be set"),
        (
            ("-u", "a", "-p", "b", "--password-stdin"),
            "conflicting options: cannot specify both --password and --password-stdin",
        ),
        ((), "Cannot perform an interactive login from a non TTY device"),
        (("-u", "a", "-p", ""), "password is empty"),
        (("-u", "", "-p", "b"), "username is empty"),
        (("-u", "a", "--password-stdin"), "Cannot perform an interactive login from a non TTY device"),
    ],
)
def test_what_makes_no_login(call: Call, arguments: tuple[str, ...], message: str) -> None:
    assert call("login", *arguments, "reg.example", check=1).err.endswith(f"mydocker: {message}\n")


def test_a_token_in_place_of_the_password(call: Call, config: Path) -> None:
    """A token service gives one for it, so there is nothing to warn of."""
    with TokenService(users={"alice": PASSWORD}) as tokens, FakeRegistry(tokens=tokens) as fake:
        fake.add_manifest("some/alpine", "1")
        done = call("login", "-u", "alice", "--password-stdin", fake.address, stdin=PASSWORD.encode())
        assert (done.out, done.err) == ("Login Succeeded\n", "")
        stored = json.loads(config.read_text())["auths"][fake.address]
        assert stored["identitytoken"] == "refresh-alice"
        assert PASSWORD not in config.read_text()
        tokens.grant = lambda user, _scope: user == "alice"
        assert "some/alpine" in call("search", f"{fake.address}/alp").out
        assert tokens.requests[-1].method == "POST"


def test_a_registry_that_is_down(call: Call) -> None:
    with faulty.free_port() as port:
        done = call("login", "-u", "a", "--password-stdin", f"localhost:{port}", stdin=b"x", check=1)
    assert done.err == f"mydocker: localhost:{port}: cannot reach localhost:{port}: connection refused\n"


def test_a_file_that_is_broken(call: Call, config: Path) -> None:
    config.parent.mkdir()
    config.write_text("{")
    assert f"cannot read {config}: not JSON" in call("login", "reg.example", check=1).err
    done = call("logout", "reg.example")
    assert done.err.startswith(f"WARNING: could not erase credentials:\nreg.example: cannot read {config}")
    assert config.read_text() == "{"


def test_the_environment_names_the_directory(guarded: FakeRegistry, mydocker: Runner, tmp_path: Path) -> None:
    place = {"DOCKER_CONFIG": str(tmp_path / "elsewhere")}
    mydocker("login", "-u", "alice", "-p", PASSWORD, guarded.address, env=place)
    assert (tmp_path / "elsewhere/config.json").exists()


def test_logout_of_docker_hub(call: Call) -> None:
    assert call("logout").out == "Removing login credentials for https://index.docker.io/v1/\n"


def test_at_a_terminal(guarded: FakeRegistry, mydocker: Runner, tmp_path: Path) -> None:
    """Asked for at the prompt, and not shown."""
    with opened(mydocker) as terminal:
        before = terminal.modes()
        terminal.type(" ".join(mydocker.argv("--config", str(tmp_path), "login", guarded.address)))
        terminal.see("Username: ")
        terminal.type("alice")
        terminal.see("Password: ")
        terminal.type(PASSWORD)
        shown = terminal.see("Login Succeeded")
        assert PASSWORD not in shown
        terminal.outside()
        assert terminal.modes() == before
    assert (tmp_path / "config.json").exists()


def test_ctrl_c_at_the_password(guarded: FakeRegistry, mydocker: Runner, tmp_path: Path) -> None:
    with opened(mydocker) as terminal:
        before = terminal.modes()
        terminal.type(
            " ".join(mydocker.argv("--config", str(tmp_path), "login", "-u", "alice", guarded.address))
        )
        terminal.see("Password: ")
        terminal.press("\x03")
        terminal.outside()
        assert terminal.status() == 130
        assert terminal.modes() == before
    assert os.listdir(tmp_path) == []


# ---- search


def test_search_in_columns(fake: FakeRegistry, call: Call) -> None:
    long = "A description that is longer than forty-five characters, and has\nlines"
    fake.search_results = [
        {"name": "library/alpine", "description": long, "star_count": 1234, "is_official": True},
        {"name": "alpine/\x1b[31mred", "description": "", "star_count": 0},
    ]
    assert call("search", f"{fake.address}/alp").out == (
        "NAME              DESCRIPTION                                     STARS     OFFICIAL\n"
        "library/alpine    A description that is longer than forty-five…   1234      [OK]\n"
        "alpine/ [31mred                                                   0         \n"
    )
    whole = call(
        "search", "--no-trunc", "--format", "{{.Name}}: {{.Description}}", f"{fake.address}/library"
    ).out
    assert whole == f"library/alpine: {long}\n".replace("\nlines", " lines")
    assert json.loads(call("search", "--format", "json", f"{fake.address}/library").out) == {
        "Name": "library/alpine",
        "Description": "A description that is longer than forty-five…",
        "StarCount": "1234",
        "IsOfficial": "true",
        "IsAutomated": "false",
    }
    assert "red" not in call("search", "-f", "stars=5", f"{fake.address}/alp").out
    assert (
        call("search", "--limit", "1", "--format", "{{.Name}}", f"{fake.address}/alp").line
        == "library/alpine"
    )


def test_a_registry_that_wants_to_be_left_alone(fake: FakeRegistry, call: Call) -> None:
    fake.search_results = []
    fake.when("GET", "/v1/", faulty.status(429, Retry_After="1"), times=1)
    assert "toomanyrequests: " in call("search", f"{fake.address}/alp").err
    fake.when("GET", "/v1/", faulty.status(429, Retry_After="7200"))
    done = call("search", f"{fake.address}/alp", check=1)
    assert done.err.startswith(f"mydocker: search for {fake.address}/alp: toomanyrequests: ")
    assert "it may be asked again in 7200 seconds" in done.err


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--limit", "101", "x"), "Limit 101 is outside the range of [1, 100]"),
        (("--filter", "color=red", "x"), "invalid filter 'color'"),
        (("http://x/y",), "invalid search term 'http://x/y': it has no scheme"),
        ((), "'mydocker search' requires 1 argument"),
    ],
)
def test_what_cannot_be_searched(call: Call, arguments: tuple[str, ...], message: str) -> None:
    assert f"mydocker: {message}" in call("search", *arguments, check=1).err


# ---- the file of registries


def test_a_registry_that_is_blocked(mydocker: Runner, tmp_path: Path) -> None:
    path = tmp_path / "registries.toml"
    path.write_text('[registry."reg.example"]\nblocked = true\n')
    done = mydocker("--registries", str(path), "search", "reg.example/x", check=1)
    assert done.err == f"mydocker: registry reg.example is blocked by {path}\n"


def test_a_file_of_registries_that_is_broken(mydocker: Runner, tmp_path: Path) -> None:
    path = tmp_path / "registries.toml"
    assert (
        mydocker("--registries", str(path), "search", "x", check=1).err == f"mydocker: no such file: {path}\n"
    )
    path.write_text('[registry."x"]\nmirror = []\n')
    assert (
        f"mydocker: {path}: Object contains unknown field"
        in mydocker("--registries", str(path), "search", "x", check=1).err
    )
