"""The same images in docker and in mydocker: the same lines, columns, filters, documents and refusals."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import pytest

from mydocker.cli.commands import history
from mydocker.cli.format import rows
from support import archives, fake_daemon
from support.archives import Member
from support.command import Result, Runner, installed
from support.peers import PeerImage, Tool

Pair = tuple[Tool, Runner]


@pytest.fixture(scope="module")
def pair(docker: Tool, docker_image: PeerImage) -> Iterator[Pair]:
    """Both with the image that docker has built, under three names, and two small ones."""
    directory = tempfile.mkdtemp(prefix="mdp-")
    ours = Runner(installed("mydocker"), f"{directory}/root", f"{directory}/run")
    paths = [docker_image.saved]
    for number, labels in enumerate(({"a": "1"}, {"a": "2", "b": ""})):
        name = f"small/{number}:v{number}"
        data = archives.layer([Member("number", str(number).encode())])
        path = archives.docker_archive(
            f"{directory}/{number}.tar", [data], name=name, config={"Labels": labels}
        )
        paths.append(path)
    # what docker has built it also measures and tells otherwise than what it has loaded
    docker("rmi", "--force", docker_image.name)
    for path in paths:
        docker("load", "--input", path)
        ours("load", "--input", path)
    for target in ("alpine:latest", "localhost:5000/a/b:1.0"):
        docker("tag", docker_image.name, target)
        ours("tag", docker_image.name, target)
    yield docker, ours
    for name in ("alpine:latest", "localhost:5000/a/b:1.0", "small/0:v0", "small/1:v1"):
        docker("rmi", "--force", name)
    ours.leave()
    shutil.rmtree(directory)


def both(pair: Pair, *arguments: str) -> tuple[Result, Result]:
    docker, ours = pair
    return docker(*arguments, check=False), ours(*arguments, check=False)


def same(pair: Pair, *arguments: str) -> str:
    """What both print, of which the age may differ by the moment between the two."""
    theirs, mine = both(pair, *arguments)
    assert (mine.code, mine.out) == (theirs.code, theirs.out)
    return mine.out


IMAGES = [
    "",
    "--no-trunc",
    "--quiet",
    "--quiet --no-trunc",
    "--digests",
    "alpine",
    "alpine:latest",
    "alpine:nope",
    "small/*",
    "small/?:v[01]",
    "*",
    "*/*",
    "*/*/*",
    "localhost:5000/a/b",
    "docker.io/library/alpine",
    "--filter reference=alpine --filter reference=small/0",
    "--filter dangling=false",
    "--filter label=a",
    "--filter label=a=1",
    "--filter label=a --filter label=b",
    "--filter label=org.example.purpose=everything",
    "--filter before=small/0:v0",
    "--filter since=small/0:v0",
    "--filter label=a small/1",
    "--format {{.Repository}}|{{.Tag}}|{{.ID}}|{{.Digest}}|{{.Size}}|{{.CreatedAt}}",
    "--format {{json&.}}",
    "--format table&{{.ID}}\\t{{.Tag}}",
    "--digests --format table&{{.ID}}",
    "--quiet --format {{.Repository}}",
    "--quiet --format table",
]


@pytest.mark.parametrize("line", IMAGES)
def test_images(pair: Pair, line: str) -> None:
    words = [word.replace("&", " ") for word in line.split()]
    theirs, mine = both(pair, "images", *words)
    assert mine.code == theirs.code
    assert settled(mine.out) == settled(theirs.out)


def settled(text: str) -> list[str]:
    """Lines without VirtualSize, which newer engines do not send, and ages, which pass; in one order.

    Images of one age have no order in docker.
    """
    text = text.replace('"N/A"', '""')  # what Debian's docker has for an age that is not known
    text = re.sub(r'(,"VirtualSize":"[^"]*")|(Less than a second|About an? \w+|\d+ \w+) ago *', "", text)
    return sorted(re.sub(" {2,}", "  ", line).rstrip() for line in text.splitlines())


@pytest.mark.parametrize("reference", ["peers/everything:1.0", "alpine", "small/1:v1"])
@pytest.mark.parametrize(
    "flags",
    [
        "",
        "--no-trunc",
        "--human=false",
        "--quiet",
        "--quiet --no-trunc",
        "--format {{json&.}}",
        "-H=0 --no-trunc",
    ],
)
def test_history(pair: Pair, reference: str, flags: str) -> None:
    theirs, mine = both(pair, "history", *[flag.replace("&", " ") for flag in flags.split()], reference)
    assert settled(mine.out) == settled(theirs.out)


@pytest.mark.parametrize("reference", ["peers/everything:1.0", "small/0:v0"])
def test_inspect(pair: Pair, reference: str) -> None:
    theirs, mine = (json.loads(result.out)[0] for result in both(pair, "image", "inspect", reference))
    for dropped in ("Container", "ContainerConfig", "VirtualSize"):  # since version 1.45 of its API
        theirs.pop(dropped, None)
    for document in (theirs, mine):
        data = document["GraphDriver"].pop("Data")
        assert set(data) >= {"UpperDir"}
        assert ("LowerDir" in data) is (len(document["RootFS"]["Layers"]) > 1)
        del document["Metadata"]["LastTagTime"]
        document["RepoTags"].sort()
    assert mine == theirs
    types = {name: type(value) for name, value in mine["Config"].items()}
    assert types == {name: type(value) for name, value in theirs["Config"].items()}


def test_inspect_templates(pair: Pair) -> None:
    for template in ("{{.Id}} {{.Os}}/{{.Architecture}} {{.Size}}", "{{json .Config}}", "{{.RootFS.Layers}}",
                     "{{range .RepoTags}}{{.}},{{end}}", "{{.Config.Labels}}"):  # fmt: skip
        theirs, mine = both(pair, "image", "inspect", "--format", template, "small/1:v1")
        assert (mine.code, mine.out) == (theirs.code, theirs.out), template


REFUSED = [
    "rmi missing",
    "rmi --force missing",
    "rmi {id}",
    "tag missing a",
    "tag alpine UPPER",
    "tag alpine a@sha256:" + "1" * 64,
    "tag alpine",
    "tag",
    "history missing",
    "history",
    "image inspect missing",
    "images --filter x=y",
    "images --filter dangling=maybe",
    "images --filter x",
    "images [",
    "images a b",
    "images --filter before=missing",
    "image prune --force --filter x=y",
    "image prune x",
    "system prune --volumes --filter until=1h",
    "system prune x",
    "system df x",
]


@pytest.mark.parametrize("line", REFUSED)
def test_refused(pair: Pair, line: str) -> None:
    _, ours = pair
    identifier = ours("images", "--quiet", "alpine").line
    theirs, mine = both(pair, *line.format(id=identifier).split())
    assert (mine.code, mine.out) == (theirs.code, theirs.out)
    assert words(theirs.err) <= words(mine.err), (theirs.err, mine.err)


def words(text: str) -> set[str]:
    """The words of the first line that say something: neither the speaker nor how a name is completed."""
    line = text.splitlines()[0].lower()
    line = re.sub(r"^(error response from daemon|docker|mydocker|error):|my(?=docker )", "", line)
    line = line.replace("missing:latest", "missing").replace("library/", "")
    return set(re.findall(r"[\w/]+", line)) - {"docker", "error", "parsing", "exactly"}


def test_rmi(pair: Pair) -> None:
    """The last name and the others, by name and by id."""
    docker, ours = pair
    for target in ("one:1", "one:2", "two:1"):
        docker("tag", "small/0:v0", target)
        ours("tag", "small/0:v0", target)
    assert same(pair, "rmi", "one:1", "two:1") == "Untagged: one:1\nUntagged: two:1\n"
    theirs, mine = both(pair, "rmi", "missing", "one:2")
    assert (mine.code, mine.out) == (theirs.code, theirs.out) == (1, "Untagged: one:2\n")

    theirs, mine = both(pair, "rmi", "small/0:v0")
    assert mine.out == theirs.out
    assert re.findall("^(Untagged|Deleted)", mine.out, re.MULTILINE) == ["Untagged", "Deleted", "Deleted"]
    for runner in pair:
        runner("load", "--input", f"{os.path.dirname(ours.root)}/0.tar")


@pytest.mark.parametrize("answer", ["n\n", "", "yes\n"])
def test_prompts(pair: Pair, answer: str) -> None:
    """Anything but a y is a no, and no is no error."""
    for words_ in ("image prune", "image prune --all", "system prune", "system prune --all --volumes"):
        docker, ours = pair
        theirs = docker(*words_.split(), check=False, input=answer.encode())
        mine = ours(*words_.split(), check=False, stdin=answer.encode())
        assert (mine.code, mine.err) == (theirs.code, theirs.err)
        # Debian's docker is older than what we follow: it went on to a total, and took all volumes
        lines = theirs.out.replace("Total reclaimed space: 0B\n", "").replace(
            "all volumes", "all anonymous volumes"
        )
        lines = re.sub(r"  - .* build cache\n", "  - downloads that were broken off\n", lines)
        assert sorted(mine.out.splitlines()) == sorted(lines.splitlines())


def test_df(pair: Pair) -> None:
    """The same lines and counts. Sizes are ours: docker counts files, here the disk is measured."""
    theirs, mine = both(pair, "system", "df", "--format", "{{.Type}} {{.TotalCount}}")
    others = re.compile("^(Containers|Local Volumes) .*", re.MULTILINE)  # docker has more of them here
    assert others.sub("", mine.out) == others.sub("", theirs.out)
    theirs, mine = both(pair, "system", "df")
    assert mine.out.splitlines()[0].split() == theirs.out.splitlines()[0].split()
    theirs, mine = both(pair, "system", "df", "--verbose")
    headings = re.compile("^[A-Z]{2}.*|.*usage.*", re.MULTILINE)
    assert [line.split() for line in headings.findall(mine.out)] == [
        line.split() for line in headings.findall(theirs.out) if "CACHE ID" not in line
    ]


@pytest.fixture(scope="module")
def daemon() -> Iterator[fake_daemon.FakeDaemon]:
    directory = tempfile.mkdtemp(prefix="mdf-")
    with fake_daemon.serve(os.path.join(directory, "docker.sock")) as served:
        yield served
    shutil.rmtree(directory)


@pytest.mark.parametrize(
    "format", ["", "{{json .}}", "table {{.ID}}\\t{{.Comment}}", "{{.CreatedAt}} {{.Size}}"]
)
@pytest.mark.parametrize("flags", [[], ["--no-trunc"], ["--human=false"]])
def test_history_of_any_kind(daemon: fake_daemon.FakeDaemon, format: str, flags: list[str]) -> None:
    """Long, odd and empty steps, as docker's own client shows them."""
    steps: list[dict[str, Any]] = [
        {"Id": "sha256:" + "a" * 64, "Created": 1700000000, "CreatedBy": "x" * 60, "Tags": ["a:1"],
         "Size": 123456789, "Comment": "a\tb"},
        {"Id": "<missing>", "Created": 0, "CreatedBy": "ENV\tA=<&>é", "Tags": None, "Size": 0, "Comment": ""},
        {"Id": "<missing>", "Created": -62135596800, "CreatedBy": "", "Tags": None, "Size": 1, "Comment": ""},
    ]  # fmt: skip
    daemon.documents["/images/x/history"] = steps
    program = shutil.which("docker")
    assert program is not None
    client = Tool(
        (program, "-H", f"unix://{daemon.socket}"), {"DOCKER_CONFIG": os.path.dirname(daemon.socket)}
    )
    theirs = client("history", *flags, *(["--format", format] if format else []), "x").out
    human = "--human=false" not in flags
    now = time.time()
    found = [history.row(s, truncate="--no-trunc" not in flags, human=human, now=now) for s in steps]
    columns = history._COLUMNS if human else history._EXACT_COLUMNS
    mine = rows.render(format, found, columns=columns, headings=history._HEADINGS, type_=history._TYPE)
    assert mine + "\n" == theirs
