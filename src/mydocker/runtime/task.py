"""A task: the running instance of a container.

    create    (runtime/create.py) init waits before execve                state "created"
    start     execve; poststart hooks                                            "running"
    exec      one more process in the same namespaces and cgroup
    delete    kill what is left, remove the cgroup, poststop hooks

Whoever creates a task is the parent of its init and reaps it (``Task.wait``). A ``Task`` owns its pidfd;
``console`` and what belongs to added processes is the caller's. Out of scope: who serves the streams, and
what is remembered on disk.
"""

from __future__ import annotations

import os

from mydocker import errors
from mydocker.errors import InvalidArgument
from mydocker.linux import capability
from mydocker.linux.pidfd import has_exited, pidfd_send_signal, reap, wait_exit
from mydocker.runtime.channel import Channel
from mydocker.runtime.dialogue import finish_start, run_hooks, run_poststop_hooks
from mydocker.runtime.step import Event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from mydocker.oci.runtime import Process, Spec
    from mydocker.runtime.cgroup import Cgroup
    from mydocker.runtime.seccomp import Filter

    Observer = Callable[[Event], None]

_SIGKILL = 9


class Stdio:
    """The descriptors that become 0, 1 and 2; they stay the caller's."""

    __slots__ = ("stderr", "stdin", "stdout")

    def __init__(self, stdin: int, stdout: int, stderr: int) -> None:
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr


class AddedProcess:
    """A process that ``Task.exec`` added. ``pidfd`` and ``console`` are the caller's to close."""

    __slots__ = ("console", "pid", "pidfd", "warnings")

    def __init__(self, pid: int, pidfd: int, console: int | None, warnings: list[str]) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.console = console
        self.warnings = warnings

    def kill(self, signal: int) -> None:
        pidfd_send_signal(self.pidfd, signal)

    def wait(self, timeout: float | None = None) -> int | None:
        """Reap it and return its exit code (128+n for signal n), or None after ``timeout`` seconds."""
        return reap(self.pidfd) if wait_exit(self.pidfd, timeout) else None


class Task:
    """A container's init, its cgroup, and what the container's document said."""

    __slots__ = (
        "_channel",
        "_filter",
        "_observer",
        "bundle",
        "cgroup",
        "console",
        "id",
        "pid",
        "pidfd",
        "spec",
        "waits",
        "warnings",
    )

    def __init__(
        self,
        spec: Spec,
        id: str,
        bundle: str,
        *,
        pid: int,
        pidfd: int,
        cgroup: Cgroup | None,
        channel: Channel | None,
        filter: Filter | None = None,
    ) -> None:
        self.spec = spec
        self.id = id
        self.bundle = bundle
        self.pid = pid
        self.pidfd = pidfd
        self.cgroup = cgroup
        self.console: int | None = None
        self.warnings: list[str] = []
        self._channel = channel
        self._filter = filter
        self._observer: Observer | None = None
        self.waits = True  # init does, for ``start``

    def start(self) -> None:
        """Let init execute its program. Raises ``CommandNotFound`` and the like; init has ended then."""
        if self._channel is None:
            raise errors.Conflict(f"container {self.id} is not in the state created")
        channel, self._channel = self._channel, None
        with channel:
            if self.waits:
                channel.send("go")
            finish_start(channel, self, self.pid, self.pidfd)
        if self._observer is not None:
            self._observer(Event(f"execve {' '.join(self.spec['process']['args'])}", _confinement(self.pid)))
        run_hooks(self, "poststart", "running", self.pid)

    def exec(
        self,
        process: Process,
        stdio: Stdio | None,
        *,
        console_rows_columns: tuple[int, int] | None = None,
        observer: Observer | None = None,
        parent_death_signal: int = 0,
        for_parent: bool = False,
    ) -> AddedProcess:
        """Add a process to the running container and let it execute."""
        from mydocker.runtime import added

        return added.start(
            self,
            process,
            stdio,
            console_rows_columns,
            observer,
            parent_death_signal=parent_death_signal,
            for_parent=for_parent,
        )

    def seccomp_filter(self) -> Filter | None:
        return self._filter

    def require_cgroup(self) -> Cgroup:
        """The container's cgroup; ``NotSupported`` for one that was made without."""
        if self.cgroup is None:
            raise errors.NotSupported(f"container {self.id} has no cgroup of its own")
        return self.cgroup

    def kill(self, signal: int, all: bool = False) -> None:
        """Send ``signal`` to init, or to ``all`` processes of the container."""
        if all and self.cgroup is not None:
            self.cgroup.kill(signal)
        else:
            pidfd_send_signal(self.pidfd, signal)

    def wait(self, timeout: float | None = None) -> int | None:
        """Reap init and return its exit code (128+n for signal n), or None after ``timeout`` seconds."""
        return reap(self.pidfd) if wait_exit(self.pidfd, timeout) else None

    def delete(self) -> None:
        """End what is left, remove the cgroup, run the poststop hooks; again, and after ``wait``, is fine."""
        if self.pidfd < 0:
            return
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        try:
            end(self.pidfd, self.cgroup)
        finally:
            os.close(self.pidfd)
            self.pidfd = -1
            if self.cgroup is not None:
                self.cgroup.close()
        self.warnings += run_poststop_hooks(self.spec, self.id, self.bundle)


def _confinement(pid: int) -> str:
    """What /proc/<pid>/status says about a process's privileges; it may have ended, but was not reaped."""
    with open(f"/proc/{pid}/status") as file:
        found = {name: value.strip() for name, _, value in (line.partition(":") for line in file)}
    modes = {"0": "none", "1": "strict", "2": "filter"}
    left = ", ".join(name[4:].lower() for name in capability.names(int(found["CapEff"], 16))) or "none"
    seccomp = modes.get(found.get("Seccomp", ""), "unknown")
    no_new_privileges = found.get("NoNewPrivs", "unknown")
    return f"capabilities {left}; no_new_privs {no_new_privileges}; seccomp mode {seccomp}"


def set_oom_score(process: Process, task: Task | AddedProcess) -> None:
    """Written by the runtime, before init is in a user namespace; lowering needs CAP_SYS_RESOURCE."""
    score = process.get("oomScoreAdj")
    if score is None:
        return
    if not -1000 <= score <= 1000:
        raise InvalidArgument(f"oomScoreAdj has to be from -1000 to 1000: {score}")
    try:
        with open(f"/proc/{task.pid}/oom_score_adj", "wb", buffering=0) as file:
            file.write(str(score).encode())
    except PermissionError:
        with open(f"/proc/{task.pid}/oom_score_adj") as file:
            kept = file.read().strip()
        task.warnings.append(
            f"the OOM score adjustment stays {kept}, not {score}: lowering it needs CAP_SYS_RESOURCE"
        )


def end(pidfd: int, cgroup: Cgroup | None) -> None:
    """Kill init and what is left in its cgroup, reap it if it is ours and was not yet, remove the cgroup."""
    try:
        pidfd_send_signal(pidfd, _SIGKILL)
    except ProcessLookupError:
        pass  # ended, and reaped
    if cgroup is not None:
        cgroup.remove()
    if not has_exited(pidfd):
        wait_exit(pidfd, None)
    try:
        reap(pidfd)
    except ChildProcessError:
        pass  # reaped by the caller, or not its child
