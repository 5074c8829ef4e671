"""The commands of ``mydocker-runtime`` that change something: the life of a container, one function each."""

from __future__ import annotations

import _socket
import os

from mydocker.errors import Conflict, InvalidArgument, NotFound, NotSupported, StartFailed
from mydocker.linux.pidfd import pidfd_send_signal
from mydocker.oci.json import load
from mydocker.runtime import console, dialogue, store
from mydocker.runtime.channel import Channel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mydocker.oci.runtime import Spec
    from mydocker.runtime.cgroup import Cgroup
    from mydocker.runtime.main import Call
    from mydocker.runtime.seccomp import Filter
    from mydocker.runtime.store import Entry
    from mydocker.runtime.task import Task

_SIGKILL = 9


class _Waiting:
    """A container whose init waits for ``start``: as much of a task as that needs. Owns its pidfd."""

    __slots__ = ("_cache", "bundle", "id", "pid", "pidfd", "spec")

    def __init__(self, entry: Entry) -> None:
        self.spec, self.id, self.bundle = entry.spec, entry.id, entry.bundle
        self.pid, self.pidfd = entry.pid, entry.pidfd()
        self._cache = _seccomp_cache(entry)

    def seccomp_filter(self) -> Filter | None:
        return dialogue.compile_filter(self.spec, self._cache)


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
    container = _Waiting(entry)
    try:
        with Channel(entry.connect()) as channel:
            os.unlink(entry.socket)
            dialogue.finish_start(channel, container, container.pid, container.pidfd)
        try:
            dialogue.run_hooks(container, "poststart", "running", entry.pid)
        except BaseException:
            end_and_remove(entry, force=True)  # as runc and crun have it: the container has failed to start
            raise
    finally:
        os.close(container.pidfd)
    return 0


def run(call: Call) -> int:
    """Create and start; in the foreground wait for the end, and leave nothing."""
    options = call.options
    detach = options.flag("detach")
    entry, task = _create(call, wait_for_start=False, terminal_is_ours=not detach)
    try:
        if detach:
            task.start()
            return 0
        from mydocker.runtime import foreground

        with foreground.signals() as signals:
            task.start()
            return foreground.wait(task.pidfd, task.console, signals)
    except BaseException:
        detach = False
        raise
    finally:
        if not detach:
            already = len(task.warnings)
            task.delete()
            console.warn(task.warnings[already:])
            if not options.flag("keep"):
                entry.remove()


def kill(call: Call) -> int:
    """Send a signal to init, or to all processes of the container."""
    entry = store.find(call.root, call.id())
    if len(call.words) > 2:
        raise InvalidArgument(f"unexpected argument: {call.words[2]}")
    number = signal_number(call.words[1] if len(call.words) > 1 else "TERM")
    if call.options.flag("all"):
        try:
            cgroup_of(entry).kill(number)
        except NotFound:
            pass  # it has ended, and its cgroup went with it
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
    if call.options.flag("regex"):
        import re

        try:
            wanted = re.compile(call.only_id())
        except re.error as error:
            raise InvalidArgument(f"invalid regular expression {call.id()!r}: {error}") from None
        for entry in store.all_entries(call.root):
            if wanted.search(entry.id):
                end_and_remove(entry, force)
        return 0
    try:
        entry = store.find(call.root, call.only_id())
    except NotFound:
        if force:
            return 0
        raise
    end_and_remove(entry, force)
    return 0


def end_and_remove(entry: Entry, force: bool) -> None:
    """What ``delete`` does with one container."""
    status = entry.status()
    if status in ("running", "paused") and not force:
        raise Conflict(f"cannot delete container {entry.id}: it is {status} (kill it first, or use --force)")
    if status == "creating":
        raise Conflict(f"cannot delete container {entry.id}: it is being created by process {entry.creator}")
    if status != "stopped":
        descriptor = entry.pidfd()
        try:
            pidfd_send_signal(descriptor, _SIGKILL)
            from mydocker.linux.pidfd import wait_exit

            if status == "paused":
                _thaw(entry)
            if not wait_exit(descriptor, 0.2):
                from mydocker.runtime.cgroup_process import thaw

                thaw(entry.pid)  # somebody may have moved it to a frozen cgroup
            if not wait_exit(descriptor, 10):
                raise StartFailed(f"container {entry.id} does not end after SIGKILL")
        finally:
            os.close(descriptor)
    try:
        cgroup_of(entry).remove()
    except NotFound:
        # Removed already: by hand, by systemd, or with the last process of a manager's own cgroup.
        if entry.unit:
            from mydocker.runtime import cgroup_systemd

            cgroup_systemd.stop(entry.unit)
    if entry.pid:
        console.warn(dialogue.run_poststop_hooks(entry.spec, entry.id, entry.bundle))
    entry.remove()


