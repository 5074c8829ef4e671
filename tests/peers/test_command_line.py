"""The command line beside docker's own: the request that flags become, and what comes out of templates.

docker's client runs against a server that only writes down what it is asked (``support.fake_daemon``).
"""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from mydocker import errors
from mydocker.cli.command import ArgumentsError, Command
from mydocker.cli.commands import create, images, ps
from mydocker.cli.flags import config, pflag
from mydocker.cli.format import rows
from mydocker.cli.template import ExecutionError, ParseError, Template
from support import fake_daemon, probe
from support.fake_daemon import FakeDaemon
from support.peers import Tool

pytestmark = pytest.mark.skipif(
    probe.program("docker") is None, reason="needs docker (see tests/apt-packages.txt)"
)


@pytest.fixture(scope="module")
def daemon() -> Iterator[FakeDaemon]:
    directory = tempfile.mkdtemp(prefix="mdf-")
    with fake_daemon.serve(os.path.join(directory, "docker.sock")) as served:
        yield served
    shutil.rmtree(directory)


@pytest.fixture
def docker(daemon: FakeDaemon) -> Tool:
    daemon.posted.clear()
    daemon.documents.clear()
    program = probe.program("docker")
    assert program is not None
    environment = {"KEPT": "kept", "DOCKER_CONFIG": os.path.dirname(daemon.socket)}
    return Tool((program, "-H", f"unix://{daemon.socket}"), environment)


SAME_REQUEST = [
    "x",
    "x ls -l",
    "-it x",
    "-i x",
    "-t x",
    "-a stdin x",
    "-a stdout -i x",
    "-e A=b -e KEPT -e ABSENT -e Q= x",
    "-l a -l b=c -l a=2 x",
    "--annotation a=b x",
    "-v /a:/b:ro -v /c x",
    "--mount type=bind,src=/a,dst=/b,ro x",
    "--mount type=tmpfs,target=/b,tmpfs-size=1m,tmpfs-mode=1770 x",
    "--mount type=bind,source=/a,target=/x,bind-propagation=rslave,bind-nonrecursive x",
    "--mount type=bind,source=/a,target=/x,consistency=cached x",
    "--tmpfs /a:size=5 --tmpfs /b x",
    "--ulimit nofile=5 --ulimit nproc=1:2 --ulimit core=-1 x",
    "--device /dev/null --device /dev/zero:/dev/z --device /dev/full:rw --device /dev/a:/b:m x",
    "--device-cgroup-rule 'c 1:2 rwm' x",
    "--sysctl net.ipv4.ip_forward=1 x",
    "--security-opt seccomp=unconfined x",
    "--security-opt systempaths=unconfined x",
    "--shm-size 1.5g -m 64m --memory-swap -1 --memory-reservation 5m --memory-swappiness 5 x",
    "--cpus 1.5 -c 0x10 --cpu-period 5 --cpu-quota 6 --cpuset-cpus 0-1 --cpuset-mems 0 x",
    "--pids-limit 5 --oom-score-adj 5 --oom-kill-disable x",
    "--blkio-weight 500 --blkio-weight-device /dev/sda:300 x",
    "--device-read-bps /dev/sda:1mb --device-write-iops /dev/sda:10 x",
    "--network host --pid host --ipc shareable --uts host --userns host --cgroupns host x",
    "--network container:foo --pid container:foo --ipc container:foo x",
    "--net none x",
    "--network mine --ip 10.1.2.3 --network-alias web x",
    "--dns 1.1.1.1 --dns-search a.b --dns-option ndots:1 x",
    "-p 80 -p 8080:80/udp -p 127.0.0.1:90-91:90-91 -p 7000-7001:99 -P x",
    "--stop-signal TERM --stop-timeout 0 x",
    "--group-add a --group-add 5 --cap-add CAP_CHOWN --cap-drop ALL x",
    "--add-host a:1.2.3.4 x",
    "--expose 80 --expose 90-92/udp x",
    "--entrypoint '' x",
    "--entrypoint 'a b' x c d",
    "-h foo.bar --domainname d -u a:b -w /x x",
    "--privileged --read-only --init --rm --cgroup-parent /p x",
    "--init=false --rm=false --read-only=0 x",
]


