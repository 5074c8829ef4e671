"""A worker is what its launcher would have been: seen from the command, from the shell, and from the kernel.

The commands here are small programs instead of ``mydocker.cli``: a copy of the package is put beside a module
``probe``, whose ``main`` executes the text that it gets as an argument.
"""

from __future__ import annotations

import contextlib
import os
import pty
import resource
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import mydocker
from support import leaks
from support.waiting import wait_until

START = "import sys; sys.path.insert(0, sys.argv.pop(1)); from launcher import main; del sys.path[0]; main()"
PROBE = """
import fcntl, json, os, resource, signal, stat, sys, time

def main():
    found = dict(globals())
    exec(sys.argv[1], found)
    return found.get("status")
"""
# A launcher that writes to its worker once more, and feeds the command when the worker was told of that.
TALKATIVE = """
import os, socket, sys
launcher, packages, sockets = sys.argv[1:4]
sys.path.insert(0, launcher)
from launcher import _receive, _send_request, identity, socket_path

own = identity(packages)
connection = socket.socket(socket.AF_UNIX)
connection.connect(socket_path(sockets, own))
reading, feed = os.pipe()
os.dup2(reading, 0)
skipped = sys.orig_argv.index("probe:main")
_send_request(connection, own, skipped, [0, 1, 2])
accepted = _receive(connection)
connection.sendall(b".")
os.write(feed, b"line\\n")
print(accepted[0].decode(), *_receive(connection)[:2])
"""
PATIENCE = 30.0


