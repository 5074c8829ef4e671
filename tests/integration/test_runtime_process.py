"""Starting, adding and ending processes; errors, hooks, terminals, what an observer is told."""

from __future__ import annotations

import json
import os
import select
import signal
import time
from typing import Any

import pytest

from mydocker.errors import CommandNotExecutable, CommandNotFound, Conflict, InvalidArgument, StartFailed
from mydocker.linux.pidfd import has_exited
from mydocker.runtime import task as tasks
from mydocker.runtime.create import create
from support import bundle
from support.bundle import document, run, run_document, running


def children() -> set[str]:
    """The children of this process, zombies too."""
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return set(file.read().split())


# -- the program ------------------------------------------------------------------------------------------


def test_argv_is_a_list_to_the_end(busybox_rootfs: str) -> None:
    words = ["printf", "[%s]", "a b", "", "$x", "'", "\n", "ü"]
    assert run_document(document(busybox_rootfs, words)).out == "[a b][][$x]['][\n][ü]"


@pytest.mark.parametrize(
    ("line", "code"), [("exit 0", 0), ("exit 17", 17), ("sh -c 'kill -9 $$'; exit $?", 137)]
)
def test_the_exit_code(busybox_rootfs: str, line: str, code: int) -> None:
    assert run(busybox_rootfs, line).code == code


def test_death_by_signal_is_128_and_the_number(busybox_rootfs: str) -> None:
    with running(busybox_rootfs) as task:
        task.kill(signal.SIGKILL)
        assert task.wait(5) == 137


@pytest.mark.parametrize(
    ("words", "error", "text"),
    [
        (["nosuch"], CommandNotFound, r'exec: "nosuch": executable file not found in \$PATH'),
        (
            ["/bin/nosuch"],
            CommandNotFound,
            'exec: "/bin/nosuch": stat /bin/nosuch: no such file or directory',
        ),
        (["/etc/not-executable"], CommandNotExecutable, 'exec: "/etc/not-executable": permission denied'),
        (["/etc"], CommandNotExecutable, 'exec: "/etc": is a directory'),
        ([""], CommandNotFound, "empty"),
        ([], InvalidArgument, "args is empty"),
    ],
)
def test_commands_that_cannot_be_executed(
    busybox_rootfs: str, words: list[str], error: type[Exception], text: str
) -> None:
    before = children()
    with pytest.raises(error, match=text):
        run_document(document(busybox_rootfs, words))
    assert children() == before
    with running(busybox_rootfs) as task, pytest.raises(error, match=text):
        bundle_exec(task, words)


def bundle_exec(task: tasks.Task, words: list[str]) -> None:
    with open("/dev/null", "r+b") as null:
        task.exec({"args": words}, tasks.Stdio(*[null.fileno()] * 3))


@pytest.mark.parametrize(
    ("content", "error", "text"),
    [
        (b"#!/no/such/interpreter\n", CommandNotFound, "interpreter"),
        (b"\x7fELF garbage", CommandNotExecutable, "exec format error"),
        (b"", CommandNotExecutable, "exec format error"),
    ],
)
def test_what_execve_itself_refuses(
    busybox_rootfs: str, tmp_path: Any, content: bytes, error: type[Exception], text: str
) -> None:
    program = tmp_path / "program"
    program.write_bytes(content)
    program.chmod(0o755)
    entries = document("/", ["x"])["mounts"]
    entries.append({"destination": "/tmp", "type": "bind", "source": str(tmp_path), "options": ["bind"]})
    with pytest.raises(error, match=text):
        run_document(document(busybox_rootfs, ["/tmp/program"], mounts=entries))


def test_the_path_is_searched_in_the_container(busybox_rootfs: str, tmp_path: Any) -> None:
    (tmp_path / "mine").write_text("#!/bin/sh\necho mine\n")
    (tmp_path / "mine").chmod(0o755)
    entries = document("/", ["x"])["mounts"]
    entries.append({"destination": "/tmp", "type": "bind", "source": str(tmp_path), "options": ["bind"]})
    spec = document(busybox_rootfs, ["mine"], mounts=entries, process={"env": ["PATH=/nowhere:/tmp:/bin"]})
    assert run_document(spec).out == "mine\n"


# -- life -------------------------------------------------------------------------------------------------


def test_created_waits_until_it_is_started(busybox_rootfs: str) -> None:
    read, write = os.pipe()
    task = create(
        document(busybox_rootfs, ["echo", "ran"]), id="waits", bundle="/", stdio=tasks.Stdio(0, write, write)
    )
    try:
        os.close(write)
        assert not select.select([read], [], [], 0.2)[0]
        assert not has_exited(task.pidfd)
        task.start()
        assert os.read(read, 100) == b"ran\n"
        with pytest.raises(Conflict):
            task.start()
        assert task.wait(5) == 0
    finally:
        task.delete()
        os.close(read)