def ours(words: list[str]) -> dict[str, Any]:
    """The body of the request that our flags stand for."""
    invocation = create.COMMAND.parse("create", words, {})
    made, host_config, _ = config.build(invocation.flags, invocation.arguments)
    return {**msgspec.to_builtins(made), "HostConfig": msgspec.to_builtins(host_config)}


def _split(line: str) -> list[str]:
    return shlex.split(line)


# What an empty list, map or zero says to the daemon is the same as nothing; so are these defaults.
_SAME_AS_NOTHING: tuple[Any, ...] = (None, "", 0, False, [], {})
_DEFAULTS = {"ShmSize": 64 << 20, "MemorySwappiness": -1, "NetworkMode": "default"}
# Ours alone, docker's record keeping, or what this engine has one of.
_LEFT_OUT = frozenset(
    ("HostConfig", "Rootfs", "Runtime", "LogConfig", "NetworkingConfig", "ConsoleSize", "RestartPolicy")
)


def _meant(document: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for name, value in document.items():
        default = _DEFAULTS.get(name)
        usual = value in default if isinstance(default, tuple) else value == default
        if name in _LEFT_OUT or usual or value in _SAME_AS_NOTHING:
            if (
                name in ("Entrypoint", "MaskedPaths", "ReadonlyPaths", "StopTimeout", "Init")
                and value is not None
            ):
                found[name] = value
            continue
        found[name] = _without_nothing(value)
    if "Env" in found:  # Debian's docker shuffles them
        found["Env"] = sorted(found["Env"])
    return found


def _without_nothing(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_nothing(item) for item in value]
    if isinstance(value, dict):
        kept = {name: _without_nothing(item) for name, item in value.items()}
        return {name: item for name, item in kept.items() if item not in (None, "", 0, False)}
    return value


def _known(line: str, docker: Tool) -> bool:
    """Whether this docker has all of the flags: Debian's is older than what we follow."""
    help = docker("create", "--help").out
    words = [word.partition("=")[0] for word in _split(line) if word.startswith("--") and word != "--net"]
    return all(f"{word} " in help for word in words)


@pytest.mark.parametrize("line", SAME_REQUEST)
def test_same_request(
    docker: Tool, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch, line: str, tmp_path: os.PathLike[str]
) -> None:
    if not _known(line, docker):
        pytest.skip("this docker does not have the flag")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KEPT", "kept")
    monkeypatch.delenv("ABSENT", raising=False)
    docker("create", *_split(line), cwd=tmp_path)
    (_, theirs) = daemon.posted[-1]
    mine = ours(_split(line))
    if "consistency" not in line:
        _forget(mine, "Consistency")
    assert _meant(mine) == _meant(theirs)
    assert _meant(mine["HostConfig"]) == _meant(theirs["HostConfig"])


def _forget(document: dict[str, Any], member: str) -> None:
    for mount in document["HostConfig"].get("Mounts") or []:
        mount.pop(member, None)


SAME_REFUSAL = [
    "",
    "--none x",
    "-Z x",
    "-m",
    "-m 4bogus x",
    "-m '' x",
    "--memory-swap -2 x",
    "--cpus a x",
    "--cpus 1/3 x",
    "--rm=foo x",
    "-e =x x",
    "-l =x x",
    "-v",
    "--ulimit x x",
    "--ulimit nofile=a x",
    "--device-cgroup-rule x x",
    "--sysctl x x",
    "--env-file /no/such x",
    "--mount x x",
    "--mount type=bind x",
    "--mount type=bind,foo=b x",
    "--mount type=bind,source=/a,target=/x,volume-nocopy x",
    "--mount type=tmpfs,target=b,tmpfs-mode=9 x",
    "--add-host x x",
    "--pids-limit x x",
    "-c x y",
    "--blkio-weight 70000 x",
    "--blkio-weight-device x x",
    "--device-read-bps /dev/sda:x y",
    "--device-write-iops sda:4 y",
    "-a foo x",
    "--stop-timeout x x",
    "--entrypoint",
]


def _refusal(command: Command, words: list[str]) -> str:
    try:
        invocation = command.parse("create", words, {})
        config.build(invocation.flags, invocation.arguments)
    except (pflag.FlagError, ArgumentsError, errors.Error) as error:
        return str(error)
    raise AssertionError(f"{words} was taken")


@pytest.mark.parametrize("line", SAME_REFUSAL)
def test_same_refusal(docker: Tool, line: str) -> None:
    refused = docker("create", *_split(line), check=False)
    assert refused.code != 0
    theirs = refused.err.splitlines()[0].removeprefix("docker: ").replace("docker ", "mydocker ")
    message = _refusal(create.COMMAND, _split(line))
    for quotes in ("'", '"'):  # which of them differs between versions of docker, and so does the full stop
        theirs, message = theirs.replace(quotes, ""), message.replace(quotes, "")
    assert theirs.rstrip(".") == message or _reworded(theirs, message), (theirs, message)


def _reworded(theirs: str, message: str) -> bool:
    """Messages that docker has put differently since Debian's version."""
    pairs = {
        "invalid size": "invalid suffix",
        "poorly formatted environment": "no variable name",
        "invalid label": "empty name",
        "is not whitelisted": "is not allowed",
        "invalid field": "must be a key=value pair",
        "invalid argument": "failed to parse",
    }
    return any(old in theirs and new in message for old, new in pairs.items())


DOCUMENT = {
    "Id": "a" * 64,
    "Name": "/foo",
    "Created": "2024-01-01T00:00:00Z",
    "Extra": {
        "List": [1, 2.5, "z<>&", None, True],
        "Map": {"a": "1", "b": "2"},
        "Nil": None,
        "Text": "héllo",
    },
    "Flag": True,
    "Zero": 0,
    "Empty": [],
    "Number": 67108864,
}
TEMPLATES = [
    "{{.Name}}",
    "{{.Extra.List}}",
    "{{.Extra.Map}}",
    "{{.Extra.Nil}}",
    "{{json .Extra}}",
    "{{json .Extra.List}}",
    "{{index .Extra.List 1}}",
    "{{index .Extra.Map \"b\"}}|{{index .Extra.Map \"c\"}}",
    "{{range .Extra.List}}<{{.}}>{{end}}",
    "{{range $k, $v := .Extra.Map}}{{$k}}={{$v}};{{end}}",
    "{{range $i, $v := .Extra.List}}{{if $i}}, {{end}}{{$v}}{{end}}",
    "{{range .Empty}}x{{else}}none{{end}}",
    "{{if .Flag}}yes{{else}}no{{end}}{{if .Empty}}x{{else if .Flag}}y{{end}}",
    "{{with .Extra}}{{.Text}}{{end}}",
    "{{upper .Extra.Text}} {{lower .Name}} {{title \"foo bar\"}}",
    "{{split .Extra.Text \"l\"}} {{len .Extra.Text}} {{len .Extra.List}}",
    "{{printf \"%s %q %v\" .Name .Name .Flag}}",
    "{{printf \"%5s|%-5s|%05d\" \"a\" \"b\" 42}}",
    "{{printf \"%d\" \"x\"}} {{printf \"%s\"}} {{printf \"a\" 1}}",
    "{{print 1 2 \"a\" 3}}|{{println 1 \"a\"}}",
    "{{$x := .Name}}{{$x}} {{$.Id}}",
    "{{/* comment */}}a {{- \"b\" -}} c",
    "{{eq .Name \"/foo\"}} {{ne 1 2}} {{and .Flag 1}} {{or 0 \"x\"}} {{not .Flag}}",
    "{{truncate .Id 5}} {{pad \"x\" 2 3}}|",
    "{{html \"<a>\"}} {{urlquery \"a b\"}} {{js \"it's\"}}",
    "{{slice .Name 1 3}}",
    "{{(index .Extra.List 2) | printf \"%s!\"}}",
    "{{'a'}} {{0x1F}} {{1e3}} {{1.5}}",
    "{{.Nope}}",
    "{{.Extra.Nope}}",
    "{{.Name.Nope}}",
    "{{.Id",
    "{{nope}}",
    "{{end}}",
    "{{if}}{{end}}",
    "{{$x}}",
    "{{\"x}}",
    "{{(.Id}}",
    "{{index .Extra.List 9}}",
    "{{len 3}}",
    "{{eq 1 \"a\"}}",
    "{{json}}",
]  # fmt: skip


@pytest.mark.parametrize("source", TEMPLATES)
def test_same_template(docker: Tool, daemon: FakeDaemon, source: str) -> None:
    daemon.documents["/containers/foo/json"] = DOCUMENT
    result = docker("container", "inspect", "--format", source, "foo", check=False)
    mine = _executed(source)
    if result.code == 0:
        assert result.out == mine + "\n"
    else:
        assert mine in result.err


def _executed(source: str) -> str:
    """What comes out, or what is said."""
    try:
        return Template.parse(source).execute(DOCUMENT)
    except (ParseError, ExecutionError) as error:
        return str(error)


INSPECTED = {
    "Id": "a" * 64,
    "Name": "/foo",
    "State": {"Status": "running", "Running": True, "Pid": 7, "ExitCode": 0},
    "ExecIDs": None,
    "HostConfig": {
        "Binds": None,
        "CapAdd": None,
        "Dns": ["10.0.0.1"],
        "ExtraHosts": None,
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m"}},
        "Memory": 0,
        "NanoCpus": 500000000,
        "OomKillDisable": None,
        "PidsLimit": None,
        "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]},
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
    },
    "Mounts": [
        {
            "Type": "bind",
            "Source": "/s",
            "Destination": "/d",
            "Mode": "",
            "RW": True,
            "Propagation": "rprivate",
        }
    ],
    "Config": {
        "Env": ["A=b"],
        "Cmd": None,
        "Labels": {"a": "1"},
        "Image": "box",
        "Volumes": None,
        "OnBuild": None,
    },
    "NetworkSettings": {
        "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "81/tcp": None},
        "Networks": {"bridge": {"IPAddress": "172.17.0.2", "Aliases": None, "IPAMConfig": None}},
    },
}
INSPECTING = [
    "{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}",
    "{{.State.Health}}",
    "{{.State.Health.Status}}",
    "{{range .Mounts}}{{.Name}}|{{.Driver}}|{{.Destination}};{{end}}",
    "{{range $port, $_ := .Config.ExposedPorts}}{{$port}} {{end}}",
    "{{.Config.ExposedPorts}} {{len .Config.ExposedPorts}} {{.Config.Volumes}} {{.Config.StopSignal}}",
    "{{index .Config.Labels \"a\"}}|{{index .Config.Labels \"b\"}}|{{.Config.Labels.a}}|{{.Config.Labels.b}}",
    "{{.Config.Labels}} {{json .Config.Labels}} {{.HostConfig.LogConfig.Config}}",
    "{{.HostConfig.Binds}} {{.HostConfig.CapAdd}} {{len .HostConfig.Binds}} {{json .HostConfig.Binds}}",
    "{{.HostConfig.PidsLimit}} {{json .HostConfig.PidsLimit}} {{.HostConfig.OomKillDisable}}",
    "{{.HostConfig.Init}}",
    "{{.HostConfig.Sysctls}} {{.HostConfig.Tmpfs}} {{.HostConfig.Mounts}} {{.Config.Healthcheck}}",
    "{{.ID}} {{.HostConfig.NanoCPUs}} {{.HostConfig.DNS}} {{.Config.StopTimeout}}",
    "{{.Id}} {{.HostConfig.NanoCpus}} {{.HostConfig.Dns}}",
    "{{.ExecIDs}} {{.SizeRw}} {{.Config.Cmd}} {{join .Config.Env \",\"}}",
    "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.Aliases}} {{.IPAMConfig}}{{end}}",
    "{{(index (index .NetworkSettings.Ports \"80/tcp\") 0).HostPort}}",
    "{{range $p, $c := .NetworkSettings.Ports}}{{$p}} -> {{$c}} {{end}}",
    "{{range $p, $c := .NetworkSettings.Ports}}{{range $c}}{{$p}}:{{.HostPort}} {{end}}{{end}}",
    "{{with .State}}{{.Pid}}{{end}} {{json .HostConfig.RestartPolicy}} {{.HostConfig.RestartPolicy.Name}}",
    "{{index . \"Id\"}} {{index .HostConfig \"NanoCpus\"}} {{len .State}}",
    "{{range $k, $v := .HostConfig.RestartPolicy}}{{$k}}={{$v}} {{end}}",
    "{{.Nope}}",
    "{{.State.Nope}}",
]  # fmt: skip


@pytest.mark.parametrize("source", INSPECTING)
def test_same_inspection(docker: Tool, daemon: FakeDaemon, source: str) -> None:
    """Over the values of Go that docker's client has, which say more than the JSON does."""
    daemon.documents["/containers/foo/json"] = INSPECTED
    result = docker("container", "inspect", "--format", source, "foo", check=False)
    assert _inspected(source) == (result.out if result.code == 0 else result.err)


def _inspected(source: str) -> str:
    """What comes out, or what is said."""
    try:
        return rows.Document(source).inspect(INSPECTED) + "\n"
    except errors.Error as error:
        return f"{error}\n"


def _port(inside: int, outside: int = 0, address: str = "", kind: str = "tcp") -> dict[str, Any]:
    host = {"IP": address, "PublicPort": outside} if outside else {}
    return {"PrivatePort": inside, "Type": kind, **host}


PORTS = [
    _port(99), _port(80, 8123, "127.0.0.1"), _port(81, 8124, "0.0.0.0", "udp"),
    _port(91, 91, "0.0.0.0"), _port(90, 90, "0.0.0.0"), _port(93, 93, "0.0.0.0"), _port(92, kind="sctp"),
    _port(100), _port(7, 8007, "0.0.0.0"), _port(7, 8006, "0.0.0.0"), _port(101),
]  # fmt: skip


def _containers() -> list[dict[str, Any]]:
    return [
        {
            "Id": "a" * 64, "Names": ["/foo"], "Image": "busybox:latest", "ImageID": "sha256:" + "b" * 64,
            "Command": "sh -c 'sleep 1000 and more text here'", "Created": 1700000000, "Ports": [],
            "Labels": {"c.d-x_y": "e"}, "State": "running", "Status": "Up 2 seconds",
            "HostConfig": {"NetworkMode": "none"}, "NetworkSettings": {"Networks": {"none": {}}},
            "Mounts": [{"Type": "bind", "Source": "/a-very-long-source-name", "Destination": "/b"}],
        },
        {
            "Id": "c" * 64, "Names": ["/bar"], "Image": "sha256:" + "d" * 64, "ImageID": "sha256:" + "d" * 64,
            "Command": "true", "Created": 1600000000, "Ports": PORTS, "Labels": {}, "State": "exited",
            "Status": "Exited (0) 4 days ago", "HostConfig": {"NetworkMode": "host"},
            "NetworkSettings": {"Networks": {"host": {}}}, "Mounts": [],
        },
    ]  # fmt: skip


@pytest.mark.parametrize("truncate", [True, False])
@pytest.mark.parametrize(
    "format",
    [
        "",
        "table",
        'table {{.Names}}\\t{{.Label "c.d-x_y"}}\\t{{upper .State}}\\t{{.Mounts}}',
        "{{.ID}} {{.Image}} {{.Command}} {{.CreatedAt}} {{.Labels}} {{.Networks}} {{.LocalVolumes}}",
        "{{json .Names}}",
        "{{.Ports}}",
    ],
)
def test_same_ps(docker: Tool, daemon: FakeDaemon, format: str, truncate: bool) -> None:
    daemon.documents["/containers/json"] = _containers()
    flags = ["--format", format] if format else []
    theirs = docker("ps", *flags, *([] if truncate else ["--no-trunc"])).out
    now = time.time()
    found = [ps.row(summary, truncate=truncate, now=now) for summary in _containers()]
    mine = rows.render(format, found, columns=ps._COLUMNS, headings=ps.HEADINGS, type_=ps._TYPE)
    assert mine + "\n" == theirs


def test_same_headings_of_images(docker: Tool, daemon: FakeDaemon) -> None:
    daemon.documents["/images/json"] = []
    for flags, columns in (([], images._COLUMNS), (["--digests"], images._DIGEST_COLUMNS)):
        mine = rows.render("", [], columns=columns, headings=images.HEADINGS, type_=images._TYPE)
        assert mine + "\n" == docker("images", *flags).out