@dataclass(frozen=True)
class Installation:
    """A copy of the package, and a directory for its sockets."""

    packages: str
    sockets: str
    perl: bool

    def argv(self, program: str, *arguments: str) -> list[str]:
        launcher = os.path.join(self.packages, "mydocker", "forkserver")
        if self.perl:
            start = ["/usr/bin/perl", os.path.join(launcher, "launcher.pl"), sys.executable, self.packages]
        else:
            start = [sys.executable, "-I", "-S", "-X", "utf8", "-c", START, launcher]
        return [*start, "probe:main", "/somewhere/probe", program, *arguments]

    def popen(
        self, program: str, *arguments: str, way: str = "forkserver", **options: object
    ) -> subprocess.Popen[str]:
        env = dict(options.pop("env", os.environ))  # type: ignore[call-overload]
        env["MYDOCKER_FORKSERVER"] = self.sockets if way == "forkserver" else "0"
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        call: Callable[..., subprocess.Popen[str]] = subprocess.Popen
        return call(self.argv(program, *arguments), env=env, text=True, **{**streams, **options})

    def run(
        self, program: str, *arguments: str, way: str = "forkserver", **options: object
    ) -> tuple[int, str, str]:
        """Exit status (negative for a signal), standard output, standard error."""
        with self.popen(program, *arguments, way=way, **options) as process:
            out, err = process.communicate(timeout=30)
        return process.returncode, out, err

    def servers(self) -> list[int]:
        """Every server of this installation, in any namespace: processes of its name, not their children."""
        ours = {pid for pid in leaks.pids() if self._is_server(pid)}
        parents = {pid: _parent(pid) for pid in ours}
        return sorted(pid for pid, parent in parents.items() if parent not in ours | {0})

    def _is_server(self, pid: int) -> bool:
        return f"\0{self.packages}\0server\0" in _cmdline(pid)

    def is_starting_one(self) -> bool:
        """Whether anybody has the lock under which a server starts."""
        lock = f"{self.sockets}/forkserver.lock"
        return any(lock in leaks.descriptors(pid) for pid in leaks.pids())

    def wait_for_server(self, *, different_from: int = 0) -> int:
        """Start one, if there is none, and return its PID."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            code, out, _ = self.run("print(os.getppid())")
            assert code == 0
            server = int(out)
            if server in self.servers() and server != different_from:
                return server
            time.sleep(0.05)
        raise AssertionError("no forkserver was started")

    def kill_servers(self) -> None:
        for pid in self.servers():
            _kill(pid)


@pytest.fixture(scope="module", params=["python", "perl"])
def installation(short_directory: str, request: pytest.FixtureRequest) -> Iterator[Installation]:
    """With either launcher: they speak to the same server."""
    if request.param == "perl" and not os.path.exists("/usr/bin/perl"):
        pytest.skip("needs /usr/bin/perl")
    packages = os.path.join(short_directory, f"forkserver-{request.param}", "site-packages")
    sockets = os.path.join(short_directory, f"forkserver-{request.param}", "run")
    shutil.copytree(
        os.path.dirname(mydocker.__file__),
        os.path.join(packages, "mydocker"),
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    Path(packages, "probe.py").write_text(PROBE)
    found = Installation(packages, sockets, request.param == "perl")
    yield found
    found.kill_servers()


@pytest.fixture
def server(installation: Installation) -> int:
    return installation.wait_for_server()


both_ways = pytest.mark.parametrize("way", ["forkserver", "cold"])


@pytest.fixture(autouse=True)
def _running(server: int) -> None:
    """A server before every test, so that a test of "forkserver" is one."""


def _cmdline(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # what a server leaves behind ends by itself
        os.kill(pid, signal.SIGKILL)


def _parent(pid: int) -> int:
    """Its parent's PID; 0 if there is no such process any more."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def _state(pid: int) -> str:
    """The letter of ps(1): R, S, T, Z; "" if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1]
    except (FileNotFoundError, ProcessLookupError):
        return ""


# ---- what the command sees


@both_ways
@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("print(sys.argv[0], sys.argv[2:])", "/somewhere/probe ['a b', '', '\\udcff']\n"),
        ("print(os.getcwd())", "/usr/lib\n"),
        ("print(os.environ['WORD'], 'HOME' in os.environ, os.getenv('WORD'))", "héllo False héllo\n"),
        ("print(oct(os.umask(0)))", "0o27\n"),
        ("print(resource.getrlimit(resource.RLIMIT_NOFILE))", "(123, 456)\n"),
        ("print(resource.getrlimit(resource.RLIMIT_CORE))", "(0, 0)\n"),
        ("print(sys.stdin.read())", "input\n\n"),
        ("print(os.getpriority(os.PRIO_PROCESS, 0))", "7\n"),
        ("print(sorted(os.sched_getaffinity(0)))", "[0]\n"),
        ("print(open('/proc/self/oom_score_adj').read().strip())", "321\n"),
        ("print(os.fstat(9).st_ino == os.stat('/etc/passwd').st_ino)", "True\n"),
        (
            "print(sys.stdout.encoding, sys.stdin.errors, sys.stderr.errors)",
            "utf-8 surrogateescape backslashreplace\n",
        ),
        ("print(sorted(map(int, os.listdir('/proc/self/fd')))[:4])", "[0, 1, 2, 3]\n"),
        ("print(signal.getsignal(signal.SIGUSR1), signal.getsignal(signal.SIGHUP))", "1 0\n"),
        ("print(sorted(map(int, signal.pthread_sigmask(0, []))))", "[12]\n"),
        ("print(time.strftime('%Z', time.localtime(0)))", "XYZ\n"),
        ("import msgspec; print(msgspec.__name__)", "msgspec\n"),
    ],
)
def test_command_sees_its_caller(installation: Installation, way: str, program: str, expected: str) -> None:
    def prepare() -> None:
        os.umask(0o027)
        os.chdir("/usr/lib")
        os.setpriority(os.PRIO_PROCESS, 0, 7)
        os.sched_setaffinity(0, {0})
        resource.setrlimit(resource.RLIMIT_NOFILE, (123, 456))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        Path("/proc/self/oom_score_adj").write_text("321")
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGUSR2})
        os.dup2(os.open("/etc/passwd", os.O_RDONLY), 9)

    if way == "forkserver":  # limits, priority and so on are part of the identity: these need their own
        for _ in range(100):
            code, out, _ = installation.run("print(os.getppid())", preexec_fn=prepare)
            if code == 0 and int(out) in installation.servers():
                break
            time.sleep(0.05)
        else:
            raise AssertionError("no forkserver for this caller")
    code, out, err = installation.run(
        program,
        "a b",
        "",
        "\udcff",
        way=way,
        stdin=subprocess.PIPE if "stdin.read" not in program else _pipe_with("input\n"),
        env={"WORD": "héllo", "TZ": "XYZ"},
        preexec_fn=prepare,
        pass_fds=[9],
        errors="surrogateescape",
    )
    assert (code, out.encode(errors="backslashreplace").decode(), err) == (0, expected, "")


def _pipe_with(text: str) -> int:
    reader, writer = os.pipe()
    os.write(writer, text.encode())
    os.close(writer)
    return reader


@both_ways
@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("status = None", 0),
        ("status = 42", 42),
        ("status = 'text'", 1),
        ("sys.exit(3)", 3),
        ("sys.exit()", 0),
        ("os._exit(9)", 9),
        ("1 / 0", 1),
        ("raise KeyboardInterrupt", -signal.SIGINT),
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
        ("os.kill(os.getpid(), signal.SIGSEGV)", -signal.SIGSEGV),
        ("os.execv('/bin/sh', ['sh', '-c', 'exit 5'])", 5),
        ("import atexit; atexit.register(print, 'bye', flush=True); sys.exit(6)", 6),
        ("os.close(1); print('lost')", 120),
    ],
)
def test_exit_status(installation: Installation, way: str, program: str, expected: int) -> None:
    code, out, err = installation.run(program, way=way)
    assert code == expected, err
    assert ("bye" in out) == ("bye" in program)
    assert ("Traceback" in err) == program.startswith(("1 /", "raise"))
    assert ("Exception ignored" in err) == ("lost" in program)


def test_output_survives_a_full_pipe(installation: Installation) -> None:
    code, out, _ = installation.run("print('x' * 3_000_000)")
    assert (code, len(out)) == (0, 3_000_001)


def test_large_environment_and_arguments(installation: Installation) -> None:
    env = {f"NAME{number}": "v" * 100_000 for number in range(8)} | {"LC_CTYPE": "C.UTF-8"}
    code, out, _ = installation.run("print(len(os.environ), len(sys.argv[2]))", "a" * 100_000, env=env)
    assert (code, out) == (0, "10 100000\n")


def test_worker_has_nothing_of_the_server(installation: Installation, server: int) -> None:
    program = """
