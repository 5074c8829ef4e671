"""``attach``: join the streams of a running container."""

from __future__ import annotations

from mydocker import errors
from mydocker.cli import attach, terminal
from mydocker.cli.attach import Manner, Signals
from mydocker.cli.command import Command, Invocation
from mydocker.cli.flags.container import DETACH_KEYS
from mydocker.cli.flags.keys import parse_keys
from mydocker.cli.flags.pflag import switch
from mydocker.engine import AttachOptions


def run(invocation: Invocation) -> int:
    keys = parse_keys(invocation["detach-keys"])
    container = invocation.engine.containers.get(invocation.arguments[0])
    if not container.state.running:
        raise errors.Conflict("you cannot attach to a stopped container, start it first")
    config = container.record.config
    stdin = config.open_stdin and not invocation["no-stdin"]
    if stdin and config.tty:
        terminal.require(0)
    manner = Manner(stdin=stdin, tty=config.tty, proxy=invocation["sig-proxy"] and not config.tty)
    with (
        Signals(manner) as signals,
        container.attach(AttachOptions(stdin=stdin, detach_keys=keys)) as session,
    ):
        size = terminal.size(0, 1) if config.tty else None
        if size:
            # A size that changes makes programs draw their screen again; the same one would not.
            session.resize(size[0] + 1, size[1] + 1)
            session.resize(*size)
        return attach.run(session, manner, signals)


COMMAND = Command(
    "attach [OPTIONS] CONTAINER",
    "Attach local standard input, output, and error streams to a running container",
    run,
    flags=(
        DETACH_KEYS,
        switch("no-stdin", "", "Do not attach STDIN"),
        switch("sig-proxy", "", "Proxy all received signals to the process", default=True),
    ),
    least=1,
    most=1,
)
