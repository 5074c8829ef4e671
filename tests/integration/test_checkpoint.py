"""``checkpoint`` and ``restore``: a container on disk and back, by criu. It works in the guest of test-vm."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support import bundle, command, probe
from support.bundle import namespaces
from support.oci import Runtime

TMPFS = {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=1777"]}
COUNT = "i=0; while [ ! -e /tmp/end ]; do i=$((i+1)); echo $i > /tmp/count; sleep 0.1; done; exit 7"
MAPPED = [{"containerID": 0, "hostID": 100_000, "size": 1000}]


@pytest.fixture(scope="module", autouse=True)
def _criu() -> None:
    if reason := probe.missing_programs("criu"):
        pytest.skip(reason)
    checked = command.run(["criu", "check"], check=False)
    if checked.code:
        pytest.skip(f"criu does not run on this kernel: {checked.err.splitlines()[-1:]}")


class Images:
    """A container that counts, its bundles, and a directory for what criu writes."""

    def __init__(self, runtime: Runtime, rootfs: str, directory: Path) -> None:
        self.runtime = runtime
        self.rootfs = rootfs
        self.directory = directory
        self.images = str(directory / "images")
        self.work = str(directory / "work")

    def bundle(self, script: str = COUNT, *mounts: dict[str, Any], **changes: Any) -> str:
        document = bundle.document(self.rootfs, ["sh", "-c", script], **changes)
        document["mounts"] += [TMPFS, *mounts]
        return self.runtime.bundle_of(document)

    def detached(self, *arguments: str, status: int = 0) -> str:
        """What is said. The streams are a plain file, and not one without a name, which criu cannot open
        again."""
        argv = [self.runtime.program, "--root", self.runtime.root, *arguments]
        with open(self.directory / "out", "w+") as out:
            done = subprocess.run(argv, stdin=out, stdout=out, stderr=out, timeout=60)
        said = (self.directory / "out").read_text()
        assert done.returncode == status, said
        return said

    def start(self, id: str, place: str, *options: str) -> None:
        """Have it count to 3 at least."""
        self.detached("run", "--detach", "--bundle", place, *options, id)
        _wait_for(lambda: self.count(id) > 3)

    def checkpoint(self, id: str, *options: str, check: bool | int = True) -> command.Result:
        where = ("--image-path", self.images, "--work-path", self.work)
        return self.runtime("checkpoint", *where, *options, id, check=check)

    def restore(self, id: str, place: str, *options: str) -> None:
        self.detached("restore", "--detach", *self._from(place), *options, id)

    def refused(self, id: str, place: str, *options: str) -> str:
        """What is said of a restore that fails."""
        return self.detached("restore", "--detach", *self._from(place), *options, id, status=1)

    def _from(self, place: str) -> tuple[str, ...]:
        return ("--bundle", place, "--image-path", self.images, "--work-path", self.work)

    def count(self, id: str) -> int:
        for _ in range(100):
            text = self.runtime("exec", id, "cat", "/tmp/count", check=False).out.strip()
            if text:
                return int(text)
            time.sleep(0.1)
        raise AssertionError("it never counted")

    def goes_on(self, id: str, count: int) -> None:
        """It counts from where it was on."""
        now = self.count(id)
        assert now > count
        _wait_for(lambda: self.count(id) > now)


@pytest.fixture
def images(runtime: Runtime, busybox_rootfs: str, tmp_path: Path) -> Images:
    return Images(runtime, busybox_rootfs, tmp_path)


def _wait_for(condition: Callable[[], bool], patience: float = 60) -> None:
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def _cgroups(pid: int) -> str:
    return Path(f"/proc/{pid}/cgroup").read_text()


# -- there and back ---------------------------------------------------------------------------------------


def test_a_container_goes_on_where_it_was(images: Images, runtime: Runtime, tmp_path: Path) -> None:
    place = images.bundle()
    images.start("c", place)
    before = runtime.state("c")["pid"]
    groups = _cgroups(before)
    count = images.count("c")
    images.checkpoint("c")
    assert runtime.ids() == []
    assert not os.path.exists(f"/proc/{before}")
    assert (tmp_path / "work/dump.log").exists()
    pid_file = tmp_path / "pid"
    images.restore("c", place, "--pid-file", str(pid_file))
    state = runtime.state("c")
    assert (state["status"], state["pid"]) == ("running", int(pid_file.read_text()))
    assert _cgroups(state["pid"]) == groups
    assert (tmp_path / "work/restore.log").exists()
    images.goes_on("c", count)
    runtime("pause", "c")
    assert runtime.state("c")["status"] == "paused"
    runtime("resume", "c")
    assert len(runtime("ps", "--format", "json", "c").json()) >= 1
    runtime("kill", "c", "KILL")
    _wait_for(lambda: runtime.state("c")["status"] == "stopped")
    runtime("delete", "c")


def test_twice(images: Images) -> None:
    place = images.bundle()
    images.start("c", place)
    for _ in range(2):
        count = images.count("c")
        images.checkpoint("c")
        images.restore("c", place)
        images.goes_on("c", count)


def test_it_stays_where_it_is_left_running(images: Images, runtime: Runtime) -> None:
    images.start("c", images.bundle())
    pid, count = runtime.state("c")["pid"], images.count("c")
    images.checkpoint("c", "--leave-running")
    state = runtime.state("c")
    assert (state["status"], state["pid"]) == ("running", pid)
    images.goes_on("c", count)
    assert os.path.exists(f"{images.images}/inventory.img")


def test_the_memory_beforehand(images: Images, runtime: Runtime, tmp_path: Path) -> None:
    place = images.bundle()
    images.start("c", place)
    runtime("checkpoint", "--pre-dump", "--image-path", str(tmp_path / "before"), "c")
    assert runtime.state("c")["status"] == "running"
    count = images.count("c")
    images.checkpoint("c", "--parent-path", "../before")
    assert os.path.realpath(f"{images.images}/parent") == str(tmp_path / "before")
    images.restore("c", place)
    images.goes_on("c", count)


def test_by_another_name_and_in_another_cgroup(images: Images, runtime: Runtime) -> None:
    images.start("c", images.bundle())
    count = images.count("c")
    images.checkpoint("c")
    other = f"/mydocker-test-{os.getpid()}-other"
    images.restore("d", images.bundle(linux={"cgroupsPath": other}))
    assert runtime.ids() == ["d"]
    assert _cgroups(runtime.state("d")["pid"]).rstrip().endswith(other)
    images.goes_on("d", count)


def test_a_paused_container(images: Images, runtime: Runtime) -> None:
    place = images.bundle()
    images.start("c", place)
    count = images.count("c")
    runtime("pause", "c")
    images.checkpoint("c")
    images.restore("c", place)
    assert runtime.state("c")["status"] == "running"
    images.goes_on("c", count)


def test_a_process_that_came_to_it_later(images: Images, runtime: Runtime) -> None:
    """One that an added process has left to init, and so is of its tree."""
    place = images.bundle()
    images.start("c", place)
    runtime("exec", "c", "sh", "-c", "sleep 1000 < /dev/null > /dev/null 2>&1 &")
    images.checkpoint("c")
    images.restore("c", place)
    assert "sleep 1000" in runtime("exec", "c", "ps").out


# -- the caller -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "status"), [(None, 7), (signal.SIGTERM, 128 + 15)])
def test_in_the_foreground_the_status_is_passed_on(
    images: Images, runtime: Runtime, number: signal.Signals | None, status: int
) -> None:
    script = f"trap 'exit {128 + 15}' TERM; {COUNT}"
    place = images.bundle(script)
    images.start("c", place)
    images.checkpoint("c")
    argv = [runtime.program, "--root", runtime.root, "restore", *images._from(place), "c"]
    with open(images.directory / "out", "w+b") as stream:
        waiting = subprocess.Popen(argv, stdin=stream, stdout=stream, stderr=stream)
    _wait_for(lambda: runtime("state", "c", check=False).code == 0)
    _wait_for(lambda: images.count("c") > 3)
    if number is None:
        runtime("exec", "c", "touch", "/tmp/end")
    else:
        waiting.send_signal(number)
    assert waiting.wait(60) == status
    assert runtime.ids() == []


class Console:
    """A console socket that takes one terminal."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(path)
        self._listener.listen(1)

    def master(self) -> int:
        with self._listener as listener:
            connection, _ = listener.accept()
        with connection:
            _, (descriptor,), _, _ = socket.recv_fds(connection, 64, 1)
        os.unlink(self.path)
        return descriptor


