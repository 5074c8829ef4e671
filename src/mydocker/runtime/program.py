"""The program to execute: found in the container's PATH, executed with nothing of ours left.

What ``execve`` refuses is told apart as a shell does: there is no such program (127), or there is one that
cannot be executed (126).
"""

from __future__ import annotations

import errno
import os
import stat

from mydocker.errors import CommandNotExecutable, CommandNotFound, StartFailed
from mydocker.linux.process import SIGTTIN, SIGTTOU, default_signals

_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NOT_EXECUTABLE = (errno.EACCES, errno.EPERM, errno.ENOEXEC, errno.ELIBBAD, errno.EISDIR, errno.ETXTBSY)


def find(name: str, env: dict[str, str]) -> str:
    """Return the path of the program ``name``; one with a slash in it is not searched for."""
    if "/" in name:
        _require_executable(name, name)
        return name
    if not name:
        raise CommandNotFound('exec: "": the command is empty')
    refused: CommandNotExecutable | None = None
    for directory in env.get("PATH", _DEFAULT_PATH).split(":"):
        candidate = os.path.join(directory or ".", name)
        try:
            _require_executable(name, candidate)
        except CommandNotFound:
            continue
        except CommandNotExecutable as error:
            refused = refused or error
            continue
        return candidate
    raise refused or CommandNotFound(f'exec: "{name}": executable file not found in $PATH')


def execute(path: str, arguments: list[str], env: dict[str, str]) -> None:
    """execve(2) with default signal dispositions; returns only by raising.

    Those of the caller are gone since ``init.main``; here it is about ``reaper.become_init``.
    """
    default_signals((SIGTTIN, SIGTTOU))
    try:
        os.execve(path, arguments, env)
    except OSError as error:
        raise _refusal(path, error) from error
    except ValueError as error:  # an embedded NUL byte
        raise StartFailed(f'exec: "{path}": {error}') from error


def environment(entries: list[str]) -> dict[str, str]:
    """The document's ``env`` as a mapping; the last of a name wins, those without "=" are dropped."""
    return dict(entry.split("=", 1) for entry in entries if "=" in entry[1:])


def _require_executable(name: str, path: str) -> None:
    try:
        mode = os.stat(path).st_mode
    except PermissionError:
        raise CommandNotExecutable(f'exec: "{name}": permission denied') from None
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise CommandNotFound(f'exec: "{name}": stat {path}: {reason}') from None
    if stat.S_ISDIR(mode):
        raise CommandNotExecutable(f'exec: "{name}": is a directory')
    if not os.access(path, os.X_OK, effective_ids=True) or not mode & 0o111:
        raise CommandNotExecutable(f'exec: "{name}": permission denied')


def _refusal(path: str, error: OSError) -> StartFailed:
    reason = (error.strerror or "").lower()
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        # The file is there, it was found before: its interpreter or loader is not.
        return CommandNotFound(f"exec {path}: {reason} (or its interpreter is missing)")
    if error.errno in _NOT_EXECUTABLE:
        return CommandNotExecutable(f"exec {path}: {reason}")
    return StartFailed(f"exec {path}: {reason}")
