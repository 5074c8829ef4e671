"""Docker's config.json, and the programs that keep secrets in its place."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mydocker import errors
from mydocker.registry.credentials import HUB, Auth, Credentials

ALICE = Auth("alice", "se:cret")
ENCODED = base64.b64encode(b"alice:se:cret").decode()
HELPER = r"""#!/bin/sh
# Keeps what it is given in files of a directory; the name of a server must have no slash.
cd "$(dirname "$0")/kept" || exit 1
case $1 in
store) document=$(cat); server=$(echo "$document" | sed 's/.*"ServerURL": "\([^"]*\)".*/\1/' | tr / _)
       echo "$document" > "$server" ;;
get) server=$(cat | tr / _)
     if [ "$server" = broken ]; then echo "the vault is closed"; exit 1; fi
     if [ "$server" = odd ]; then echo "[]"; exit 0; fi
     [ -e "$server" ] || { echo "credentials not found in native keychain"; exit 1; }
     cat "$server" ;;
erase) server=$(cat | tr / _)
       rm "$server" 2>/dev/null || { echo "credentials not found in native keychain"; exit 1; } ;;
esac
"""

Make = Callable[..., Credentials]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """``make({...})``: that document in a directory of its own."""

    def write(document: Any = None, raw: str | None = None) -> Credentials:
        directory = tmp_path / "docker"
        if document is not None or raw is not None:
            directory.mkdir()
            (directory / "config.json").write_text(json.dumps(document) if raw is None else raw)
        return Credentials(str(directory))

    return write


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What ``docker-credential-test`` keeps."""
    program = tmp_path / "docker-credential-test"
    program.write_text(HELPER)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "kept").mkdir()
    return tmp_path / "kept"


def document(credentials: Credentials) -> Any:
    with open(credentials.path) as file:
        return json.load(file)


@pytest.mark.parametrize(
    ("auths", "domain", "expected"),
    [
        ({"reg.example": {"auth": ENCODED}}, "reg.example", ALICE),
        ({"reg.example": {"auth": ENCODED}}, "other.example", None),
        ({"reg.example": {"auth": ENCODED}}, "reg.example:5000", None),
        ({"https://reg.example/v1/": {"auth": ENCODED}}, "reg.example", ALICE),
        ({"http://reg.example:80": {"auth": ENCODED}}, "reg.example:80", ALICE),
        ({HUB: {"auth": ENCODED}}, "docker.io", ALICE),
        ({"docker.io": {"auth": ENCODED}}, "docker.io", ALICE),
        ({"registry-1.docker.io": {"auth": ENCODED}}, "docker.io", ALICE),
        ({"reg.example": {"username": "alice", "password": "se:cret"}}, "reg.example", ALICE),
        ({"reg.example": {"identitytoken": "t"}}, "reg.example", Auth(identity_token="t")),
        ({"reg.example": {"registrytoken": "t"}}, "reg.example", Auth(registry_token="t")),
        ({"reg.example": {}}, "reg.example", None),
        (None, "reg.example", None),
    ],
)
def test_get(make: Make, auths: Any, domain: str, expected: Auth | None) -> None:
    assert make({"auths": auths}).get(domain) == expected


def test_the_exact_name_comes_first(make: Make) -> None:
    other = base64.b64encode(b"bob:x").decode()
    found = make({"auths": {"https://reg.example/": {"auth": other}, "reg.example": {"auth": ENCODED}}})
    assert found.get("reg.example") == ALICE


@pytest.mark.parametrize("raw", [None, "", " \n"])
def test_no_file_is_no_credentials(make: Make, raw: str | None) -> None:
    assert make(raw=raw).get("reg.example") is None


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ('{"auths": []}', None),
        ('{"auths": [1]}', "auths is not an object"),
        ('{"auths": {"r": {"auth": "%"}}}', "auth is not base64"),
        ('{"auths": {"r": {"auth": "YWxpY2U="}}}', "auth is not user:password"),
        ('{"auths": {"r": {"registrytoken": "a\\nb"}}}', "registrytoken is no token"),
        ('{"credsStore": "../x"}', "is not the name of a credential helper"),
        ('{"credHelpers": {"r": 7}}', "is not the name of a credential helper"),
    ],
)
def test_a_file_that_is_broken(make: Make, raw: str, message: str | None) -> None:
    credentials = make(raw=raw)
    if message is None:
        assert credentials.get("r") is None
        return
    with pytest.raises(errors.InvalidArgument, match=message) as caught:
        credentials.get("r")
    assert credentials.path in str(caught.value)


def test_where_the_file_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    assert Credentials().path == f"{tmp_path}/.docker/config.json"
    monkeypatch.setenv("DOCKER_CONFIG", "/elsewhere")
    assert Credentials().path == "/elsewhere/config.json"
    assert Credentials("/given").path == "/given/config.json"


