"""The commands of ``mydocker-runtime`` that change something: the life of a container, one function each."""

from __future__ import annotations

import _socket
import os
import sys

from mydocker.errors import Conflict, InvalidArgument, NotFound, StartFailed
from mydocker.linux.pidfd import pidfd_send_signal
from mydocker.oci.json import load
from mydocker.runtime import store
from mydocker.runtime import task as tasks
from mydocker.runtime.channel import Channel
from mydocker.runtime.task import Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mydocker.oci.runtime import Process, Spec
    from mydocker.runtime.cgroup import Cgroup
    from mydocker.runtime.main import Call
    from mydocker.runtime.store import Entry

_SIGKILL = 9


def create(call: Call) -> int:
    """Make the container; its init waits for ``start``, and is the child of whoever called."""
    _create(call, wait_for_start=True, terminal_is_ours=False)
    return 0


def start(call: Call) -> int:
    """Let the init of a created container execute its program."""
    entry = store.find(call.root, call.only_id())
    status = entry.status()
    if status != "created":
        raise Conflict(f"cannot start container {entry.id}: it is {status}, not created")
    task = _task(entry)
    try:
        with Channel(entry.connect()) as channel:
            os.unlink(entry.socket)
            tasks.finish_start(channel, task)
        tasks.run_hooks(entry.spec, "poststart", entry.id, entry.bundle, "running", entry.pid)
    finally:
        os.close(task.pidfd)
    return 0


def run(call: Call) -> int:
    """Create and start; in the foreground wait for the end, and leave nothing."""
    options = call.options
    detach = options.flag("detach")
    entry, task = _create(call, wait_for_start=False, terminal_is_ours=not detach)
    try:
        task.start()
        if detach:
            return 0
        from mydocker.runtime.foreground import wait

        return wait(task.pidfd, task.console)
    except BaseException:
        detach = False
        raise
    finally:
        if not detach:
            task.delete()
            if not options.flag("keep"):
                entry.remove()


def kill(call: Call) -> int:
    """Send a signal to init, or to all processes of the container."""
    entry = store.find(call.root, call.id())
    if len(call.words) > 2:
        raise InvalidArgument(f"unexpected argument: {call.words[2]}")
    number = signal_number(call.words[1] if len(call.words) > 1 else "TERM")
    if call.options.flag("all"):
        cgroup_of(entry).kill(number)
        return 0
    descriptor = entry.pidfd()
    try:
        pidfd_send_signal(descriptor, number)
    finally:
        os.close(descriptor)
    return 0


def delete(call: Call) -> int:
    """Remove the cgroup and the state of a container that has ended; with --force, end it."""
    force = call.options.flag("force")
    try:
        entry = store.find(call.root, call.only_id())
    except NotFound:
        if force:
            return 0
        raise
    status = entry.status()
    if status in ("running", "paused") and not force:
        raise Conflict(f"cannot delete container {entry.id}: it is {status} (kill it first, or use --force)")
    if status != "stopped":
        descriptor = entry.pidfd()
        try:
            pidfd_send_signal(descriptor, _SIGKILL)
            from mydocker.linux.pidfd import wait_exit

            if status == "paused":
                cgroup_of(entry).thaw()
            if not wait_exit(descriptor, 10):
                raise StartFailed(f"container {entry.id} does not end after SIGKILL")
        finally:
            os.close(descriptor)
    try:
        cgroup_of(entry).remove()
    except NotFound:
        pass  # removed already: by hand, or with the last process of a manager's own cgroup
    if entry.pid:
        tasks.run_hooks(entry.spec, "poststop", entry.id, entry.bundle, "stopped", 0)
    entry.remove()
    return 0


