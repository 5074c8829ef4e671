"""Add a process to a running container."""

from __future__ import annotations

import os

from ..errors import Conflict, InvalidArgument, Unavailable
from ..monitor import client
from ..monitor.client import Session
from ..monitor.protocol import ExecRequest
from . import events, spec
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

    Raises ``CommandNotFound`` and ``CommandNotExecutable`` for the command, ``Conflict`` if the container
    does not run.
    """
    if not command:
        raise InvalidArgument("No exec command specified")
    if working_dir and not working_dir.startswith("/"):
        raise InvalidArgument(
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
    )
    rows, columns = size or (0, 0)
    identifier = os.urandom(32).hex()
    request = ExecRequest(
        id=identifier,
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
    if detach:
        session.close()
        return None
    return session
