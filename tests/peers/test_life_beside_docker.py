"""The life of a container, by docker and by us: what is printed, what is refused and how, exit statuses,
documents and events."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support import compatibility, probe
from support.beside import Both, assert_same, comparable

IMAGE = "busybox:test"


def create(both: Both, name: str, *flags: str, command: str = "sleep 1000") -> None:
    both.run("create", "--network", "none", "--name", name, *flags, IMAGE, *shlex.split(command))


SAME = """
pause created
pause nope
unpause created
unpause running
kill created
kill nope running
kill -s BOGUS running
stop nope created
restart nope
start nope
rename running created
rename running running
rename running +
rename nope x
top created
top nope
top running -eo comm
top running --bogus
port running
port running 80/udp
port nope
diff running
diff nope
wait nope
wait exited
wait exited nope exited
update -m 4k running
update running
update --cpus 1 --cpu-quota 5000 created
update --cpu-period 5 created
update --cpu-shares 1 created
update -m 64m running
update -m 64m --memory-swap 32m running
update --memory-reservation 1k running
update --cpus -1 running
update --cpus 1 --cpu-period 5000 running
update --cpuset-cpus abc running
update --cpuset-mems 99 running
update --pids-limit 0 running
exec created true
exec nope true
exec running sh -c 'exit 7'
run --rm --network none busybox:test id
run --rm --network none --group-add 5 --group-add wheel busybox:test grep Groups /proc/self/status
run --rm --network none -u alice --group-add audio busybox:test grep Groups /proc/self/status
run --rm --network none -h own --domainname example.com busybox:test cat /etc/hostname
run -it --rm busybox:test true
run --rm --network none --tmpfs /x/y busybox:test stat -c %a /x /x/y
run --rm --network none --tmpfs /root busybox:test stat -c %a /root
run --rm --network none --mount type=tmpfs,target=/x busybox:test stat -c %a /x
create -p bogus busybox:test true
create --memory-swappiness 200 busybox:test true
create --env-file /nope busybox:test true
create --label-file /nope busybox:test true
create --device /dev/null:/x:bogus busybox:test true
create --expose bogus busybox:test true
create --security-opt bogus busybox:test true
create --security-opt seccomp=/nope busybox:test true
create --no-healthcheck --health-cmd x busybox:test true
create --log-driver local --log-opt bogus=1 busybox:test true
create --log-driver none --log-opt max-size=1k busybox:test true
create --log-driver syslog --log-opt syslog-address=bogus busybox:test true
run --rm --network none -u alice busybox:test id
run --rm --network none -u 1234 busybox:test id
port running 80/tcp
exec running sh -c 'echo out; echo err >&2'
logs nope
logs exited
logs --tail 1 exited
logs --details exited
logs --since bogus exited
logs --since 0 exited
logs --until 2000-01-01 exited
logs --since 2100-01-01 --tail 1 exited
logs -f --tail 1 exited
logs --tail -1 exited
logs --tail bogus exited
events --since bogus
inspect -f '{{' exited
info -f '{{'
stats --no-stream --format '{{' exited
ps -f publish=bogus
ps -f before=nope
ps -f bogus=x
ps -f status=bogus
ps -a -f name=exited --format '{{.Names}} {{.Image}} {{.Command}} {{.State}} {{.Ports}} {{.Networks}}'
ps -a --format '{{.Names}}' -f status=created
ps -a --format '{{.Names}}' -f exited=3
ps -a --format '{{.Names}}' -f label=a=b
ps -a --format '{{.Names}}' -f volume=/data
ps -a --format '{{.Names}}' -f ancestor=busybox:test -f status=exited
ps -a --format '{{.Names}}' -f health=none -f name=exited
ps -a --format '{{.Names}}' -f before=exited
ps -a --format '{{.Names}}' -f since=created
ps -aq -n 0
ps --format 'table {{.Names}}\\t{{.Status}}' -f name=nothing
ps -s -f name=nothing
stats nope
stats --no-stream -a --format '{{.Name}} {{.MemPerc}} {{.NetIO}}' created
container prune -f --filter bogus=x
container prune -f --filter until=bogus
rm nope
inspect nope
cp running:/nope .
cp running:/etc created:/etc
cp a b
"""


@pytest.fixture
def four(both: Both) -> Both:
    create(both, "created", "--expose", "80", "-v", "/data")
    create(both, "exited", "--label", "a=b", command="sh -c 'echo one; echo two; exit 3'")
    create(both, "running", "--cpus", "0.5")
    both.run("start", "exited")
    for result in both("wait", "exited"):
        assert result.out == "3\n"
    both.run("start", "running")
    return both


def test_messages_and_exit_statuses(four: Both, tmp_path: Path) -> None:
    different = []
    for line in SAME.strip().splitlines():
        try:
            assert_same(four, line, cwd=str(tmp_path))
        except AssertionError as error:
            different.append(str(error))
    assert not different, "\n\n".join(different)


EXECS = """
exec -u nope running true
exec -u 0:nope running true
exec -d -u nope running true
exec -d running nope
exec -w /nope running true
exec -w relative running true
exec running /etc/passwd
exec running sh -c 'kill -9 $$'
exec -u alice running id
exec -u 1234:5678 running id
exec -u 1234 running id
"""


def test_exit_statuses_of_exec(four: Both) -> None:
    """The daemon prints what keeps the process from starting as if it were its output."""
    different = []
    for line in EXECS.strip().splitlines():
        theirs, ours = four(*shlex.split(line))
        same_output = ours.out == theirs.out if ours.code == 0 else ours.out == ""
        if (ours.code, same_output) != (theirs.code, True):
            different.append(f"{line}: {theirs} {ours}")
    assert not different, "\n\n".join(different)
    not_found = four.ours("exec", "running", "nope", check=127)  # 127 since docker 25, 126 before
    assert not_found.err == 'mydocker: exec: "nope": executable file not found in $PATH\n'


def test_a_paused_container(both: Both) -> None:
    create(both, "still")
    both.run("start", "still")
    for line in ("pause still", "pause still", "ps --format {{.Status}}", "start still", "unpause still"):
        if line.startswith("ps"):
            for result in both("ps", "--format", "{{.State}}"):
                assert result.out == "paused\n"
            continue
        assert_same(both, line)


def test_top_prints_the_same_table(both: Both) -> None:
    create(both, "busy")
    both.run("start", "busy")
    theirs, ours = both("top", "busy", "-eo", "pid,ppid,comm,args")
    tables = [re.sub(r"\d+", "0", result.out) for result in (theirs, ours)]
    columns = [[re.split(r" {2,}", line) for line in table.splitlines()] for table in tables]
    assert columns[0] == columns[1]


# -- diff and cp


def test_diff(both: Both) -> None:
    script = (
        "echo x > /new; echo x >> /etc/passwd; rm /etc/group; mkdir -p /a/b; touch /a/b/c; chmod 700 /usr"
    )
    create(both, "changed", command=f"sh -c '{script}'")
    both.run("start", "changed")
    both("wait", "changed")
    theirs, ours = both("diff", "changed")
    assert sorted(ours.out.splitlines()) == sorted(theirs.out.splitlines())


COPIES = """
cp tree cc:/tmp
cp tree cc:/tmp/new
cp tree/. cc:/tmp/new2
cp tree/. cc:/tmp/new
cp tree/ cc:/tmp/slash
cp tree/f cc:/tmp/ff
cp tree/f cc:/tmp/nodir/
cp tree/f cc:/tmp/no/ff
cp tree cc:/tmp/ff
cp tree/f cc:/tmp/tree
cp -a tree cc:/tmp/arch
cp ltree cc:/tmp/l1
cp -L ltree cc:/tmp/l2
cp ltree/ cc:/tmp/l3
cp dangling cc:/tmp/
cp fifo cc:/tmp/fifo
cp cc:/tmp/tree/link .
cp -L cc:/tmp/tree/link l2
cp cc:/tmp/tree out
cp cc:/tmp/tree/ out2
cp cc:/tmp/tree/. out
cp cc:/tmp/tree/f out/
cp cc:/tmp/tree/f nodir/
cp cc:/tmp/tree out/f
cp tree/f cc:tmp/relative
cp tree/sub/.. cc:/tmp/up
"""


def local_tree(place: Path) -> str:
    place.mkdir()
    (place / "tree/sub").mkdir(parents=True)
    (place / "tree/f").write_text("text")
    (place / "tree/sub/g").write_text("deep")
    (place / "tree/link").symlink_to("f")
    (place / "ltree").symlink_to("tree")
    (place / "dangling").symlink_to("nowhere")
    os.mkfifo(place / "fifo")
    for path in (place / "tree", *(place / "tree").rglob("*")):
        os.chown(path, 1234, 5678, follow_symlinks=False)
    for name in ("tree/f", "tree/sub/g", "tree/sub", "tree"):
        os.utime(place / name, ns=(10**18, 10**18))
    return str(place)


def listing(archive: bytes) -> list[str]:
    done = subprocess.run(
        ["tar", "tvf", "-", "--numeric-owner"], input=archive, capture_output=True, check=True
    )
    lines = done.stdout.decode().splitlines()
    return sorted(re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d (?=\S*/$)", "", line) for line in lines)


@pytest.mark.parametrize("state", ["running", "created"])
def test_copies(both: Both, tmp_path: Path, state: str) -> None:
    create(both, "cc")
    if state == "running":
        both.run("start", "cc")
    places = [local_tree(tmp_path / name) for name in ("theirs", "ours")]
    different = []
    for line in COPIES.strip().splitlines():
        words = line.split()
        theirs = both.docker(*words, check=False, cwd=places[0])
        ours = both.ours(*words, check=False, cwd=places[1])
        texts = [comparable(result.err).replace(str(place).lower(), "")
                 for result, place in zip((theirs, ours), places, strict=True)]  # fmt: skip
        if texts[0] != texts[1] or theirs.code != ours.code:
            different.append(f"{line}: {texts} {theirs.code} {ours.code}")
    assert not different, "\n".join(different)
    for path in ("/tmp", "/tmp/", "/tmp/.", "/tmp/tree/f", "/tmp/tree/link", "/etc/passwd"):
        found = [listing(result.stdout) for result in both("cp", f"cc:{path}", "-")]
        assert found[1] == found[0], path
    local = [sorted(p.relative_to(place).as_posix() for p in Path(place).rglob("*")) for place in places]
    assert local[1] == local[0]
    both_diffs = [sorted(result.out.splitlines()) for result in both("diff", "cc")]
    assert both_diffs[1] == both_diffs[0]


# -- inspect

# What names this container, this engine, or a moment.
_OWN = re.compile(
    r"/(Id|Created|Image|LogPath|HostnamePath|HostsPath|ResolvConfPath|Driver)$|/GraphDriver/|/State/(Pid|\w+At)$"
    r"|/Config/Hostname$|/Mounts/\d+/(Name|Source)$|/NetworkSettings/Sandbox\w+$|/Networks/\w+/\w+ID$"
    r"|/Networks/\w+/Aliases$|/State/Health/Log/\d+/(Start|End)$"
    r"|/HostConfig/(Runtime|MaskedPaths)$"
)
# Gone from docker since 20.10, or new since then.
_OF_ANOTHER_VERSION = re.compile(r"/HostConfig/KernelMemory(TCP)?$|/VolumeOptions/DriverConfig$")


def shape(document: Any, path: str = "") -> dict[str, Any]:
    """Every member by its path; a list by its places."""
    if isinstance(document, dict) and document:
        return {k: v for name, value in document.items() for k, v in shape(value, f"{path}/{name}").items()}
    if document in ([], {}):
        document = None  # which of the three it is changed from one docker client to the next
    if path.endswith("/CapAdd") and document:
        document = [name.removeprefix("CAP_") for name in document]  # likewise
    if isinstance(document, list) and document and isinstance(document[0], dict):
        ordered = sorted(document, key=lambda one: str(one.get("Destination")))
        return {k: v for number, one in enumerate(ordered) for k, v in shape(one, f"{path}/{number}").items()}
    return {path: document}


@pytest.mark.parametrize("state", ["created", "running", "paused", "exited"])
def test_inspect_key_by_key(both: Both, tmp_path: Path, state: str) -> None:
    flags = (
        f"-e A=b -l x=y -v /volume -v {tmp_path}:/bind:ro --tmpfs /t -m 64m --memory-swap -1 --cpus 0.5 "
        "--expose 80 -w /tmp -u alice -i --cap-add SYS_PTRACE --ulimit nofile=100 --pids-limit 5 --init "
        "--device /dev/null:/dev/none --add-host h:1.2.3.4"
    )
    ends = state == "exited"
    create(both, "shown", *flags.split(), command="sh -c 'exit 3'" if ends else "sleep 1000")
    if state != "created":
        both.run("start", "shown")
    if state == "paused":
        both.run("pause", "shown")
    if state == "exited":
        both("wait", "shown")
    theirs, ours = (shape(json.loads(result.out)[0]) for result in both("inspect", "shown"))
    missing = {path for path in theirs.keys() - ours.keys() if not _OF_ANOTHER_VERSION.search(path)}
    assert {path for path in missing if not _OWN.search(path)} == set()
    added = ours.keys() - theirs.keys()
    assert {path for path in added if not _OWN.search(path)} == set()
    different = {
        path: (theirs[path], ours[path])
        for path in theirs.keys() & ours.keys()
        if theirs[path] != ours[path] and not _OWN.search(path)
    }
    assert different == {}


def order(document: Any, other: Any, path: str = "") -> dict[str, tuple[list[str], list[str]]]:
    """Where the two write the members that both have one after the other, in another order."""
    if not isinstance(document, dict) or not isinstance(other, dict):
        return {}
    names = [name for name in document if name in other and name not in _ELSEWHERE]
    found = {} if (others := [name for name in other if name in names]) == names else {path: (names, others)}
    for name in names:
        found |= order(document[name], other[name], f"{path}/{name}")
    return found


# These were elsewhere in docker 20.10.
_ELSEWHERE = ("ConsoleSize", "DriverOpts", "HairpinMode", "LinkLocalIPv6Address", "LinkLocalIPv6PrefixLen",
              "MacAddress", "Ports", "SandboxKey")  # fmt: skip

HEALTH = "--health-cmd 'echo no; exit 3' --health-interval 300ms --health-retries 3"
WAYS = [
    (
        "--network inspected --ip 172.28.0.9 --network-alias other --dns 1.2.3.4 --dns-search a.b",
        "sleep 1000",
    ),
    ("--network host", "sleep 1000"),
    ("--pid host --ipc host", "sleep 1000"),
    ("-h own --domainname example.com -t -i --stop-signal INT --stop-timeout 3", "sleep 1000"),
    (f"{HEALTH} --health-timeout 2s", "sleep 1000"),
    ("--restart on-failure:2", "sh -c 'exit 4'"),
    ("--restart always", "sleep 1000"),
    ("--log-opt max-size=1m --log-opt labels=b,a --log-opt env=X -l b=1 -l a=2 -e X=1", "sleep 1000"),
    ("--log-driver local", "sleep 1000"),
    ("--log-driver none", "sleep 1000"),
    (
        "-v one:/a -v one:/b:ro -v BIND:/c:ro -v BIND:/d:z --mount type=tmpfs,target=/f,tmpfs-size=1m "
        "--mount type=bind,source=BIND,target=/g,readonly --mount type=volume,source=two,target=/h "
        "--mount type=volume,source=three,target=/i,volume-nocopy --tmpfs /j:size=1m",
        "sleep 1000",
    ),
    (
        "--read-only --security-opt no-new-privileges --ulimit nofile=100:200 --sysctl kernel.msgmax=1000 "
        "--sysctl kernel.msgmnb=2000 --group-add 5 --oom-score-adj 5 --shm-size 1m --cpu-shares 100",
        "sleep 1000",
    ),
]


@pytest.mark.parametrize(("flags", "command"), WAYS, ids=[flags.split("=")[0][:30] for flags, _ in WAYS])
def test_inspect_of_many_ways(both: Both, tmp_path: Path, flags: str, command: str) -> None:
    words = shlex.split(flags.replace("BIND", str(tmp_path)))
    networks = [] if "--network" in words else ["--network", "none"]
    if "inspected" in words:
        both.run("network", "create", "--subnet", "172.28.0.0/16", "--driver", "bridge", "inspected")
    try:
        both.run("run", "-d", "--name", "shown", *networks, *words, IMAGE, *shlex.split(command))
        if "--restart" in words and command == "sleep 1000":
            both.run("restart", "-t", "0", "shown")
        if "on-failure:2" in words:
            wait_until(both, "{{.State.Status}} {{.RestartCount}}", "exited 2")
        if "--health-cmd" in words:
            wait_until(both, "{{len .State.Health.Log}} {{.State.Health.Status}}", "5 unhealthy")
        theirs, ours = (json.loads(result.out)[0] for result in both("inspect", "shown"))
    finally:
        both("rm", "-fv", "shown")
        both("network", "rm", "inspected")
    for each in (theirs, ours):
        if "Health" in each["State"]:  # which goes on
            each["State"]["Health"].pop("FailingStreak")
            each.pop("ExecIDs")
        each["HostConfig"]["Binds"] = sorted(each["HostConfig"]["Binds"] or ())  # docker's have no order
    left, right = shape(theirs), shape(ours)
    different = {
        path: (left.get(path, "missing"), right.get(path, "missing"))
        for path in left.keys() | right.keys()
        if left.get(path, "missing") != right.get(path, "missing")
        and not _OWN.search(path)
        and not _OF_ANOTHER_VERSION.search(path)
    }
    assert different == {}
    ids = [path for path in left if re.search(r"/Networks/\w+/\w+ID$", path)]
    assert ids
    assert [(path, len(right[path])) for path in ids] == [(path, len(left[path])) for path in ids]
    assert order(theirs, ours) == {}


def wait_until(both: Both, template: str, wanted: str) -> None:
    end = time.monotonic() + 30
    while any(result.out.strip() != wanted for result in both("inspect", "-f", template, "shown")):
        assert time.monotonic() < end, both("inspect", "-f", template, "shown")
        time.sleep(0.05)


def test_types_of_what_may_differ(both: Both) -> None:
    create(both, "typed")
    both.run("start", "typed")
    theirs, ours = (shape(json.loads(result.out)[0]) for result in both("inspect", "typed"))
    assert {path: type(value) for path, value in ours.items() if path in theirs} == {
        path: type(value) for path, value in theirs.items() if path in ours
    }


# -- events

LIFE = """
run -d --name e1 --network none --label a=b -v /vol busybox:test sleep 1000
exec e1 sh -c 'exit 3'
pause e1
unpause e1
rename e1 e2
update --cpus 0.5 e2
top e2
cp e2:/etc/passwd -
kill -s WINCH e2
stop -t 0 e2
start e2
restart -t 0 e2
export e2
rm -fv e2
run --rm --network none --name e3 busybox:test true
"""


@contextlib.contextmanager
def listening(start: Callable[..., subprocess.Popen[bytes]]) -> Iterator[list[dict[str, Any]]]:
    """What ``events`` prints up to the end of the container e3, to be looked at after the ``with`` block."""
    process = start("events", "--since", f"{time.time():.6f}", "--format", "{{json .}}")
    assert process.stdout is not None
    heard: list[dict[str, Any]] = []
    try:
        yield heard
        for line in process.stdout:
            heard.append(json.loads(line))
            if (heard[-1]["Action"], heard[-1]["Actor"]["Attributes"].get("name")) == ("destroy", "e3"):
                break
    finally:
        process.terminate()
        process.communicate(timeout=20)


def told(heard: list[dict[str, Any]]) -> list[tuple[str, str, dict[str, str]]]:
    """Type, action and attributes, without what is of a network, of cp's own mounts, or of this run."""
    found = []
    copying = [n for n, one in enumerate(heard) if one["Action"] == "archive-path"]
    for number, one in enumerate(heard):
        if one["Type"] == "network":
            continue
        if one["Type"] == "volume" and any(abs(number - place) == 1 for place in copying):
            continue
        attributes = {
            name: re.sub(r"[0-9a-f]{64}", "<id>", value)
            for name, value in one["Actor"]["Attributes"].items()
            if name != "execDuration"
        }
        found.append((one["Type"], one["Action"], attributes))
    return found