@contextlib.contextmanager
def _console(path: str) -> Iterator[Console]:
    console = Console(path)
    try:
        yield console
    finally:
        console._listener.close()


def test_a_terminal(images: Images, runtime: Runtime, short_directory: str) -> None:
    place = images.bundle("while read line; do echo answer $line; done", process={"terminal": True})
    path = f"{short_directory}/console"
    masters = []
    for words in (("run",), ("restore", *images._from(place)[2:])):
        with _console(path) as console:
            runtime.detached(*words, "--detach", "--bundle", place, "--console-socket", path, "c")
            master = console.master()
        masters.append(master)
        os.write(master, words[0].encode() + b"\n")
        _read_until(master, f"answer {words[0]}")
        if words[0] == "run":
            images.checkpoint("c")
    for master in masters:
        os.close(master)


def _read_until(master: int, text: str) -> None:
    found = b""
    while text.encode() not in found:
        found += os.read(master, 4096)


def test_hooks(images: Images, runtime: Runtime, tmp_path: Path) -> None:
    """Those of the runtime are run again, with the process that is made; those of the container have been."""
    kinds = ("prestart", "createRuntime", "poststart", "poststop")
    told = tmp_path / "told"
    record = {"path": "/bin/sh", "args": ["sh", "-c", f"(echo $0; cat; echo) >> {told}"]}
    hooks = {
        kind: [{**record, "args": [*record["args"], kind]}] for kind in kinds if kind[-9:] != "Container"
    }
    place = images.bundle(hooks=hooks)
    images.start("c", place)
    images.checkpoint("c")
    told.write_text("")
    images.restore("c", place)
    pid = runtime.state("c")["pid"]
    runtime("delete", "--force", "c")
    lines = told.read_text().splitlines()
    assert lines[::2] == [*kinds]
    states = [json.loads(line) for line in lines[1::2]]
    assert [(state["status"], state.get("pid")) for state in states] == [
        ("creating", pid),
        ("creating", pid),
        ("running", pid),
        ("stopped", None),
    ]