def exec_(call: Call) -> int:
    """Add a process to a running container."""
    from mydocker.runtime import added

    options = call.options
    entry = store.find(call.root, call.id())
    status = entry.status()
    if status == "paused" and not options.flag("ignore-paused"):
        raise Conflict(f"cannot exec in container {entry.id}: it is paused")
    if status not in ("running", "paused", "created"):
        raise Conflict(f"cannot exec in container {entry.id}: it is {status}")
    process = _added_process(call, entry)
    terminal = process.get("terminal", False)
    detach = options.flag("detach")
    socket = _console_socket(call, terminal, needed=detach)
    task = _task(entry)
    try:
        size = None
        if terminal and socket is None:
            from mydocker.runtime.foreground import terminal_size

            size = terminal_size()
        new = added.start(task, process, None, size, None)
    finally:
        os.close(task.pidfd)
    _hand_over(new.console, socket, new.warnings)
    if pid_file := options.value("pid-file"):
        _write_pid(pid_file, new.pid)
    if detach:
        return 0
    from mydocker.runtime.foreground import wait

    return wait(new.pidfd, new.console if socket is None else None)


def pause(call: Call) -> int:
    """Freeze the container's cgroup."""
    entry = store.find(call.root, call.only_id())
    if (status := entry.status()) not in ("running", "created"):
        raise Conflict(f"cannot pause container {entry.id}: it is {status}")
    cgroup_of(entry).freeze()
    return 0


def resume(call: Call) -> int:
    """Thaw it again."""
    entry = store.find(call.root, call.only_id())
    if (status := entry.status()) != "paused":
        raise Conflict(f"cannot resume container {entry.id}: it is {status}")
    cgroup_of(entry).thaw()
    return 0


def signal_number(name: str) -> int:
    """The number of a signal given by number, or by name with or without SIG."""
    if name.isdigit():
        number = int(name)
        if not 0 <= number <= 64:
            raise InvalidArgument(f"no such signal: {name}")
        return number
    from signal import Signals

    try:
        return Signals["SIG" + name.upper().removeprefix("SIG")]
    except KeyError:
        raise InvalidArgument(f"no such signal: {name}") from None


def _create(call: Call, *, wait_for_start: bool, terminal_is_ours: bool) -> tuple[Entry, Task]:
    options = call.options
    bundle = os.path.abspath(options.value("bundle", "."))
    id = call.only_id()
    spec = read_spec(bundle)
    terminal = spec.get("process", {}).get("terminal", False)
    socket = _console_socket(call, terminal, needed=not terminal_is_ours)
    size = None
    if terminal and socket is None:
        from mydocker.runtime.foreground import terminal_size

        size = terminal_size()
    linux = spec.setdefault("linux", {})
    path = linux.setdefault("cgroupsPath", "") or f"/mydocker-runtime/{id}"
    linux["cgroupsPath"] = path
    entry = store.claim(call.root, id)
    listener: _socket.socket | None = None
    task: Task | None = None
    done = False
    try:
        # From here on whoever finds the directory knows which cgroup belongs to it.
        entry.bundle, entry.spec, entry.created = bundle, spec, _now()
        entry.save()
        if wait_for_start:
            listener = entry.listen()
        task = tasks.create(
            spec,
            id=id,
            bundle=bundle,
            stdio=None,
            console_rows_columns=size,
            listener=listener,
            seccomp_cache=f"{call.root}/.seccomp",
        )
        if task.cgroup is not None:
            entry.cgroups = task.cgroup.paths()
        entry.pid, entry.started = task.pid, store.start_time(task.pid)
        entry.save()
        _hand_over(task.console, socket, task.warnings)
        if pid_file := options.value("pid-file"):
            _write_pid(pid_file, task.pid)
        done = True
    finally:
        if listener is not None:
            listener.close()
        if not done:
            if task is not None:
                task.delete()
            entry.remove()
    return entry, task


def read_spec(bundle: str) -> Spec:
    """The document of a bundle."""
    path = f"{bundle}/config.json"
    try:
        document = load(path)
    except FileNotFoundError:
        raise NotFound(f"no such bundle: {path} does not exist") from None
    if not isinstance(document, dict) or "ociVersion" not in document:
        raise InvalidArgument(f"{path} is not a runtime document: it has no ociVersion")
    spec: Spec = document  # type: ignore[assignment]
    return spec


