"""Add a process to a running container."""

from __future__ import annotations

import os
from typing import Any

import msgspec

from ..errors import Conflict, InvalidArgument, NotFound, StartFailed, Unavailable
from ..monitor import client
from ..monitor.client import Session
from ..monitor.protocol import ExecRequest
from . import events, links, spec
from .reconcile import GONE, settle
from .record import Record
from .store import Store
from .validate import carried


def execute(
    store: Store,
    record: Record,
    command: list[str],
    *,
    tty: bool = False,
    stdin: bool = False,
    stdout: bool = True,
    stderr: bool = True,
    detach: bool = False,
    env: list[str] | None = None,
    user: str = "",
    working_dir: str = "",
    privileged: bool = False,
    size: tuple[int, int] | None = None,
    detach_keys: bytes = client.DEFAULT_DETACH_KEYS,
) -> Session | None:
    """Run ``command`` in the container; the session of its streams, or ``None`` with ``detach``.

    Raises ``CommandNotFound`` and ``CommandNotExecutable`` for the command, ``StartFailed`` for what else it
    cannot be started with (a user that the container does not know), ``Conflict`` if the container does not
    run.
    """
    if not command:
        raise InvalidArgument("No exec command specified")
    if working_dir and not working_dir.startswith("/"):
        raise StartFailed(
            f"the working directory '{working_dir}' is invalid, it needs to be an absolute path"
        )
    for word in command:
        carried(word, "argument")
    for text in (*(env or ()), user, working_dir):
        carried(text, "option")
    process = spec.added_process(
        record,
        command,
        tty=tty,
        env=env or [],
        user=user,
        working_dir=working_dir,
        privileged=privileged,
        size=size,
        linked=links.environment(store, record),
    )
    rows, columns = size or (0, 0)
    identifier = os.urandom(32).hex()
    request = ExecRequest(
        id=identifier,
        about=_about(
            command,
            tty=tty,
            streams=(stdin, stdout, stderr),
            user=user,
            privileged=privileged,
            detach_keys=detach_keys,
        ),
        process={**process},
        stdin=stdin and not detach,
        stdout=stdout and not detach,
        stderr=stderr and not detach,
        detach=detach,
        rows=rows,
        columns=columns,
    )
    words = " ".join(command)
    try:
        if store.held(record.id):
            events.container(store, record, f"exec_create: {words}", execID=identifier)
            events.container(store, record, f"exec_start: {words}", execID=identifier)
        session = client.execute(store.run_directory(record.id), request, detach_keys)
    except Unavailable:
        settle(store, record.id, patience=GONE)
        raise Conflict(f"container {record.id} is not running") from None
    except (NotFound, InvalidArgument) as error:
        raise StartFailed(str(error)) from error
    if detach:
        session.close()
        return None
    return session


def probe(store: Store, record: Record, command: list[str]) -> ExecRequest:
    """What a health check asks for."""
    process = spec.added_process(
        record,
        command,
        tty=False,
        env=[],
        user="",
        working_dir="",
        privileged=False,
        size=None,
        linked=links.environment(store, record),
    )
    return ExecRequest(
        id=os.urandom(32).hex(),
        about=_about(
            command, tty=False, streams=(False, True, True), user="", privileged=False, detach_keys=b""
        ),
        process={**process},
        stdout=True,
        stderr=True,
    )


def _about(
    command: list[str],
    *,
    tty: bool,
    streams: tuple[bool, bool, bool],
    user: str,
    privileged: bool,
    detach_keys: bytes,
) -> msgspec.Raw:
    """What ``inspect`` is to say of it."""
    stdin, stdout, stderr = streams
    about = {
        "ProcessConfig": {
            "tty": tty,
            "entrypoint": command[0],
            "arguments": command[1:],
            "privileged": privileged,
            "user": user,
        },
        "OpenStdin": stdin,
        "OpenStdout": stdout,
        "OpenStderr": stderr,
        "DetachKeys": detach_keys.decode("latin-1"),
    }
    return msgspec.Raw(msgspec.json.encode(about))


def inspect(store: Store, record: Record, identifier: str) -> dict[str, Any]:
    """Docker's ``GET /exec/{id}/json``: of a process that was added and runs, or ended not long ago."""
    try:
        added = client.added(store.run_directory(record.id))
    except Unavailable:
        added = []
    for each in added:
        if each.id == identifier:
            return {
                "ID": each.id,
                "Running": each.exit_code is None,
                "ExitCode": each.exit_code,
                **msgspec.json.decode(each.about),
                "CanRemove": each.exit_code is not None,
                "ContainerID": record.id,
                "Pid": each.pid,
            }
    raise NotFound(f"No such exec instance: {identifier}")