@pytest.mark.parametrize("kind", ["createRuntime", "poststart"])
def test_a_hook_that_fails(images: Images, runtime: Runtime, kind: str) -> None:
    images.start("c", images.bundle())
    images.checkpoint("c")
    place = images.bundle(hooks={kind: [{"path": "/bin/false"}]})
    assert f"{kind} hook /bin/false failed with status 1" in images.refused("c", place)
    assert runtime.ids() == []


# -- what is around it ------------------------------------------------------------------------------------


def test_bind_mounts(images: Images, runtime: Runtime, tmp_path: Path, busybox_rootfs: str) -> None:
    """Below a link, in one another, of a file, and by a path relative to the bundle; mount points come
    back."""
    outer, inner = tmp_path / "outer", tmp_path / "inner"
    outer.mkdir()
    inner.mkdir()
    (inner / "mark").write_text("inner\n")
    Path(busybox_rootfs, "real").mkdir(exist_ok=True)
    link = Path(busybox_rootfs, "linked")
    link.unlink(missing_ok=True)
    link.symlink_to("/real")
    bind = {"type": "bind", "options": ["bind"]}
    place = images.bundle(
        COUNT,
        {**bind, "destination": "/linked/in", "source": str(inner)},
        {**bind, "destination": "/outer", "source": str(outer)},
        {**bind, "destination": "/outer/in/there", "source": str(inner)},
        {**bind, "destination": "/relative", "source": "beside"},
        {**bind, "destination": "/relative-file", "source": "beside/file"},
    )
    Path(place, "beside").mkdir()
    Path(place, "beside/file").write_text("beside\n")
    images.start("c", place)
    images.checkpoint("c")
    (outer / "in/there").rmdir()
    (outer / "in").rmdir()
    images.restore("c", place)
    files = ("/real/in/mark", "/outer/in/there/mark", "/relative/file", "/relative-file")
    assert runtime("exec", "c", "cat", *files).out.split() == ["inner", "inner", "beside", "beside"]


