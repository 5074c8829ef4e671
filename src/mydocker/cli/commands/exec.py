"""``exec``: run one more process in a running container."""

from __future__ import annotations

from mydocker import errors
from mydocker.cli import attach, terminal
from mydocker.cli.attach import Manner, Signals
from mydocker.cli.command import Command, Invocation
from mydocker.cli.flags.container import DETACH_KEYS
from mydocker.cli.flags.environment import parse_env, read_env_files
from mydocker.cli.flags.keys import parse_keys
from mydocker.cli.flags.pflag import switch, text, values


def run(invocation: Invocation) -> int:
    reference, *command = invocation.arguments
    detach, tty, stdin = invocation["detach"], invocation["tty"], invocation["interactive"]
    keys = parse_keys(invocation["detach-keys"])
    env = read_env_files(invocation["env-file"]) + list(invocation["env"])
    container = invocation.engine.containers.get(reference)
    if tty and stdin and not detach:
        terminal.require(0)
    manner = Manner(stdin=stdin, tty=tty, proxy=False)
    with Signals(manner) as signals:
        try:
            session = container.exec(
                command,
                tty=tty,
                stdin=stdin and not detach,
                detach=detach,
                env=env,
                user=invocation["user"],
                workdir=invocation["workdir"],
                privileged=invocation["privileged"],
                size=terminal.size(0, 1) if tty else None,
                detach_keys=keys,
            )
        except errors.StartFailed as error:
            if detach:  # 126 and 127 stand for the exit status of a command that is waited for
                raise errors.Error(str(error)) from error
            raise
        if session is None:
            return 0
        with session:
            return attach.run(session, manner, signals)


COMMAND = Command(
    "exec [OPTIONS] CONTAINER COMMAND [ARG...]",
    "Execute a command in a running container",
    run,
    flags=(
        switch("detach", "d", "Detached mode: run command in the background"),
        DETACH_KEYS,
        values("env", "e", "Set environment variables", parse_env),
        values("env-file", "", "Read in a file of environment variables"),
        switch("interactive", "i", "Keep STDIN open even if not attached"),
        switch("privileged", "", "Give extended privileges to the command"),
        switch("tty", "t", "Allocate a pseudo-TTY"),
        text("user", "u", "Username or UID (format: <name|uid>[:<group|gid>])"),
        text("workdir", "w", "Working directory inside the container"),
    ),
    least=2,
    most=None,
    interspersed=False,
    start_failure=126,
)