def test_delete_may_be_called_again_and_in_every_state(busybox_rootfs: str) -> None:
    before = children()
    for started in (False, True):
        with open("/dev/null", "r+b") as null:
            stdio = tasks.Stdio(*[null.fileno()] * 3)
            task = create(document(busybox_rootfs, ["sleep", "100"]), id="x", bundle="/", stdio=stdio)
        if started:
            task.start()
        paths = task.cgroup.paths() if task.cgroup is not None else {}
        task.delete()
        task.delete()
        assert not any(os.path.exists(path) for path in paths.values())
    assert children() == before


def test_init_ends_with_its_runtime(busybox_rootfs: str) -> None:
    """Crash-only: a monitor that is killed takes the container with it."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        null = os.open("/dev/null", os.O_RDWR)
        spec = document(busybox_rootfs, ["sleep", "1000"])
        stdio = tasks.Stdio(null, null, null)
        task = create(spec, id="x", bundle="/", stdio=stdio, parent_death_signal=signal.SIGKILL)
        task.start()
        paths = ",".join(task.cgroup.paths().values() if task.cgroup is not None else [])
        os.write(write, f"{task.pid} {paths}".encode())
        signal.pause()
        os._exit(0)
    init, _, paths = os.read(read, 65536).decode().partition(" ")
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    deadline = time.monotonic() + 5
    while os.path.exists(f"/proc/{init}/exe") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not os.path.exists(f"/proc/{init}/root/bin")
    for path in paths.split(","):
        while True:  # busy until the last of init is gone
            try:
                os.rmdir(path)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
    os.close(read)
    os.close(write)


def test_the_cgroup_of_init_and_of_an_added_process(busybox_rootfs: str) -> None:
    with running(busybox_rootfs) as task:
        assert task.cgroup is not None
        with open(f"/proc/{task.pid}/cgroup") as file:
            of_init = file.read()
        assert all(line.endswith(task.spec["linux"]["cgroupsPath"]) for line in of_init.splitlines())
        added = bundle.added(task, "cat /proc/self/cgroup")
        assert added.lines == [line.rpartition(":")[0] + ":/" for line in of_init.splitlines()]


# -- added processes --------------------------------------------------------------------------------------


def test_an_added_process_is_in_all_the_containers_namespaces(busybox_rootfs: str) -> None:
    kinds = ("mnt", "pid", "net", "ipc", "uts", "cgroup", "user", "time")
    with running(busybox_rootfs) as task:
        result = bundle.added(task, "for n in " + " ".join(kinds) + "; do readlink /proc/self/ns/$n; done")
        assert result.lines == [os.readlink(f"/proc/{task.pid}/ns/{kind}") for kind in kinds]
        assert result.code == 0


def test_an_added_process_has_the_containers_confinement_unless_told_otherwise(busybox_rootfs: str) -> None:
    seccomp = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}],
    }
    with running(busybox_rootfs, linux={"seccomp": seccomp}) as task:
        found = bundle.status(bundle.added(task, "cat /proc/self/status").out)
        assert found["Seccomp"] == "2"
        assert found["CapBnd"].lstrip("0") == "e3"
        result = bundle.added(
            task,
            "id -u; pwd; echo $A; umask",
            user={"uid": 7, "gid": 7, "umask": 0o77},
            cwd="/etc",
            env=["A=b"],
        )
        assert result.lines == ["7", "/etc", "b", "0077"]


def test_nothing_can_be_added_to_what_has_ended(busybox_rootfs: str) -> None:
    with running(busybox_rootfs) as task:
        task.kill(signal.SIGKILL)
        task.wait(5)
        with pytest.raises(Conflict, match="not running"):
            bundle.added(task, "true")


def test_an_added_process_in_a_user_namespace_cannot_be_looked_into_before_execve(
    busybox_rootfs: str,
) -> None:
    """It is not dumpable from before it enters: CVE-2019-5736 begins with /proc/<pid>/exe."""
    os.chmod(os.path.dirname(busybox_rootfs), 0o755)
    maps = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    kinds = bundle.namespaces("user", "mount", "pid", "network", "ipc", "uts", "cgroup")
    spy = (
        "while :; do for p in /proc/[0-9]*; do readlink $p/exe; done; done | grep --line-buffered -v busybox"
    )
    linux = {"namespaces": kinds, "uidMappings": maps, "gidMappings": maps}
    spec = document(busybox_rootfs, ["sh", "-c", spy], linux=linux)
    read, write = os.pipe()
    with open("/dev/null", "r+b") as null:
        task = create(spec, id="spy", bundle="/", stdio=tasks.Stdio(null.fileno(), write, null.fileno()))
    os.close(write)
    try:
        task.start()
        for _ in range(20):
            assert bundle.added(task, "true").code == 0
        assert not select.select([read], [], [], 0)[0], os.read(read, 1000)
    finally:
        task.delete()
        os.close(read)


# -- terminal ---------------------------------------------------------------------------------------------


def output_of(console: int) -> str:
    data = b""
    while True:
        try:
            chunk = os.read(console, 65536)
        except OSError:
            return data.decode()
        if not chunk:
            return data.decode()
        data += chunk


def test_the_terminal_is_the_containers_own(busybox_rootfs: str) -> None:
    script = "tty; stty size; ls -l /proc/self/fd/0 | sed 's/.*-> //'; stat -c %t:%T:%u $(tty) /dev/console; "
    script += "echo > /dev/tty"
    spec = document(busybox_rootfs, ["sh", "-c", script], process={"terminal": True})
    task = create(spec, id="tty", bundle="/", stdio=None, console_rows_columns=(33, 99))
    try:
        assert task.console is not None
        task.start()
        assert task.wait(5) == 0
        assert output_of(task.console).split("\r\n")[:5] == [
            "/dev/pts/0",
            "33 99",
            "/dev/pts/0",
            "88:0:0",
            "88:0:0",
        ]
    finally:
        if task.console is not None:
            os.close(task.console)
        task.delete()


def test_an_added_process_has_a_terminal_too(busybox_rootfs: str) -> None:
    with running(busybox_rootfs) as task:
        new = task.exec(
            {"args": ["sh", "-c", "tty; stty size; echo > /dev/tty && echo controlling"], "terminal": True},
            None,
            console_rows_columns=(10, 20),
        )
        assert new.console is not None
        assert new.wait(5) == 0
        assert output_of(new.console).split("\r\n")[:4] == ["/dev/pts/0", "10 20", "", "controlling"]
        os.close(new.console)
        os.close(new.pidfd)


# -- hooks ------------------------------------------------------------------------------------------------

KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


def hook(tmp_path: Any, name: str, body: str) -> dict[str, Any]:
    script = tmp_path / name
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(0o755)
    return {"path": str(script), "args": [name, "one"], "env": ["PATH=/bin:/usr/bin", "MARK=x"]}


def test_hooks_run_in_order_with_the_state(busybox_rootfs: str, tmp_path: Any) -> None:
    log = tmp_path / "log"
    body = f'printf "%s %s %s " "${{0##*/}}" "$1" "$MARK" >> {log}; '
    body += f'readlink /proc/self/ns/mnt | tr "\\n" " " >> {log}; '
    body += f"tr -d '\\n' >> {log}; echo >> {log}"
    hooks = {kind: [hook(tmp_path, kind, body)] for kind in KINDS}
    # startContainer is looked up and run inside of the container.
    inside = "echo startContainer $MARK > /tmp/log; cat >> /tmp/log"
    hooks["startContainer"] = [
        {"path": "/bin/sh", "args": ["sh", "-c", inside], "env": ["PATH=/bin", "MARK=x"]}
    ]
    entries = document("/", ["x"])["mounts"]
    entries.append({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"})
    spec = document(busybox_rootfs, ["cat", "/tmp/log"], hooks=hooks, mounts=entries, annotations={"a": "b"})
    result = run_document(spec, bundle=str(tmp_path))
    assert result.code == 0, result.err
    name, _, text = result.out.partition("\n")
    assert name == "startContainer x"
    assert json.loads(text)["status"] == "created"
    seen = [line.split(" ", 4) for line in log.read_text().splitlines()]
    assert [fields[0] for fields in seen] == [kind for kind in KINDS if kind != "startContainer"]
    host = os.readlink("/proc/self/ns/mnt")
    statuses = ["creating", "creating", "creating", "running", "stopped"]
    for (kind, one, mark, mnt, text), status in zip(seen, statuses, strict=True):
        state = json.loads(text)
        assert (one, mark, state["status"], state["bundle"]) == ("one", "x", status, str(tmp_path))
        assert state["annotations"] == {"a": "b"}
        assert ("pid" in state) == (status != "stopped")
        assert (mnt == host) == (kind != "createContainer")


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer", "startContainer"])
def test_a_hook_that_fails_stops_the_container(busybox_rootfs: str, kind: str) -> None:
    before = children()
    failing = {"path": "/bin/sh", "args": ["sh", "-c", "echo the reason >&2; exit 4"], "env": ["PATH=/bin"]}
    with pytest.raises(StartFailed, match=f"{kind} hook /bin/sh failed with status 4: the reason"):
        run(busybox_rootfs, "true", hooks={kind: [failing]})
    assert children() == before


def test_a_hook_that_takes_too_long_is_killed(busybox_rootfs: str) -> None:
    slow = {"path": "/bin/sleep", "args": ["sleep", "60"], "timeout": 1}
    began = time.monotonic()
    with pytest.raises(StartFailed, match="did not end within 1 s"):
        run(busybox_rootfs, "true", hooks={"createRuntime": [slow]})
    assert time.monotonic() - began < 10


# -- observer ---------------------------------------------------------------------------------------------


def test_an_observer_sees_each_step_and_what_the_kernel_shows(busybox_rootfs: str) -> None:
    events = bundle.events(busybox_rootfs, "true", hostname="seen")
    shown = {event.step: event.observed for event in events}
    assert shown["set the host name to seen"] == "uname -n: seen"
    steps = list(shown)
    assert steps.index("mount proc on /proc") < steps.index(
        "pivot_root into the root file system and detach the host's"
    )
    assert any(" -> " in text and "pid" in text for text in shown.values())
    assert any("proc proc" in text for text in shown.values())
    assert "seccomp mode none" in shown["execve sh -c true"]
    assert "no_new_privs 0" in shown["execve sh -c true"]
    assert any(":/mydocker-test" in text for text in shown.values())