def test_a_user_namespace(images: Images, runtime: Runtime, busybox_rootfs: str) -> None:
    """A container that criu could not make again is not written, which would end it."""
    for place in (busybox_rootfs, os.path.dirname(busybox_rootfs)):
        os.chmod(place, 0o755)
    own = namespaces("pid", "mount", "network", "ipc", "uts", "cgroup", "user")
    place = images.bundle(linux={"namespaces": own, "uidMappings": MAPPED, "gidMappings": MAPPED})
    images.start("c", place)
    message = "criu cannot restore a container that is in a user namespace"
    assert message in images.checkpoint("c", check=1).err
    assert runtime.state("c")["status"] == "running"
    assert message in images.refused("d", place)
    assert runtime.ids() == ["c"]


def test_without_a_cgroup_namespace(images: Images) -> None:
    place = images.bundle(linux={"namespaces": namespaces("pid", "mount", "network", "ipc", "uts")})
    images.start("c", place)
    count = images.count("c")
    images.checkpoint("c")
    images.restore("c", place)
    images.goes_on("c", count)


def test_a_network_namespace_from_outside(images: Images, runtime: Runtime) -> None:
    with subprocess.Popen(["unshare", "--net", "sleep", "1000"]) as owner:
        try:
            path = f"/proc/{owner.pid}/ns/net"
            _wait_for(lambda: os.readlink(path) != os.readlink("/proc/self/ns/net"))
            inside = namespaces("pid", "mount", "ipc", "uts", "cgroup", network=path)
            place = images.bundle(linux={"namespaces": inside})
            images.start("c", place)
            images.checkpoint("c")
            images.restore("c", place)
            assert os.readlink(f"/proc/{runtime.state('c')['pid']}/ns/net") == os.readlink(path)
            runtime("delete", "--force", "c")
        finally:
            owner.kill()


def test_a_keyring_of_its_own(images: Images, runtime: Runtime) -> None:
    script = COUNT.replace("sleep", "cat /proc/keys > /tmp/keys; sleep")
    place = images.bundle(script, linux={"maskedPaths": []})
    images.start("c", place)
    images.checkpoint("c")
    images.restore("d", place)
    _wait_for(lambda: "_ses.d" in runtime("exec", "d", "cat", "/tmp/keys").out)


# -- options of criu --------------------------------------------------------------------------------------


def test_file_locks(images: Images, runtime: Runtime) -> None:
    script = f"/usr/bin/flock /tmp/lock /bin/sleep 1000 & {COUNT}"
    libraries = [
        {"destination": f"/{place}", "type": "bind", "source": f"/{place}", "options": ["bind", "ro"]}
        for place in ("usr", "lib", "lib64")
    ]
    place = images.bundle(script, *libraries)
    images.start("c", place)
    attempt = ("exec", "c", "/usr/bin/flock", "--nonblock", "/tmp/lock", "/bin/true")
    _wait_for(lambda: runtime(*attempt, check=False).code == 1)
    count = images.count("c")
    refused = images.checkpoint("c", check=1).err
    assert "lock" in refused
    assert runtime.state("c")["status"] == "running"
    images.goes_on("c", count)
    images.checkpoint("c", "--file-locks")
    images.restore("c", place, "--file-locks")
    assert runtime(*attempt, check=False).code == 1


