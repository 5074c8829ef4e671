"""Containers made by the runtime alone, from a document: no image, no monitor.

result = bundle.run(rootfs, "cat /proc/self/status")        a shell line; Result(code, out, err, warnings)
with bundle.running(rootfs) as task: ...                    a container that waits until it is killed
document(rootfs, args, hostname="x", linux={"sysctl": …})   the document, with changes laid over it
"""

from __future__ import annotations

import contextlib
import copy
import os
import tempfile
from collections.abc import Iterator
from typing import Any

from mydocker.oci import defaults
from mydocker.runtime import task as tasks
from mydocker.runtime.create import create
from mydocker.runtime.step import Event

CAPABILITIES = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_KILL", "CAP_SETGID", "CAP_SETUID"]
_count = iter(range(1, 1 << 30))


class Result:
    def __init__(self, code: int, out: str, err: str, warnings: list[str]) -> None:
        self.code = code
        self.out = out
        self.err = err
        self.warnings = warnings

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


def document(rootfs: str, args: list[str], **changes: Any) -> Any:
    """A document with PID, mount, network, IPC, UTS and cgroup namespaces; ``changes`` are merged into it."""
    spec: dict[str, Any] = {
        "ociVersion": "1.2.0",
        "process": {
            "args": args,
            "cwd": "/",
            "env": ["PATH=/bin"],
            "user": {"uid": 0, "gid": 0},
            "capabilities": {kind: list(CAPABILITIES) for kind in ("bounding", "effective", "permitted")},
        },
        "root": {"path": rootfs},
        "mounts": defaults.mounts(),
        "linux": {
            "cgroupsPath": f"/mydocker-test-{os.getpid()}-{next(_count)}",
            "resources": {"devices": defaults.device_rules()},
            "namespaces": [{"type": k} for k in ("pid", "mount", "network", "ipc", "uts", "cgroup")],
            "maskedPaths": defaults.masked_paths(),
            "readonlyPaths": defaults.readonly_paths(),
        },
    }
    merge(spec, changes)
    return spec


def merge(spec: dict[str, Any], changes: dict[str, Any]) -> None:
    """Lay ``changes`` over ``spec``, dictionaries member by member."""
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(spec.get(key), dict):
            merge(spec[key], value)
        else:
            spec[key] = copy.deepcopy(value)


def namespaces(*kinds: str, **paths: str) -> list[dict[str, str]]:
    """``linux.namespaces``: new ones, and joined ones by path."""
    return [{"type": kind} for kind in kinds] + [{"type": k, "path": p} for k, p in paths.items()]


def run_document(spec: Any, stdin: bytes = b"", **options: Any) -> Result:
    """Create, start, wait for and delete a container; its output."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.TemporaryFile() as source:
        source.write(stdin)
        source.seek(0)
        stdio = tasks.Stdio(source.fileno(), out.fileno(), err.fileno())
        bundle = options.pop("bundle", "/")
        task = create(spec, id=f"test-{next(_count)}", bundle=bundle, stdio=stdio, **options)
        try:
            task.start()
            code = task.wait(60)
        finally:
            task.delete()
        assert code is not None, "the container did not end within a minute"
        out.seek(0)
        err.seek(0)
        return Result(code, out.read().decode(), err.read().decode(), task.warnings)


def run(rootfs: str, script: str, **changes: Any) -> Result:
    """Run a line of shell in a container."""
    return run_document(document(rootfs, ["sh", "-c", script], **changes))


@contextlib.contextmanager
def running(rootfs: str, **changes: Any) -> Iterator[tasks.Task]:
    """A running container whose first process sleeps."""
    spec = document(rootfs, ["sleep", "1000"], **changes)
    with open("/dev/null", "r+b") as null:
        stdio = tasks.Stdio(*[null.fileno()] * 3)
        task = create(spec, id=f"test-{next(_count)}", bundle="/", stdio=stdio)
        try:
            task.start()
            yield task
        finally:
            task.delete()


def added(task: tasks.Task, script: str, **process: Any) -> Result:
    """Run a line of shell as an added process."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, open("/dev/null", "rb") as null:
        stdio = tasks.Stdio(null.fileno(), out.fileno(), err.fileno())
        new = task.exec({"args": ["sh", "-c", script], **process}, stdio)  # type: ignore[typeddict-item]
        code = new.wait(60)
        os.close(new.pidfd)
        assert code is not None, "the added process did not end within a minute"
        out.seek(0)
        err.seek(0)
        return Result(code, out.read().decode(), err.read().decode(), new.warnings)


def events(rootfs: str, script: str, **changes: Any) -> list[Event]:
    """What an observer of the container is told."""
    seen: list[Event] = []
    run_document(document(rootfs, ["sh", "-c", script], **changes), observer=seen.append)
    return seen


def status(text: str) -> dict[str, str]:
    """The lines of /proc/<pid>/status."""
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
