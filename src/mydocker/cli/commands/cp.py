"""``cp``: copy between a container and this machine, or a tar from or to a stream."""

from __future__ import annotations

from mydocker import errors
from mydocker.cli import output, terminal
from mydocker.cli.command import Command, Invocation
from mydocker.cli.flags.pflag import switch
from mydocker.cli.format.units import human_size

_STDIN = 0


def split(argument: str) -> tuple[str, str]:
    """Container and path; no container for a path of this machine: ``/a:b``, ``./a:b``, ``a``, ``-``."""
    if argument.startswith(("/", ".")):
        return "", argument
    container, colon, path = argument.partition(":")
    return (container, path) if colon else ("", argument)


def run(invocation: Invocation) -> int:
    (source, source_path), (target, target_path) = (split(argument) for argument in invocation.arguments)
    if source and target:
        raise errors.NotSupported("copying between containers is not supported")
    if not source and not target:
        raise errors.InvalidArgument("must specify at least one container source")
    containers = invocation.engine.containers
    follow = invocation["follow-link"]
    if source:
        if not source_path:
            raise errors.InvalidArgument("bad parameter: path cannot be empty")
        if target_path == "-":
            if terminal.is_terminal(output.STDOUT):
                raise errors.InvalidArgument("cowardly refusing to write a tar to a terminal. Redirect")
            containers.get(source).get_archive(source_path, output.STDOUT, follow=follow)
            return 0
        size = containers.get(source).copy_from(
            source_path, target_path, follow=follow, owners=invocation["archive"]
        )
        _report(invocation, size, target_path)
        return 0
    if not target_path:
        raise errors.InvalidArgument("bad parameter: path cannot be empty")
    if source_path == "-":
        container = containers.get(target)
        _, found = container.copy_destination(target_path)
        if found is None or not found.is_directory:
            raise errors.InvalidArgument(f'destination "{target}:{target_path}" must be a directory')
        container.put_archive(target_path, _STDIN)
        return 0
    size = containers.get(target).copy_to(source_path, target_path, follow=follow)
    _report(invocation, size, f"{target}:{target_path}")
    return 0


def _report(invocation: Invocation, size: int, place: str) -> None:
    if not invocation["quiet"] and terminal.is_terminal(output.STDERR):
        output.err(f"Successfully copied {human_size(size, 3)} to {place}")


COMMAND = Command(
    "cp [OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-  (or: SRC_PATH|- CONTAINER:DEST_PATH)",
    "Copy files/folders between a container and the local filesystem",
    run,
    flags=(
        switch("archive", "a", "Archive mode (copy all uid/gid information)"),
        switch("follow-link", "L", "Always follow symbol link in SRC_PATH"),
        switch("quiet", "q", "Suppress the report at the end, which only a terminal gets"),
    ),
    least=2,
    most=2,
)
