"""What ``ps`` shows of this process: its name, its arguments, its environment.

The kernel reads the last two from the process's own stack, where execve(2) put them; proc_pid_stat(5), fields
48 to 51, says where. Writing over them is the usual way (prctl(2), PR_SET_MM, would want CAP_SYS_RESOURCE).
For a process that has come to another use without an execve, as one that was forked by an interpreter.
"""

from __future__ import annotations

import ctypes

from mydocker.linux import prctl

_ARG_START, _ARG_END, _ENV_START, _ENV_END = range(47, 51)
"""places in /proc/self/stat, counted from 0"""


def set_name(name: str) -> None:
    """The name of the process (``comm``), of which the kernel keeps 15 bytes."""
    buffer = ctypes.create_string_buffer(name.encode()[:15])
    prctl.prctl(prctl.PR_SET_NAME, ctypes.addressof(buffer))


def set_arguments(arguments: list[bytes]) -> None:
    """Let /proc/PID/cmdline show ``arguments``, as many bytes as there were before, and environ nothing.

    For a process that reads neither again: libc's environment is gone with it. Raises ``OSError`` if /proc
    does not tell where they are.
    """
    with open("/proc/self/stat", "rb", buffering=0) as file:
        after_name = file.readall().rpartition(b")")[2].split()
    fields = [0, 0, *(int(field) if field.lstrip(b"-").isdigit() else 0 for field in after_name)]
    _fill(fields[_ARG_START], fields[_ARG_END], b"\0".join(arguments))
    _fill(fields[_ENV_START], fields[_ENV_END], b"")


def _fill(start: int, end: int, content: bytes) -> None:
    size = end - start
    if not start or size <= 0:
        return
    # The last byte stays NUL: otherwise the kernel takes it for a longer title that goes on into the
    # environment.
    kept = content[: size - 1]
    ctypes.memset(start, 0, size)
    ctypes.memmove(start, kept, len(kept))