print(os.getppid())
for number in range(3, 99):
    if os.path.lexists(f"/proc/self/fd/{number}"):
        print(os.readlink(f"/proc/self/fd/{number}"))
"""
    code, out, _ = installation.run(program)
    parent, *others = out.split()
    assert (code, int(parent)) == (0, server)
    assert [other.partition(":")[0] for other in others] == [
        "socket",
        "pipe",
    ], "the connection to the launcher, and what tells of its end"


# ---- signals


@both_ways
@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1]
)
def test_signal_ends_the_command(installation: Installation, way: str, number: signal.Signals) -> None:
    program = "signal.signal(signal.SIGINT, signal.SIG_DFL); print(os.getpid(), flush=True); time.sleep(30)"
    with installation.popen(program, way=way) as process:
        assert process.stdout is not None
        worker = int(process.stdout.readline())
        os.kill(process.pid, number)
        assert process.wait(10) == -number
        wait_until(lambda: _state(worker) in ("", "Z"), "the end of the worker")


@both_ways
@pytest.mark.parametrize(
    "name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGWINCH", "SIGUSR2", "SIGCONT", "SIGRTMIN"]
)
def test_signal_reaches_the_handler(installation: Installation, way: str, name: str) -> None:
    program = f"""
caught = []
signal.signal(signal.{name}, lambda number, frame: caught.append(number))
print(flush=True)
while not caught:
    time.sleep(0.01)
status = caught[0]
"""
    with installation.popen(program, way=way) as process:
        assert process.stdout is not None
        process.stdout.readline()
        number = getattr(signal, name)
        os.kill(process.pid, number)
        assert process.wait(10) == number


def test_stop_and_continue(installation: Installation) -> None:
    program = "print(os.getpid(), flush=True); sys.stdin.read(); status = 4"
    # In a group that is no orphan, as from a shell with job control: others ignore SIGTSTP (man 2 setpgid).
    with installation.popen(program, process_group=0, stdin=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        worker = int(process.stdout.readline())
        os.kill(process.pid, signal.SIGTSTP)
        wait_until(lambda: _state(worker) == _state(process.pid) == "T", "launcher and worker stopped")
        os.kill(process.pid, signal.SIGCONT)
        process.stdin.close()
        assert process.wait(10) == 4


def test_stop_that_the_command_handles_does_not_stop_the_launcher(installation: Installation) -> None:
    program = """
caught = []
signal.signal(signal.SIGTSTP, lambda number, frame: caught.append(number))
print(flush=True)
while not caught:
    time.sleep(0.01)
