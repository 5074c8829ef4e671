"""Hooks: programs that are told of a container's life (runtime specification, "POSIX-platform Hooks").

Each gets the container's state as JSON on its standard input, and the environment that the document gives it;
where the document does not say, that of the runtime, as with runc and crun. A hook that fails, or runs past
its timeout, fails what it is part of, with what it wrote last in the message.
"""

from __future__ import annotations

import os

from mydocker.errors import InvalidArgument, StartFailed
from mydocker.linux.pidfd import pidfd_send_signal, reap, wait_exit
from mydocker.linux.process import cloexec_from, clone3, default_signals, ignored_signals
from mydocker.runtime.program import environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mydocker.oci.runtime import Hook

_SIGKILL = 9
_SHOWN = 400  # characters of output in an error message


def run(
    kind: str,
    hooks: list[Hook],
    state: str,
    before: Callable[[], None] | None = None,
    inherited: Mapping[str, str] = os.environ,
) -> None:
    """Run ``hooks`` of ``kind`` in order with ``state`` (JSON); ``StartFailed`` names the first that fails.

    ``before`` is called in each hook's process, ahead of its execve. ``inherited`` is the environment of a
    hook that has none of its own.
    """
    for hook in hooks:
        path, timeout = hook.get("path", ""), hook.get("timeout")
        if not path.startswith("/"):
            raise InvalidArgument(f"the path of a {kind} hook has to be absolute: {path!r}")
        if timeout is not None and timeout <= 0:
            raise InvalidArgument(f"the timeout of the {kind} hook {path} has to be positive: {timeout}")
        output = os.memfd_create("hook-output", os.MFD_CLOEXEC)
        source = os.memfd_create("hook-state", os.MFD_CLOEXEC)
        try:
            os.write(source, state.encode(errors="surrogateescape"))
            os.lseek(source, 0, os.SEEK_SET)
            pid, pidfd = clone3()
            if pid == 0:
                _execute(hook, source, output, before, inherited)
            try:
                if not wait_exit(pidfd, timeout):
                    pidfd_send_signal(pidfd, _SIGKILL)
                    reap(pidfd)
                    raise StartFailed(f"{kind} hook {path} did not end within {timeout} s, and was killed")
                code = reap(pidfd)
            finally:
                os.close(pidfd)
            if code != 0:
                text = os.pread(output, 1 << 16, 0).decode(errors="replace").strip()[-_SHOWN:]
                raise StartFailed(
                    f"{kind} hook {path} failed with status {code}" + (f": {text}" if text else "")
                )
        finally:
            os.close(output)
            os.close(source)


def _execute(
    hook: Hook,
    source: int,
    output: int,
    before: Callable[[], None] | None,
    inherited: Mapping[str, str],
) -> None:
    """In the hook's process: never returns."""
    path = hook["path"]
    try:
        os.dup2(source, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        cloexec_from(3)
        if before is not None:
            before()
        default_signals(ignored_signals())
        env = environment(hook["env"]) if "env" in hook else inherited
        os.execve(path, hook.get("args") or [path], env)
    except BaseException as error:  # noqa: BLE001 - a forked process must not run its parent's code
        os.write(2, f"{path}: {error}".encode(errors="replace"))
    finally:
        os._exit(127)
