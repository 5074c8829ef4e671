"""``start``: start containers that have been created or have ended."""

from __future__ import annotations

from mydocker import errors
from mydocker.cli import attach, terminal
from mydocker.cli.attach import Detached, Manner, Signals
from mydocker.cli.command import Command, Invocation
from mydocker.cli.commands.each import each
from mydocker.cli.flags.container import DETACH_KEYS
from mydocker.cli.flags.keys import parse_keys
from mydocker.cli.flags.pflag import switch, unbuilt
from mydocker.engine import AttachOptions


def run(invocation: Invocation) -> int:
    if invocation["attach"] or invocation["interactive"]:
        if len(invocation.arguments) > 1:
            raise errors.InvalidArgument("you cannot start and attach multiple containers at once")
        return _attached(invocation, invocation.arguments[0])

    def start(reference: str) -> str:
        invocation.engine.containers.get(reference).start()
        return reference

    return each(invocation.arguments, start)


def _attached(invocation: Invocation, reference: str) -> int:
    keys = parse_keys(invocation["detach-keys"])
    container = invocation.engine.containers.get(reference)
    config = container.record.config
    stdin = invocation["interactive"] and config.open_stdin
    if stdin and config.tty:
        terminal.require(0)
    manner = Manner(stdin=stdin, tty=config.tty, proxy=invocation["sig-proxy"] and not config.tty)
    size = terminal.size(0, 1) if config.tty else None
    with Signals(manner) as signals:
        session = container.start(attach=AttachOptions(stdin=stdin, detach_keys=keys), size=size)
        assert session is not None  # there is one for every start with ``attach``
        with session:
            try:
                return attach.run(session, manner, signals)
            except Detached:
                return 0


COMMAND = Command(
    "start [OPTIONS] CONTAINER [CONTAINER...]",
    "Start one or more stopped containers",
    run,
    flags=(
        switch("attach", "a", "Attach STDOUT/STDERR and forward signals"),
        *(unbuilt(name, "there are no checkpoints") for name in ("checkpoint", "checkpoint-dir")),
        DETACH_KEYS,
        switch("interactive", "i", "Attach container's STDIN"),
        switch("sig-proxy", "", "Proxy received signals to the process", default=True),
    ),
    least=1,
    most=None,
)
