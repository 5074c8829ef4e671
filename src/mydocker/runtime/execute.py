"""The command ``exec``: a process from the command line, or from a file, added to a running container."""

from __future__ import annotations

import os

from mydocker.errors import Conflict, InvalidArgument
from mydocker.oci.json import load
from mydocker.runtime import added, console, store
from mydocker.runtime.verbs import task_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

    from mydocker.oci.runtime import Process
    from mydocker.runtime.main import Call
    from mydocker.runtime.store import Entry
    from mydocker.runtime.task import AddedProcess, Task


def exec_(call: Call) -> int:
    """Add a process to a running container."""
    options = call.options
    entry = store.find(call.root, call.id())
    status = entry.status()
    if status == "paused" and not options.flag("ignore-paused"):
        raise Conflict(f"cannot exec in container {entry.id}: it is paused")
    if status not in ("running", "paused", "created"):
        raise Conflict(f"cannot exec in container {entry.id}: it is {status}")
    process = _process(call, entry)
    terminal = process.get("terminal", False)
    detach = options.flag("detach")
    preserve, environment = console.preserved(options)
    process["env"] = [*process.get("env", []), *environment]
    socket = console.connect(options.value("console-socket"), terminal, needed=detach)
    if detach:
        _start(call, process, task_of(entry), socket, preserve)
        return 0
    from mydocker.runtime import foreground

    with foreground.signals() as signals:
        new = _start(call, process, task_of(entry), socket, preserve)
        return foreground.wait(new.pidfd, new.console if socket is None else None, signals)


def _start(
    call: Call, process: Process, task: Task, socket: _socket.socket | None, preserve: list[int]
) -> AddedProcess:
    options = call.options
    try:
        if place := options.value("cgroup"):
            from mydocker.runtime import cgroup_process

            task.cgroup = cgroup_process.below(task.require_cgroup(), place)
        size = None
        if process.get("terminal") and socket is None:
            from mydocker.runtime.foreground import terminal_size

            size = terminal_size()
        new = added.start(task, process, None, size, None, preserve=preserve)
    finally:
        os.close(task.pidfd)
    console.hand_over(new.console, socket, new.warnings)
    if pid_file := options.value("pid-file"):
        console.write_pid(pid_file, new.pid)
    return new


def _process(call: Call, entry: Entry) -> Process:
    """What is to be executed: the file of ``--process``, or the container's own process with changes."""
    options = call.options
    if options.value("process"):
        if len(call.words) > 1:
            raise InvalidArgument("give either --process or a command, not both")
        from mydocker.oci import runtime_check

        path = options.value("process")
        document: Process = load(path)
        runtime_check.check_process(document, path)
        return document
    if len(call.words) < 2:
        raise InvalidArgument("exec needs a command, or --process with a file")
    base = entry.spec["process"]
    process: Process = {
        "args": call.words[1:],
        "terminal": options.flag("tty"),
        "env": [*base.get("env", []), *options.list("env")],
        "cwd": options.value("cwd") or base.get("cwd", "/"),
        "noNewPrivileges": options.flag("no-new-privs") or base.get("noNewPrivileges", False),
    }
    user = dict(base.get("user", {}))
    if given := options.value("user"):
        uid, _, gid = given.partition(":")
        if not uid.isdigit() or (gid and not gid.isdigit()):
            raise InvalidArgument(f"--user is uid[:gid] in numbers, not {given}")
        user = {"uid": int(uid), "gid": int(gid or 0)}
    if groups := options.list("additional-gids"):
        if wrong := [group for group in groups if not group.isdigit()]:
            raise InvalidArgument(f"--additional-gids are numbers, not {wrong[0]}")
        user["additionalGids"] = [int(group) for group in groups]
    process["user"] = user  # type: ignore[typeddict-item]
    if names := options.list("cap"):
        sets = {kind: list(have) for kind, have in base.get("capabilities", {}).items()}  # type: ignore[call-overload]
        for kind in ("bounding", "effective", "permitted"):
            sets[kind] = sorted({*sets.get(kind, []), *names})
        process["capabilities"] = sets  # type: ignore[typeddict-item]
    if profile := options.value("apparmor"):
        process["apparmorProfile"] = profile
    if label := options.value("process-label"):
        process["selinuxLabel"] = label
    return process
