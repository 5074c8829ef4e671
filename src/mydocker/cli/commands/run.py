"""``run``: create a container, start it, and stay attached until it ends."""

from __future__ import annotations

from mydocker import errors
from mydocker.cli import attach, output, terminal
from mydocker.cli.attach import Detached, Manner, Signals
from mydocker.cli.command import Command, Invocation, WordsError
from mydocker.cli.commands import create
from mydocker.cli.explain import Explainer
from mydocker.cli.flags.container import CONTAINER, REFUSED, RUN
from mydocker.cli.flags.keys import parse_keys
from mydocker.engine import AttachOptions, Container


def run(invocation: Invocation) -> int:
    if invocation["detach"]:
        if invocation["attach"]:
            raise WordsError("conflicting options: cannot specify both --attach and --detach")
        container = create.make(invocation, starting=True)
        try:
            _start_detached(container, invocation)
        finally:
            output.out(container.id)  # it exists, also when it could not be started
        return 0
    if invocation["interactive"] and invocation["tty"]:
        try:
            terminal.require(0)
        except errors.InvalidArgument as error:
            raise WordsError(str(error)) from error
    keys = parse_keys(invocation["detach-keys"])
    container = create.make(invocation, starting=True)
    return _start_attached(container, invocation, keys)


def _start_detached(container: Container, invocation: Invocation) -> None:
    explainer = Explainer() if invocation["explain"] else None
    container.start(observer=explainer)


def _start_attached(container: Container, invocation: Invocation, keys: bytes) -> int:
    config = container.record.config
    options = AttachOptions(
        stdin=config.attach_stdin, stdout=config.attach_stdout, stderr=config.attach_stderr, detach_keys=keys
    )
    manner = Manner(stdin=config.attach_stdin, tty=config.tty, proxy=invocation["sig-proxy"])
    size = terminal.size(0, 1) if config.tty else None
    explainer = Explainer() if invocation["explain"] else None
    with Signals(manner) as signals:
        session = container.start(attach=options, size=size, observer=explainer)
        assert session is not None  # there is one for every start with ``attach``
        with session:
            try:
                return attach.run(session, manner, signals)
            except Detached:
                return 0


COMMAND = Command(
    "run [OPTIONS] IMAGE [COMMAND] [ARG...]",
    "Create and run a new container from an image, or with --rootfs from a directory",
    run,
    flags=(*CONTAINER, *RUN, *REFUSED),
    least=1,
    most=None,
    interspersed=False,
    failure=125,
)