def _task(entry: Entry) -> Task:
    """A task for a container whose init is not our child."""
    return Task(
        entry.spec,
        entry.id,
        entry.bundle,
        pid=entry.pid,
        pidfd=entry.pidfd(),
        cgroup=cgroup_of(entry),
        channel=None,
        filter=tasks.compile_filter(entry.spec, f"{os.path.dirname(entry.directory)}/.seccomp"),
    )


def cgroup_of(entry: Entry) -> Cgroup:
    from mydocker.runtime import cgroup

    if entry.cgroups:
        return cgroup.open_paths(entry.cgroups)
    return cgroup.open(entry.spec.get("linux", {}).get("cgroupsPath") or f"/mydocker-runtime/{entry.id}")


def _added_process(call: Call, entry: Entry) -> Process:
    options = call.options
    if options.value("process"):
        if len(call.words) > 1:
            raise InvalidArgument("give either --process or a command, not both")
        document: Process = load(options.value("process"))
        return document
    base = entry.spec["process"]
    process: Process = {
        "args": call.words[1:],
        "terminal": options.flag("tty"),
        "env": [*base.get("env", []), *options.list("env")],
        "cwd": options.value("cwd") or base.get("cwd", "/"),
        "noNewPrivileges": options.flag("no-new-privs") or base.get("noNewPrivileges", False),
    }
    if not process["args"]:
        raise InvalidArgument("exec needs a command, or --process with a file")
    user = dict(base.get("user", {}))
    if given := options.value("user"):
        uid, _, gid = given.partition(":")
        if not uid.isdigit() or (gid and not gid.isdigit()):
            raise InvalidArgument(f"--user is uid[:gid] in numbers, not {given}")
        user = {"uid": int(uid), "gid": int(gid or 0)}
    if groups := options.list("additional-gids"):
        user["additionalGids"] = [int(group) for group in groups]
    process["user"] = user  # type: ignore[typeddict-item]
    if names := options.list("cap"):
        sets = {kind: list(have) for kind, have in base.get("capabilities", {}).items()}  # type: ignore[call-overload]
        for kind in ("bounding", "effective", "permitted"):
            sets[kind] = sorted({*sets.get(kind, []), *names})
        process["capabilities"] = sets  # type: ignore[typeddict-item]
    return process


def _console_socket(call: Call, terminal: bool, *, needed: bool) -> _socket.socket | None:
    """Connect to --console-socket; ``InvalidArgument`` where it does not fit to the process's terminal."""
    path = call.options.value("console-socket")
    if not path:
        if terminal and needed:
            raise InvalidArgument("a terminal needs --console-socket, or a container in the foreground")
        return None
    if not terminal:
        raise InvalidArgument("--console-socket is given, but process.terminal is false")
    socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        socket.connect(path)
    except OSError as error:
        socket.close()
        raise NotFound(f"cannot connect to the console socket {path}: {error.strerror}") from None
    return socket


def _hand_over(console: int | None, socket: _socket.socket | None, warnings: list[str]) -> None:
    """Send the terminal's master to the console socket, and warnings to standard error."""
    for warning in warnings:
        print(f"mydocker-runtime: warning: {warning}", file=sys.stderr)
    if socket is None or console is None:
        return
    import struct

    rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, struct.pack("i", console))
    socket.sendmsg([b"/dev/ptmx"], [rights])
    socket.close()
    os.close(console)


def _write_pid(path: str, pid: int) -> None:
    """Write the number so that a reader sees all of it or no file."""
    directory, name = os.path.split(path)
    temporary = os.path.join(directory, f".{name}.new")
    with open(temporary, "w") as file:
        file.write(str(pid))
    os.rename(temporary, path)


def _now() -> str:
    import time

    now = time.time_ns()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 10**9)) + f".{now % 10**9:09d}Z"
