"""Volumes by docker and by us: what is printed, what is refused and how, exit statuses and documents."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest

from support import beside
from support.beside import Both
from support.command import Result

IMAGE = "busybox:test"


@pytest.fixture
def volumes(both: Both) -> Iterator[Both]:
    """``used`` is a container's, ``plain`` nobody's, ``memory`` a tmpfs."""
    both.run("volume", "create", "--label", "a=b", "plain")
    both.run("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m", "memory")
    both.run(
        "create", "--network", "none", "--name", "user", "-v", "used:/v", "-v", "/anonymous", IMAGE, "true"
    )
    yield both
    for engine in (both.docker, both.ours):
        left = engine("ps", "-aq").out.split()
        if left:
            engine("rm", "-fv", *left)
        names = engine("volume", "ls", "-q").out.split()
        if names:
            engine("volume", "rm", *names)


def comparable(text: str) -> str:
    """Without the directories, the lines that only tell where the help is, and what 28 says otherwise."""
    text = re.sub(r"/[^ '\"]*/(?:volumes?)/([^/ ]+)/_data", r"<data of \1>", text)
    text = re.sub(r"(?i)(?:Error: )?No such volume: (\S+)", r"get \1: no such volume", text)
    text = text.replace("dangling=[x]", "dangling=x")
    text = re.sub(r"\.?\nSee '.*' --help'\.|\.?\nSee '.*--help'\.", "", text)
    text = "\n".join(line for line in text.splitlines() if not line.startswith(("Run '", "See '", "Usage:")))
    return beside.comparable(text).strip()


def assert_same(both: Both, line: str) -> None:
    theirs, ours = both(*shlex.split(line.replace("IMAGE", IMAGE)))
    assert comparable(ours.out) == comparable(theirs.out), line
    assert comparable(ours.err) == comparable(re.sub("docker: |docker run", "", theirs.err)), line
    assert ours.code == theirs.code, line


@pytest.mark.parametrize(
    "line",
    [
        "volume create plain",
        "volume create a",
        "volume create a/b",
        "volume create -d nope new",
        "volume create -o odd=1 new",
        "volume create -o type=tmpfs new",
        "volume create -o device=tmpfs new",
        "volume rm plain used nope",
        "volume rm -f nope",
        "volume inspect nope",
        "volume inspect --format '{{.Name}} {{.Driver}} {{.Scope}} {{json .Options}}' memory",
        "volume ls --filter dangling=true",
        "volume ls --filter name=used --format 'table {{.Name}}\t{{.Driver}}\t{{.Mountpoint}}'",
        "volume ls --filter label=a -q",
        "volume ls --filter name=^pl -q",
        "volume ls --filter driver=nope",
        "volume ls --filter bogus=1",
        "volume ls --filter dangling=x",
        "volume prune -f --filter label=none",
        "volume prune -f --filter bogus=1",
        "run --rm --network none -v a/b:/v IMAGE true",
        "run --rm --network none -v new:v IMAGE true",
        "run --rm --network none -v new:/ IMAGE true",
        "run --rm --network none -v new:/v:bogus IMAGE true",
        "run --rm --network none -v new:/v:ro,rw IMAGE true",
        "run --rm --network none -v /v:ro IMAGE true",
        "run --rm --network none -v new:/v:copy IMAGE true",
        "run --rm --network none -v /usr:/v:nocopy IMAGE true",
        "run --rm --network none -v new:/etc:ro IMAGE cat /etc/resolv.conf",
        "run --rm --network none --tmpfs /etc:ro IMAGE ls /etc",
        'run --rm --network none --tmpfs /t:noatime,relatime,dirsync IMAGE grep " /t " /proc/mounts',
        'run --rm --network none --tmpfs /t:strictatime,mand,exec IMAGE grep " /t " /proc/mounts',
        'run --rm --network none --tmpfs /t:strictatime,nostrictatime,sync IMAGE grep " /t " /proc/mounts',
        "run --rm --network none --volumes-from nope IMAGE true",
        "run --rm --network none --volumes-from user:bogus IMAGE true",
        "run --rm --network none --volumes-from user:nocopy IMAGE true",
        "run --rm --network none --mount type=volume,dst=/v,ro IMAGE true",
        "run --rm --network none --mount type=bind,src=/none,dst=/v IMAGE true",
        "run --rm --network none --mount type=bind,src=rel/ative,dst=/v IMAGE true",
        "run --rm --network none --mount type=bind,src=/,dst=/v,bind-propagation=odd IMAGE true",
        "run --rm --network none --mount type=volume,src=plain,dst=/v,bind-propagation=shared IMAGE true",
        "run --rm --network none -v plain:/v -v used:/v IMAGE true",
        "run --rm --network none -v plain:/v:ro IMAGE touch /v/x",
        "run --rm --network none -v memory:/v IMAGE sh -c 'grep -c tmpfs./v /proc/mounts'",
        "run --rm --network none --volumes-from user:ro IMAGE touch /v/x",
        "inspect --type volume plain --format '{{.Name}}'",
        """system df --format '{{if eq .Type "Local Volumes"}}{{.TotalCount}}{{end}}'""",
    ],
)
def test_the_same(volumes: Both, line: str) -> None:
    assert_same(volumes, line)


def test_mounts_of_a_container(volumes: Both) -> None:
    """``inspect`` of one with each kind of mount."""
    flags = (
        "-v plain:/a -v used:/b:ro,nocopy -v /usr:/c:ro --mount type=volume,src=memory,dst=/d,volume-nocopy "
        "--mount type=bind,src=/usr,dst=/e,readonly -v /:/f -v /:/g:rshared --mount type=volume,dst=/h "
        "--volumes-from user"
    )
    volumes.run("create", "--network", "none", "--name", "many", *flags.split(), IMAGE, "true")

    def mounts(result: Result) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(result.out)[0]["Mounts"]
        for mount in found:
            if mount["Type"] == "volume":
                mount["Source"] = ""
                mount["Name"] = re.sub("[0-9a-f]{64}", "<id>", mount["Name"])
        return sorted(found, key=lambda mount: str(mount["Destination"]))

    theirs, ours = volumes("inspect", "many")
    assert mounts(ours) == mounts(theirs)


def test_documents(volumes: Both) -> None:
    theirs, ours = (json.loads(result.out)[0] for result in volumes("volume", "inspect", "memory"))
    assert ours.keys() == theirs.keys()
    for changing in ("CreatedAt", "Mountpoint"):
        del ours[changing], theirs[changing]
    theirs["Labels"] = theirs["Labels"] or None  # docker 20.10 has {}
    assert ours == theirs
