"""The runtime's side of the channel: what it does for init until execve, and the hooks beside that.

Kept apart from the making of containers (``runtime/create.py``), since ``start`` needs no more than this, and
starts cold.
"""

from __future__ import annotations

import os

from mydocker import errors
from mydocker.errors import InvalidArgument, StartFailed
from mydocker.runtime import state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from mydocker.oci.runtime import Hook, Spec
    from mydocker.runtime.channel import Channel
    from mydocker.runtime.seccomp import Filter
    from mydocker.runtime.step import Event

    Observer = Callable[[Event], None]

    class Process(Protocol):
        """Init, or an added process."""

        pid: int
        pidfd: int
        console: int | None
        warnings: list[str]

    class Container(Protocol):
        """What init has to do with: a task, or what is known of one that another process has made."""

        spec: Spec
        id: str
        bundle: str
        pid: int
        pidfd: int

        def seccomp_filter(self) -> Filter | None: ...


def follow(
    channel: Channel, process: Process, container: Container | None, observer: Observer | None
) -> None:
    """Serve the process at the other end until it is ready to execute; raise what it reports.

    ``container`` if it is the init of one, which has more to ask for.
    """
    while True:
        kind, fields, descriptors = channel.receive()
        if kind == "ready":
            return
        if kind == "event" and observer is not None:
            from mydocker.runtime.step import Event

            observer(Event(*fields))
        elif kind == "warning":
            process.warnings.append(fields[0])
        elif kind == "console":
            process.console = descriptors[0] if descriptors else None
        elif kind == "map" and container is not None:
            _write_maps(container)
            channel.send("go")
        elif kind == "offsets" and container is not None:
            _write_process_file(container, "timens_offsets", fields[0])
            channel.send("go")
        elif kind == "hooks" and container is not None:
            for phase in ("prestart", "createRuntime"):
                run_hooks(container, phase, "creating", container.pid)
            channel.send("go")
        else:
            raise reported(kind, fields)


def finish_start(channel: Channel, container: Container, pid: int, pidfd: int) -> None:
    """Wait for the end of the channel, which is what a successful execve looks like.

    At its other end is the process of ``pid`` and ``pidfd``: init, or a process added to the container.
    """
    while True:
        kind, fields, _ = channel.receive()
        if not kind:
            return
        filter = container.seccomp_filter() if kind == "listener" else None
        if filter is None:
            raise reported(kind, fields)
        from mydocker.linux.pidfd import pidfd_getfd
        from mydocker.oci.json import loads
        from mydocker.runtime import seccomp

        descriptor = pidfd_getfd(pidfd, int(fields[0]))
        try:
            text = state.document(container.spec, container.id, "running", container.pid, container.bundle)
            seccomp.send_listener(filter, descriptor, loads(text, "state"), pid)
        except OSError as error:
            raise StartFailed(f"{error.strerror}: {error.filename}") from error
        finally:
            os.close(descriptor)
        channel.send("go")


def reported(kind: str, fields: list[str]) -> errors.Error:
    """The exception for what came over a channel instead of what was expected."""
    if kind == "error" and len(fields) == 2:
        found = getattr(errors, fields[0], None)
        if isinstance(found, type) and issubclass(found, errors.Error):
            return found(fields[1])
    if not kind:
        return StartFailed("init ended before it was ready (killed from outside, or out of memory)")
    return StartFailed(f"unexpected message from init: {kind}")


def compile_filter(spec: Spec, cache: str | None) -> Filter | None:
    """The seccomp filter of ``spec``, if it has one; ``cache`` is where compiled ones are kept."""
    section = spec.get("linux", {}).get("seccomp")
    if not section:
        return None
    from mydocker.runtime import seccomp

    return seccomp.compile(section, cache)


def run_hooks(container: Container, kind: str, status: str, pid: int) -> None:
    """Run the hooks of one ``kind``, if there are any."""
    wanted: list[Hook] = container.spec.get("hooks", {}).get(kind, [])  # type: ignore[assignment]
    if wanted:
        from mydocker.runtime import hooks

        hooks.run(kind, wanted, state.document(container.spec, container.id, status, pid, container.bundle))


def run_poststop_hooks(spec: Spec, id: str, bundle: str) -> list[str]:
    """Run them all; what failed is a warning and stops nothing (runtime.md, "Lifecycle", step 13)."""
    wanted = spec.get("hooks", {}).get("poststop", [])
    warnings: list[str] = []
    if not wanted:
        return warnings
    from mydocker.runtime import hooks

    for hook in wanted:
        try:
            hooks.run("poststop", [hook], state.document(spec, id, "stopped", 0, bundle))
        except errors.Error as error:
            warnings.append(str(error))
    return warnings


def _write_maps(container: Container) -> None:
    """The document's mappings; a document without any means the ids of the caller, each to itself."""
    from mydocker.runtime import idmap

    linux = container.spec.get("linux", {})
    given = {"uid_map": linux.get("uidMappings"), "gid_map": linux.get("gidMappings")}
    for name, mappings in given.items():
        if mappings:
            lines = idmap.lines(mappings)
        elif any(given.values()):
            raise InvalidArgument(f"a new user namespace needs linux.{name[:3]}Mappings")
        else:
            with open(f"/proc/self/{name}") as file:
                own = [line.split() for line in file]
            lines = "".join(f"{inside} {inside} {count}\n" for inside, _, count in own)
        _write_process_file(container, name, lines)


def _write_process_file(container: Container, name: str, text: str) -> None:
    try:
        with open(f"/proc/{container.pid}/{name}", "wb", buffering=0) as file:
            file.write(text.encode())
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise StartFailed(f"cannot write {text.strip()!r} to {name}: {reason}") from error
