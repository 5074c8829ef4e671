"""An init that waits for its container: what it is in, who takes it, and that nothing is left of it."""

from __future__ import annotations

import errno
import functools
import glob
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import pytest

from support import command, leaks, probe
from support.command import Runner
from support.waiting import wait_until

KINDS = ("net", "ipc", "uts", "pid")


@dataclass(frozen=True)
class Server:
    """A forkserver of the test's own, and what waits there."""

    directory: str
    mydocker: Runner

    def notes(self) -> list[str]:
        return [os.path.basename(path) for path in glob.glob(f"{self.directory}/waiting/*")]

    def wait(self) -> tuple[str, int]:
        """The identifier that the next container will have, and the init that waits for it."""
        return wait_until(self._waiting, "an init that waits")[0]

    def _waiting(self) -> list[tuple[str, int]]:
        """Those that have let go of what they have from their builder."""
        found = [(identifier, processes(identifier)) for identifier in self.notes()]
        return [(name, pids[0]) for name, pids in found if len(pids) == 1 and len(holders(name)) == 1]


@pytest.fixture
def server(mydocker: Runner, image: str) -> Iterator[Server]:  # noqa: ARG001 - the image is there then
    directory = tempfile.mkdtemp(prefix="mdw-")
    runner = Runner(mydocker.program, mydocker.root, mydocker.state, {"MYDOCKER_FORKSERVER": directory})
    runner("ps")
    yield Server(directory, runner)
    runner.remove_all()
    # builders outlive the server for a moment, even one that has yet to write its note, and take that away
    wait_until(lambda: not _stop(directory), "what serves to end")
    assert glob.glob(f"{directory}/waiting/*") == []
    shutil.rmtree(directory)


def _stop(directory: str) -> set[int]:
    """End the server there, also one that has only begun; what lives on yet."""
    living = leaks.serving(directory)
    for pid in living & leaks.forkservers():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return living


def _is_gone(pid: int) -> bool:
    return not os.path.exists(f"/proc/{pid}")


def places(identifier: str) -> list[str]:
    """Its cgroup in each hierarchy that has it."""
    found = [f"{place}/mydocker/{identifier}" for place in set(probe.cgroup_hierarchies().values())]
    return [place for place in found if os.path.isdir(place)]


def processes(identifier: str) -> list[int]:
    """What is in its cgroups, in all of them alike."""
    found = []
    for place in places(identifier):
        try:
            with open(f"{place}/cgroup.procs") as file:
                found.append([int(line) for line in file])
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV):  # it has just been removed
                raise
    return found[0] if found and all(each == found[0] for each in found) else []


def holders(identifier: str) -> list[int]:
    """Who holds its note: the builder."""
    return [
        p for p in leaks.pids() if any(d.endswith(f"/waiting/{identifier}") for d in leaks.descriptors(p))
    ]


def inode(pid: int | str, kind: str) -> int:
    return os.stat(f"/proc/{pid}/ns/{kind}").st_ino


def test_what_it_is_in(server: Server) -> None:
    """Namespaces of its own but for the mounts, and the cgroups of its container in every hierarchy."""
    identifier, pid = server.wait()
    assert len(places(identifier)) == len(set(probe.cgroup_hierarchies().values()))
    for kind in KINDS:
        assert inode(pid, kind) != inode("self", kind), kind
    for kind in ("mnt", "user", "time"):
        assert inode(pid, kind) == inode("self", kind), kind
    wait_until(lambda: {name.partition(":")[0] for name in leaks.descriptors(pid)} == {"/dev/null", "socket"})


def test_it_becomes_the_containers_init(server: Server, image: str) -> None:
    identifier, pid = server.wait()
    spaces = {kind: inode(pid, kind) for kind in KINDS}
    limits = ("--memory", "64m", "--pids-limit", "20", "--cpus", "0.5")
    assert server.mydocker("run", "-d", *limits, image, "sleep", "100").line == identifier
    found = server.mydocker.inspect(identifier)
    assert found["State"]["Pid"] == pid
    assert {kind: inode(pid, kind) for kind in KINDS} == spaces
    assert inode(pid, "mnt") != inode("self", "mnt")
    assert identifier not in server.notes()
    values = {
        f"{p}/{name}" for p in places(identifier) for name in ("pids.max",) if os.path.exists(f"{p}/{name}")
    }
    assert [open(path).read() for path in values] == ["20\n"]  # noqa: SIM115
    server.mydocker("rm", "-f", identifier)
    assert places(identifier) == []


def test_its_network_has_the_parameters_of_a_containers(server: Server, image: str) -> None:
    """So that the container need not set them; what somebody asks for is set all the same."""
    wanted = {
        "net.ipv4.ip_unprivileged_port_start": "0",
        "net.ipv4.ping_group_range": "0\t2147483647",
        "net.ipv6.conf.default.disable_ipv6": "1",
    }
    names = [f"/proc/sys/{name.replace('.', '/')}" for name in wanted]
    _, pid = server.wait()
    enter = ["nsenter", "--target", str(pid), "--net", "cat", *names]
    wait_until(lambda: command.run(enter).out.splitlines() == [*wanted.values()])
    asked = ("--sysctl", "net.ipv4.ip_unprivileged_port_start=99")
    identifier = server.mydocker("run", "-d", *asked, image, "sleep", "100").line
    assert server.mydocker.inspect(identifier)["State"]["Pid"] == pid
    inside = server.mydocker("exec", identifier, "cat", *names).out.splitlines()
    assert inside == ["99", *[*wanted.values()][1:]]
    server.mydocker("rm", "-f", identifier)