status = 8
"""
    with installation.popen(program) as process:
        assert process.stdout is not None
        process.stdout.readline()
        os.kill(process.pid, signal.SIGTSTP)
        assert process.wait(10) == 8


def test_launcher_killed_hangs_up_the_worker(installation: Installation) -> None:
    with installation.popen("print(os.getpid(), flush=True); time.sleep(30)") as process:
        assert process.stdout is not None
        worker = int(process.stdout.readline())
        process.kill()
        wait_until(lambda: _state(worker) in ("", "Z"), "SIGHUP has ended the worker")


def test_launcher_killed_after_the_server(installation: Installation, server: int) -> None:
    with installation.popen("print(os.getpid(), flush=True); time.sleep(30)") as process:
        assert process.stdout is not None
        worker = int(process.stdout.readline())
        os.kill(server, signal.SIGKILL)
        process.kill()
        wait_until(lambda: _state(worker) in ("", "Z"), "SIGHUP has ended the worker")


def test_data_on_the_connection_is_no_hangup(installation: Installation) -> None:
    """Not even when it is announced late: the kernel does that after the data may have been read."""
    launcher = os.path.join(installation.packages, "mydocker", "forkserver")
    program = [sys.executable, "-I", "-S", "-X", "utf8", "-c", TALKATIVE]
    command = ["probe:main", "probe", "sys.stdin.readline(); status = 5"]
    arguments = [launcher, installation.packages, installation.sockets, *command]
    done = subprocess.run([*program, *arguments], capture_output=True, text=True, timeout=PATIENCE)
    assert (done.stdout, done.stderr) == ("A b'E' 5\n", "")


def test_ignored_hangup_lets_the_worker_finish(installation: Installation, tmp_path: Path) -> None:
    program = f"print(flush=True); time.sleep(0.3); open({str(tmp_path / 'done')!r}, 'w')"
    with installation.popen(
        program, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
    wait_until((tmp_path / "done").exists, "the worker's last act")


# ---- the server may be killed at any time


def test_server_killed_under_a_running_command(installation: Installation, server: int) -> None:
    with installation.popen("print(flush=True); time.sleep(0.3); print('end'); status = 11") as process:
        assert process.stdout is not None
        process.stdout.readline()
        os.kill(server, signal.SIGKILL)
        out, _ = process.communicate(timeout=10)
        assert (process.returncode, out) == (11, "end\n")


def test_server_killed_at_any_instant(installation: Installation) -> None:
    """Each command runs exactly once and with its own status, whatever happens to the server meanwhile."""
    for turn in range(30):
        server = installation.wait_for_server() if turn % 3 == 0 else 0
        with installation.popen("print('ran'); status = 21") as process:
            time.sleep(turn * 0.001)
            for pid in {server, *installation.servers()} - {0}:
                _kill(pid)
            out, err = process.communicate(timeout=20)
        assert (process.returncode, out, err) == (21, "ran\n", "")


def test_next_server_removes_what_a_killed_one_left(installation: Installation, server: int) -> None:
    os.kill(server, signal.SIGKILL)
    stale = os.path.join(installation.sockets, "forkserver-0000000000000000.sock")
    subprocess.run(
        [sys.executable, "-c", f"import socket; s = socket.socket(socket.AF_UNIX); s.bind({stale!r})"],
        check=True,
    )
    again = installation.wait_for_server(different_from=server)
    assert not os.path.exists(stale)
    assert installation.servers().count(again) == 1


def test_many_commands_at_once_start_one_server(installation: Installation) -> None:
    installation.kill_servers()
    processes = [installation.popen("status = 31") for _ in range(12)]
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 31
    installation.wait_for_server()
    wait_until(lambda: not installation.is_starting_one(), "those that found it started to leave")
    wait_until(lambda: len(installation.servers()) == 1, "one server")


def test_stopped_server_is_not_waited_for_when_it_dies(installation: Installation, server: int) -> None:
    os.kill(server, signal.SIGSTOP)
    with installation.popen("status = 41") as process:
        time.sleep(0.3)
        assert process.poll() is None
        os.kill(server, signal.SIGKILL)
        process.communicate(timeout=20)
        assert process.returncode == 41


def test_idle_server_leaves(installation: Installation, server: int) -> None:
    os.kill(server, signal.SIGKILL)
    from mydocker.forkserver import launcher

    identity = subprocess.check_output(
        [sys.executable, *launcher.PYTHON_OPTIONS, "-c", _IDENTITY, installation.packages]
    )
    path = launcher.socket_path(installation.sockets, identity)
    arguments = launcher.interpreter(installation.packages, "server", path, "0.2")
    with subprocess.Popen(
        arguments, preexec_fn=lambda: os.dup2(0, launcher.START_LOCK), close_fds=False
    ) as process:
        assert process.wait(20) == 0
    assert not os.path.exists(path)


_IDENTITY = """
import os, sys
sys.path.insert(0, sys.argv[1])
from mydocker.forkserver.launcher import identity
os.write(1, identity(sys.argv[1]))
"""


# ---- who reaches which server


def test_changed_package_reaches_no_stale_server(installation: Installation, server: int) -> None:
    target = os.path.join(installation.packages, "mydocker", "__init__.py")
    os.utime(target)
    code, out, _ = installation.run("print(os.getppid())")
    assert code == 0
    assert int(out) != server
    assert installation.wait_for_server() != server


def test_installed_library_reaches_no_stale_server(installation: Installation, server: int) -> None:
    Path(installation.packages, f"another{time.monotonic_ns()}.dist-info").mkdir()
    assert installation.wait_for_server() != server


@pytest.mark.parametrize("kind", ["--mount", "--net", "--uts", "--ipc", "--cgroup"])
def test_other_namespace_has_another_server(installation: Installation, server: int, kind: str) -> None:
    links = "os.readlink(f'/proc/self/ns/{name}') for name in sorted(os.listdir('/proc/self/ns'))"
    program = f"print(os.getppid(), *[{links}])"
    env = {
        **os.environ,
        "MYDOCKER_FORKSERVER": installation.sockets,
        "SERVER": f" {installation.packages} server ",
    }
    inside = """
        for n in $(seq 200); do
            line=$("$@") && echo "$line"
            tr '\\0' ' ' < /proc/${line%% *}/cmdline | grep -qF -- "$SERVER" && break
            sleep 0.1
        done
        readlink /proc/self/ns/* | tr '\\n' ' '
    """
    result = subprocess.run(
        ["unshare", kind, "sh", "-c", inside, "sh", *installation.argv(program)],
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    *lines, own = result.stdout.splitlines()
    parents = {int(line.split()[0]) for line in lines}
    assert server not in parents
    assert parents & set(installation.servers()), "the last ones came from a server of that namespace"
    for line in lines:
        assert line.split()[1:] == own.split()
    for pid in parents & set(installation.servers()):
        _kill(pid)


def test_fewer_capabilities_have_another_server(installation: Installation, server: int) -> None:
    program = (
        "print(os.getppid(), *[l for l in open('/proc/self/status') if l.startswith(('CapBnd', 'NoNew'))])"
    )
    env = {**os.environ, "MYDOCKER_FORKSERVER": installation.sockets}
    command = ["setpriv", "--no-new-privs", "--bounding-set=-sys_time", *installation.argv(program)]
    for _ in range(8):
        out = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.split()
        assert int(out[0]) != server
        assert out[out.index("NoNewPrivs:") + 1] == "1"
        assert not int(out[out.index("CapBnd:") + 1], 16) & 1 << 25
        time.sleep(0.1)


def test_other_user_cannot_connect(installation: Installation) -> None:
    names = [name for name in os.listdir(installation.sockets) if name.endswith(".sock")]
    assert names
    assert stat.S_IMODE(os.stat(installation.sockets).st_mode) == 0o700
    for name in names:
        assert stat.S_IMODE(os.stat(os.path.join(installation.sockets, name)).st_mode) == 0o700


def test_background_command_runs_in_its_own_process(installation: Installation) -> None:
    """A reader in the background of a terminal is stopped by SIGTTIN, and cannot take the shell's input."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["MYDOCKER_FORKSERVER"] = installation.sockets
        background = os.fork()
        if background == 0:
            os.setpgid(0, 0)
            argv = installation.argv("sys.stdin.readline()")
            os.execv(argv[0], argv)
        with contextlib.suppress(PermissionError):  # it has done so itself, and begun
            os.setpgid(background, background)
        _, status = os.waitpid(background, os.WUNTRACED)
        os.kill(background, signal.SIGKILL)
        stopped = os.WIFSTOPPED(status) and os.WSTOPSIG(status) == signal.SIGTTIN
        os._exit(0 if stopped else 1)
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert status == 0


# ---- the executable, sealed because of CVE-2019-5736


@both_ways
def test_executable_cannot_be_written(installation: Installation, way: str) -> None:
    with installation.popen(
        "print(os.getpid(), flush=True); sys.stdin.read()", way=way, stdin=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        worker = int(process.stdout.readline())
        _assert_sealed(worker)
        process.stdin.close()
        assert process.wait(10) == 0


def test_server_executable_cannot_be_written(server: int) -> None:
    _assert_sealed(server)
    with open(f"/proc/{server}/mountinfo") as inside, open("/proc/self/mountinfo") as outside:
        assert inside.read() == outside.read(), "the sealed mount is in no mount table"


def _assert_sealed(pid: int) -> None:
    """Nothing of the file can be changed through the process, not even what it is already (its mode)."""
    exe = f"/proc/{pid}/exe"
    with pytest.raises(OSError, match="Read-only file system"):
        os.chmod(exe, stat.S_IMODE(os.stat(exe).st_mode))
    # As long as somebody runs it, opening it for writing has another error: Text file busy.
    with pytest.raises(OSError, match=r"Read-only file system|Text file busy"):
        os.open(exe, os.O_WRONLY)