def _thaw(entry: Entry) -> None:
    """Of cgroup v2 a frozen process can be killed; then the cgroup may be gone with it."""
    try:
        cgroup_of(entry).thaw()
    except NotFound:
        pass


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
    """The number of a signal given by number, or by name with or without SIG (RTMIN+3 and the like too)."""
    if name.isdigit():
        number = int(name)
        if not 0 <= number <= 64:
            raise InvalidArgument(f"no such signal: {name}")
        return number
    from signal import Signals

    plain, plus, offset = name.upper().removeprefix("SIG").partition("+")
    if plus and plain == "RTMIN" and offset.isdigit() and int(offset) <= 30:
        return Signals.SIGRTMIN + int(offset)
    try:
        return Signals["SIG" + plain + plus + offset]
    except KeyError:
        raise InvalidArgument(f"no such signal: {name}") from None


def _create(call: Call, *, wait_for_start: bool, terminal_is_ours: bool) -> tuple[Entry, Task]:
    from mydocker.runtime.create import create as create_task

    if os.geteuid() != 0:
        raise NotSupported(
            "only root can create a container (a user is root in a namespace by unshare --map-root-user)"
        )
    options = call.options
    preserve, environment = console.preserved(options)
    bundle = os.path.abspath(options.value("bundle", "."))
    id = call.only_id()
    spec = read_spec(bundle, options.value("config", "config.json"))
    if environment:
        process = spec.setdefault("process", {})
        process["env"] = [*process.get("env", []), *environment]
    terminal = spec.get("process", {}).get("terminal", False)
    socket = console.connect(options.value("console-socket"), terminal, needed=not terminal_is_ours)
    size = None
    if terminal and socket is None:
        from mydocker.runtime.foreground import terminal_size

        size = terminal_size()
    entry = claim(call, bundle, spec)
    listener: _socket.socket | None = None
    task: Task | None = None
    done = False
    try:
        if wait_for_start:
            listener = entry.listen()
        task = create_task(
            spec,
            id=id,
            bundle=bundle,
            stdio=None,
            console_rows_columns=size,
            listener=listener,
            seccomp_cache=f"{call.root}/.seccomp",
            preserve=preserve,
            move_root=options.flag("no-pivot"),
            keep_keyring=options.flag("no-new-keyring"),
            rootless=call.rootless,
            cgroup_manager=call.manager,
        )
        if task.cgroup is not None:
            entry.cgroups = task.cgroup.paths()
        entry.pid, entry.started = task.pid, store.start_time(task.pid)
        entry.save()
        console.hand_over(task.console, socket, task.warnings)
        if pid_file := options.value("pid-file"):
            console.write_pid(pid_file, task.pid)
        done = True
    finally:
        if listener is not None:
            listener.close()
        if not done:
            if task is not None:
                task.delete()
            entry.remove()
    return entry, task


def claim(call: Call, bundle: str, spec: Spec) -> Entry:
    """Take the id for a new container and remember what is asked for, the cgroup included."""
    id = call.only_id()
    linux = spec.setdefault("linux", {})
    unit = ""
    if call.manager == "systemd":
        from mydocker.runtime import cgroup_systemd

        linux["cgroupsPath"] = linux.get("cgroupsPath") or f"{cgroup_systemd.SLICE}:mydocker-runtime:{id}"
        unit = cgroup_systemd.unit_of(linux["cgroupsPath"])[1]
    else:
        linux["cgroupsPath"] = linux.get("cgroupsPath") or f"/mydocker-runtime/{id}"
    entry = store.claim(call.root, id)
    entry.bundle, entry.spec, entry.created, entry.unit = bundle, spec, _now(), unit
    entry.creator_started = store.start_time(entry.creator)
    try:
        # From here on whoever finds the directory knows which cgroup belongs to it.
        entry.save()
    except BaseException:
        entry.remove()
        raise
    return entry


def read_spec(bundle: str, name: str = "config.json") -> Spec:
    """The document of a bundle, checked; ``InvalidArgument`` names the field that is wrong."""
    path = os.path.join(bundle, name)
    try:
        document = load(path)
    except FileNotFoundError:
        raise NotFound(f"no such bundle: {path} does not exist") from None
    from mydocker.oci import runtime_check

    runtime_check.check(document, path)
    spec: Spec = document
    return spec


def task_of(entry: Entry) -> Task:
    """A task for a container whose init is not our child."""
    from mydocker.runtime.task import Task

    return Task(
        entry.spec,
        entry.id,
        entry.bundle,
        pid=entry.pid,
        pidfd=entry.pidfd(),
        cgroup=cgroup_of(entry) if entry.cgroups else None,
        channel=None,
        filter=dialogue.compile_filter(entry.spec, _seccomp_cache(entry)),
    )


def _seccomp_cache(entry: Entry) -> str:
    return f"{os.path.dirname(entry.directory)}/.seccomp"


def cgroup_of(entry: Entry) -> Cgroup:
    """The container's cgroup; ``NotFound`` once it is gone."""
    if entry.unit:
        from mydocker.runtime import cgroup_systemd

        return cgroup_systemd.open(entry.unit, entry.cgroups)
    from mydocker.runtime import cgroup

    if entry.cgroups:
        return cgroup.open_paths(entry.cgroups)
    return cgroup.open(entry.spec.get("linux", {}).get("cgroupsPath") or f"/mydocker-runtime/{entry.id}")


def _now() -> str:
    import time

    now = time.time_ns()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 10**9)) + f".{now % 10**9:09d}Z"