def test_every_container_takes_one(server: Server, image: str) -> None:
    for _ in range(5):
        identifier, _ = server.wait()
        assert server.mydocker("run", "--rm", image, "hostname").line == identifier[:12]


def test_descriptors_arrive_under_their_numbers(server: Server, image: str, tmp_path: object) -> None:
    """Bind mounts are opened before, in a process of another table; some two hundred at most."""
    for count in (3, 150, 230):
        identifier, pid = server.wait()
        for number in range(count):
            with open(f"{tmp_path}/{number}", "w") as file:
                file.write(str(number))
        mounts = [text for n in range(count) for text in ("-v", f"{tmp_path}/{n}:/given/{n}")]
        script = f"for n in $(seq 0 {count - 1}); do test $(cat /given/$n) = $n || echo $n; done; echo done"
        assert server.mydocker("run", "--rm", *mounts, image, "sh", "-c", script).line == "done"
        wait_until(functools.partial(_is_gone, pid), "the one that waited")
        assert places(identifier) == []


def test_mounts_made_since_are_seen_and_none_is_kept_busy(
    server: Server, image: str, tmp_path: object
) -> None:
    server.wait()
    subprocess.run(["mount", "-t", "tmpfs", "late", str(tmp_path)], check=True)
    with open(f"{tmp_path}/file", "w") as file:
        file.write("late")
    try:
        assert (
            server.mydocker("run", "--rm", "-v", f"{tmp_path}:/late", image, "cat", "/late/file").out
            == "late"
        )
        _, pid = server.wait()
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
    with open(f"/proc/{pid}/mountinfo") as file:
        assert str(tmp_path) not in file.read()


@pytest.mark.parametrize(
    "options",
    [
        ("--pid", "host"),
        ("--network", "host"),
        ("--ipc", "host"),
        ("--uts", "host"),
        ("--cgroup-parent", "mydocker/deeper"),
        ("--pid", "host", "--network", "host", "--ipc", "host", "--uts", "host"),
    ],
)
def test_what_it_does_not_fit(server: Server, image: str, options: tuple[str, ...]) -> None:
    """The container is in the namespaces that it asked for, and nothing is left of what waited."""
    identifier, _ = server.wait()
    script = f"for kind in {' '.join(KINDS)}; do readlink /proc/self/ns/$kind; done"
    shown = server.mydocker("run", "--rm", *options, image, "sh", "-c", script).out
    inside = {line.partition(":")[0]: int(line.partition("[")[2].rstrip("]")) for line in shown.split()}
    shared = {options[i + 1 : i + 2] and options[i].strip("-") for i in range(0, len(options), 2)}
    for name, kind in (("pid", "pid"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts")):
        assert (inside[kind] == inode("self", kind)) == (name in shared), kind
    assert places(identifier) == []
    assert identifier not in server.notes()
    if "--cgroup-parent" in options:
        leaks.remove_cgroups("mydocker/deeper")


def test_one_that_is_started_again_has_its_own(server: Server, image: str) -> None:
    identifier, _ = server.wait()
    assert server.mydocker("create", image, "hostname").line != identifier
    name = server.mydocker("ps", "-lq", "--no-trunc").line
    assert server.mydocker("start", "-a", name).line == name[:12]
    wait_until(lambda: places(name) == [], "its cgroups to go")
    taken, _ = server.wait()
    assert taken != name
    server.mydocker("rm", name)


@pytest.mark.parametrize("victim", ["init", "builder", "monitor", "server"])
def test_killed_while_it_waits(server: Server, image: str, victim: str) -> None:
    """The next container has all that it should have, and of what was killed nothing is left."""
    identifier, pid = server.wait()
    [builder] = holders(identifier)
    with open(f"/proc/{builder}/stat") as file:
        monitor = int(file.read().rpartition(")")[2].split()[1])
    with open(f"/proc/{monitor}/stat") as file:
        parent = int(file.read().rpartition(")")[2].split()[1])
    os.kill({"init": pid, "builder": builder, "monitor": monitor, "server": parent}[victim], signal.SIGKILL)
    if victim in ("monitor", "server"):  # the builder sees it, and clears up
        wait_until(lambda: not places(identifier), "the cgroups to go")
    script = "cat /proc/self/cgroup | wc -l; ps | wc -l"
    assert server.mydocker("run", "--rm", image, "sh", "-c", script).out.split()
    wait_until(lambda: not places(identifier) and identifier not in server.notes(), f"{identifier} to go")
    wait_until(lambda: _is_gone(pid), "the init to go")
    server.wait()


def test_a_limit_that_is_little_more_than_an_init(server: Server, image: str) -> None:
    server.wait()
    assert server.mydocker("run", "--rm", "--memory", "6m", image, "echo", "fits").line == "fits"


def test_explained(server: Server, image: str) -> None:
    """The steps show what is so in the end, each limit once."""
    identifier, pid = server.wait()
    spaces = {kind: inode(pid, kind) for kind in KINDS}
    told = server.mydocker("run", "--rm", "--explain", image, "true").err
    for kind, name in (("net", "network"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid")):
        assert f"{name} {inode('self', kind)} -> {spaces[kind]}" in told
    assert told.count(f"/mydocker/{identifier}/devices.list") <= 1