def test_options_of_one_container(images: Images, runtime: Runtime, tmp_path: Path) -> None:
    configuration = tmp_path / "criu.conf"
    place = images.bundle(annotations={"org.criu.config": str(configuration)})
    images.start("c", place)
    refused = images.checkpoint("c", check=1).err
    assert f"annotation org.criu.config: no such file: {configuration}" in refused
    configuration.write_text("log-file=other.log\n")
    images.checkpoint("c")
    assert (tmp_path / "work/other.log").exists()
    assert not (tmp_path / "work/dump.log").exists()
    images.restore("c", place)
    assert runtime.state("c")["status"] == "running"


# -- what cannot be ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["created", "stopped"])
def test_a_checkpoint_in_the_wrong_state(images: Images, runtime: Runtime, status: str) -> None:
    runtime.create("c", images.bundle())
    if status == "stopped":
        runtime("kill", "c", "KILL")
        _wait_for(lambda: runtime.state("c")["status"] == "stopped")
    assert f"cannot checkpoint container c: it is {status}" in images.checkpoint("c", check=1).err
    assert not os.path.exists(images.images)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--parent-path", "/abs"], "--parent-path is relative to the image path"),
        (["--parent-path", "../no-such"], "no such image directory"),
        (["--lazy-pages"], "--lazy-pages is not supported"),
        (["--page-server", "127.0.0.1:1"], "--page-server is not supported"),
        (["--manage-cgroups-mode", "odd"], "--manage-cgroups-mode is one of"),
        (["--empty-ns", "mount"], "--empty-ns is network"),
    ],
)
def test_options_of_a_checkpoint_that_are_refused(
    images: Images, runtime: Runtime, options: list[str], message: str
) -> None:
    images.start("c", images.bundle())
    assert message in images.checkpoint("c", *options, check=1).err
    assert runtime.state("c")["status"] == "running"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--preserve-fds", "1"], "--preserve-fds is not supported"),
        (["--no-pivot"], "--no-pivot is not supported"),
        (["--image-path", "/no/such"], "no such image directory: /no/such"),
        (["--console-socket", "/no/such"], "process.terminal is false"),
    ],
)
def test_options_of_a_restore_that_are_refused(
    images: Images, runtime: Runtime, options: list[str], message: str
) -> None:
    os.mkdir(images.images)
    assert message in images.refused("c", images.bundle(), *options)
    assert runtime.ids() == []


@pytest.mark.parametrize("damaged", ["inventory.img", "core-1.img", "mountpoints-*.img"])
def test_a_restore_that_fails_leaves_nothing(images: Images, runtime: Runtime, damaged: str) -> None:
    """The look for processes, cgroups and mounts comes after every test."""
    place = images.bundle()
    images.start("c", place)
    images.checkpoint("c")
    (file,) = Path(images.images).glob(damaged)
    kept = file.read_bytes()
    file.write_bytes(kept[: len(kept) // 2])
    assert "criu" in images.refused("c", place)
    assert runtime.ids() == []
    file.write_bytes(kept)
    images.restore("c", place)
    assert runtime.state("c")["status"] == "running"


def test_a_name_that_is_taken(images: Images, runtime: Runtime) -> None:
    place = images.bundle()
    images.start("c", place)
    images.checkpoint("c", "--leave-running")
    count = images.count("c")
    assert "container with id c exists already" in images.refused("c", place)
    images.goes_on("c", count)
    assert runtime.state("c")["status"] == "running"