def test_store_and_erase(make: Make) -> None:
    credentials = make()
    assert credentials.store("reg.example", ALICE) == credentials.path
    assert document(credentials) == {"auths": {"reg.example": {"auth": ENCODED}}}
    assert os.stat(credentials.path).st_mode & 0o777 == 0o600
    assert os.stat(credentials.directory).st_mode & 0o777 == 0o700
    assert credentials.get("reg.example") == ALICE
    assert credentials.store("reg.example", ALICE) == ""  # nothing new to warn of
    assert credentials.erase("reg.example")
    assert document(credentials) == {"auths": {}}
    assert not credentials.erase("reg.example")
    assert os.listdir(credentials.directory) == ["config.json"]


def test_docker_hub_goes_by_its_old_name(make: Make) -> None:
    credentials = make()
    credentials.store("docker.io", ALICE)
    assert document(credentials) == {"auths": {HUB: {"auth": ENCODED}}}
    assert credentials.get("docker.io") == ALICE
    assert credentials.erase("docker.io")


def test_what_others_have_written_is_kept(make: Make) -> None:
    before = {
        "HttpHeaders": {"X-Meta": "ü"},
        "auths": {
            "other.example": {"auth": "eA==", "email": "x"},
            "reg.example": {"email": "y", "auth": "eDp5"},
        },
        "currentContext": "default",
    }
    credentials = make(before)
    os.chmod(credentials.path, 0o644)
    credentials.store("reg.example", Auth("alice", "gone", identity_token="t"))
    expected = json.loads(json.dumps(before))
    alone = base64.b64encode(b"alice:").decode()
    expected["auths"]["reg.example"] = {"email": "y", "auth": alone, "identitytoken": "t"}
    assert document(credentials) == expected
    assert os.stat(credentials.path).st_mode & 0o777 == 0o600
    assert credentials.get("reg.example") == Auth("alice", "", "t")


def test_a_broken_file_is_left_alone(make: Make) -> None:
    credentials = make(raw="{broken")
    with pytest.raises(errors.InvalidArgument):
        credentials.store("reg.example", ALICE)
    with open(credentials.path) as file:
        assert file.read() == "{broken"


def test_a_link_stays_a_link(make: Make, tmp_path: Path) -> None:
    credentials = make({})
    os.rename(credentials.path, tmp_path / "elsewhere.json")
    os.symlink(tmp_path / "elsewhere.json", credentials.path)
    credentials.store("reg.example", ALICE)
    assert os.path.islink(credentials.path)
    assert json.loads((tmp_path / "elsewhere.json").read_text())["auths"]


def test_they_are_not_shown() -> None:
    assert "cret" not in repr(Auth("alice", "se:cret", "cret", "cret"))
    assert "cret" not in f"{ALICE}"


@pytest.mark.parametrize("chosen", [{"credsStore": "test"}, {"credHelpers": {"reg.example": "test"}}])
def test_a_helper(make: Make, kept: Path, chosen: dict[str, Any]) -> None:
    credentials = make(chosen)
    assert credentials.get("reg.example") is None
    assert credentials.store("reg.example", ALICE) == ""
    assert credentials.get("reg.example") == ALICE
    assert document(credentials) == {**chosen, "auths": {"reg.example": {}}}
    assert json.loads((kept / "reg.example").read_text()) == {
        "ServerURL": "reg.example",
        "Username": "alice",
        "Secret": "se:cret",
    }
    assert credentials.erase("reg.example")
    assert os.listdir(kept) == []
    assert credentials.get("reg.example") is None
    credentials.erase("reg.example")


def test_a_helper_keeps_an_identity_token(make: Make, kept: Path) -> None:
    credentials = make({"credsStore": "test"})
    credentials.store("reg.example", Auth("alice", "x", identity_token="t"))
    assert json.loads((kept / "reg.example").read_text())["Username"] == "<token>"
    assert credentials.get("reg.example") == Auth(identity_token="t")


@pytest.mark.usefixtures("kept")
def test_a_helper_for_one_registry_leaves_the_others_to_the_file(make: Make) -> None:
    credentials = make({"credHelpers": {"reg.example": "test"}, "auths": {"b": {"auth": ENCODED}}})
    assert credentials.get("b") == ALICE
    assert credentials.get("reg.example") is None


def test_a_helper_for_docker_hub_by_either_name(make: Make, kept: Path) -> None:
    make({"credHelpers": {"docker.io": "test"}}).store("docker.io", ALICE)
    assert os.listdir(kept) == ["https:__index.docker.io_v1_"]


@pytest.mark.parametrize(
    ("server", "store", "message"),
    [
        (
            "broken",
            "test",
            "error getting credentials of broken: docker-credential-test: the vault is closed",
        ),
        ("odd", "test", "docker-credential-test wrote no such document"),
        ("reg.example", "none", "docker-credential-none: executable file not found in \\$PATH"),
    ],
)
@pytest.mark.usefixtures("kept")
def test_a_helper_that_fails(make: Make, server: str, store: str, message: str) -> None:
    with pytest.raises(errors.Unavailable, match=message):
        make({"credsStore": store}).get(server)
