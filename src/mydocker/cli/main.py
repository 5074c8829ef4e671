"""The entry point of ``mydocker``: find the command, run it, and make an exit status of what happens.

This is the one place where errors become exit statuses and where ``mydocker:`` is put before a message.
The statuses are Docker's:

    0         done; or the container's own
    1         the engine refused, or the words make no command
    64        a template for one document cannot be read
    125       a flag cannot be read, or of ``create`` the flags do not fit together; or, of ``run``, anything
              before the container's own status counts
    126, 127  of ``run`` and ``exec``: the command cannot be executed, does not exist; 126 also for what else
              keeps the process of an ``exec`` from being started (a user that the container does not know)
    128+n     ended by signal n (this program dies by the signal itself, and the shell adds the 128)
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Mapping
from typing import Any

import mydocker
from mydocker import errors
from mydocker.cli import output, table
from mydocker.cli.attach import Detached, EndedBySignal
from mydocker.cli.command import PROGRAM, USAGE_ERROR, ArgumentsError, Command, Invocation, WordsError
from mydocker.cli.flags import pflag

REFUSED = 1
NOT_EXECUTABLE = 126
NOT_FOUND = 127


def main(argv: list[str] | None = None) -> int:
    """``argv`` without the program's name; ``sys.argv[1:]`` if not given."""
    try:
        return _run(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        return _die(signal.SIGINT)
    except BrokenPipeError:
        return _die(signal.SIGPIPE)
    except EndedBySignal as ended:
        return _die(ended.number)


def _run(words: list[str]) -> int:
    try:
        globals_, rest = pflag.parse(table.GLOBAL_FLAGS, words, interspersed=False)
    except pflag.HelpRequested:
        output.out(table.overview())
        return 0
    except pflag.FlagError as error:
        output.err(f"{error}\n\n{_see(PROGRAM)}")
        return USAGE_ERROR
    globals_ = {flag.name: globals_.get(flag.name, flag.default) for flag in table.GLOBAL_FLAGS}
    if globals_["version"]:
        output.out(f"{PROGRAM} version {mydocker.__version__}")
        return 0
    if globals_["help"] or not rest:
        output.out(table.overview())
        return 0
    if rest[0] == "help":
        rest = [*rest[1:], "--help"]
    try:
        name, entry, rest = table.find(rest)
    except table.GroupCalled as group:
        (output.out if group.asked else output.err)(table.group_help(str(group)))
        return 0
    except table.UnknownCommand as error:
        called = f"{PROGRAM} {error.group}".rstrip()
        usage = f"Usage:  {called}\n\n" if error.group else ""
        output.err(f"{PROGRAM}: {error}\n\n{usage}{_see(called)}")
        return REFUSED
    return _call(entry.load(), name, rest, globals_)


def _call(command: Command, name: str, words: list[str], globals_: Mapping[str, Any]) -> int:
    see = _see(f"{PROGRAM} {name}")
    try:
        invocation = command.parse(name, words, globals_)
    except pflag.HelpRequested:
        output.out(command.help(name).rstrip("\n"))
        return 0
    except pflag.FlagError as error:
        output.err(f"{error}\n\n{command.usage_line(name)}\n\n{see}")
        return USAGE_ERROR
    except ArgumentsError as error:
        output.err(f"{PROGRAM}: {error}\n\n{command.usage_line(name)}\n\n{see}")
        return REFUSED
    except errors.InvalidArgument as error:
        return _report(WordsError(str(error), USAGE_ERROR, see_help=True), command, see, globals_["debug"])
    except errors.Error as error:
        return _report(error, command, see, globals_["debug"])
    return _act(command, invocation, see, globals_["debug"])


def _act(command: Command, invocation: Invocation, see: str, debug: bool) -> int:
    try:
        return command.action(invocation)
    except errors.Error as error:
        return _report(error, command, see, debug)
    except Detached:
        output.err("read escape sequence")
        return REFUSED
    except (BrokenPipeError, KeyboardInterrupt):
        raise
    except OSError as error:
        return _report(error, command, see, debug)


def _report(error: errors.Error | OSError, command: Command, see: str, debug: bool) -> int:
    if debug:
        output.err("".join(traceback.format_exception(error)).rstrip("\n"))
    message = _describe(error) if isinstance(error, OSError) else str(error)
    output.err(f"{PROGRAM}: {message}")
    if error.see_help if isinstance(error, WordsError) else command.failure == USAGE_ERROR:
        output.err(f"\n{see}")
    if isinstance(error, WordsError):
        return error.status
    if command.failure == USAGE_ERROR or command.start_failure is not None:
        if isinstance(error, errors.CommandNotFound):
            return NOT_FOUND
        if isinstance(error, errors.CommandNotExecutable):
            return NOT_EXECUTABLE
    if isinstance(error, errors.StartFailed) and command.start_failure is not None:
        return command.start_failure
    return command.failure


def _describe(error: OSError) -> str:
    reason = (error.strerror or str(error)).lower()
    return f"{error.filename}: {reason}" if error.filename is not None else reason


def _see(called: str) -> str:
    return f"Run '{called} --help' for more information"


def _die(number: int) -> int:
    """End by the signal, so that the shell sees what happened; a status only if it was not to be."""
    sys.stdout.flush()
    signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)
    return 128 + number