def test_events(both: Both) -> None:
    def docker_start(*words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*both.docker.prefix, *words],
            env={**os.environ, **both.docker.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    with listening(docker_start) as theirs, listening(both.ours.popen) as ours:
        for line in LIFE.strip().splitlines():
            for result in both(*shlex.split(line)):
                assert result.code in (0, 3), result
    assert told(ours) == told(theirs)
    assert {tuple(one) for one in ours} == {tuple(one) for one in theirs if one["Type"] != "network"}


# -- docs/compatibility.md


def test_every_flag_of_docker_is_taken_or_refused_by_name() -> None:
    program = probe.program("docker")
    if program is None:
        pytest.skip("needs docker (see tests/apt-packages.txt)")
    rows = list(compatibility.rows(compatibility.ask(program)))
    assert len([row for row in rows if row.flag]) > 200
    unknown = {row.flag for row in rows if row.remark.startswith("unknown")}
    assert unknown <= {
        "-t, --time",
        "--kubeconfig",
    }  # --timeout by now, taken under both names; of old docker
    assert {row.command for row in rows if "no such" in row.remark} == {"image build"}


def test_the_page_says_what_is_true() -> None:
    """Rows of the page, made with some docker client, against the commands as they are now."""
    page = Path(__file__).parents[2].joinpath("docs/compatibility.md").read_text()
    command = ""
    checked = 0
    for line in page.splitlines():
        cells = re.fullmatch(r"\| (`(?P<command>[^`]+)`)? ?\| (`(?P<flag>[^`]+)`)? ?\| (?P<here>.*) \|", line)
        if cells is None:
            continue
        command = cells["command"] or command
        ours = compatibility.our_command(tuple(command.split()))
        if ours is None:
            assert cells["here"] == "refused: there is no such command yet", command
            continue
        if not cells["flag"]:
            continue
        name = cells["flag"].rpartition("--")[2]
        (flag,) = [flag for flag in ours.flags if flag.name == name]
        reason = compatibility.refusal(flag)
        assert cells["here"] == (f"refused: {reason}" if reason else "yes"), (command, name)
        checked += 1
    assert checked > 200
