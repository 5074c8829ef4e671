"""``inspect``: the documents of containers, images, networks and volumes, whole or through a template."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from mydocker import errors
from mydocker.cli import output
from mydocker.cli.command import PROGRAM, Command, Invocation
from mydocker.cli.flags.pflag import Flag, switch, text
from mydocker.cli.format.rows import Document
from mydocker.image.inspect import document as image_document

_BUILT = ("container", "image", "network", "volume")
_Find = Callable[[Invocation, str], dict[str, Any]]


def _container(invocation: Invocation, reference: str) -> dict[str, Any]:
    return invocation.engine.containers.get(reference).inspect(size=invocation["size"])


def _image(invocation: Invocation, reference: str) -> dict[str, Any]:
    platform = invocation.flags.get("platform", "")
    return image_document(invocation.engine.images.get(reference, platform=platform))


def _network(invocation: Invocation, reference: str) -> dict[str, Any]:
    return invocation.engine.networks.get(reference).inspect()


def _volume(invocation: Invocation, reference: str) -> dict[str, Any]:
    return invocation.engine.volumes.get(reference).inspect()


def _either(invocation: Invocation, reference: str) -> dict[str, Any]:
    """A container, else an image, a network, a volume; a name of two is the first one's, as in Docker."""
    for find in (_container, _image, _network, _volume):
        try:
            return find(invocation, reference)
        except errors.NotFound:
            continue
        except errors.InvalidArgument as error:
            # what cannot be a name of one may be a name of the other, but not a beginning of several
            if "multiple IDs" in str(error):
                raise
    raise errors.NotFound(f"no such object: {reference}")


_FINDERS: dict[str, _Find] = {
    "": _either,
    "container": _container,
    "image": _image,
    "network": _network,
    "volume": _volume,
}


def run(invocation: Invocation) -> int:
    type_ = invocation.flags.get("type", "")
    if type_ not in _FINDERS:
        quoted = ", ".join(f'"{name}"' for name in _BUILT)
        raise errors.InvalidArgument(f'unknown type: "{type_}": must be one of {quoted}')
    return show(invocation, _FINDERS[type_])


def show(invocation: Invocation, find: _Find) -> int:
    """Everything that is found is printed, then what is not, or does not fit the template, is reported."""
    format = invocation["format"]
    template = Document(format)
    found: list[dict[str, Any]] = []
    lines: list[str] = []
    missing: list[errors.Error] = []
    for reference in invocation.arguments:
        try:
            document = find(invocation, reference)
            found.append(document)
            if format:
                lines.append(template.inspect(document))
        except (errors.NotFound, errors.InvalidArgument) as error:
            missing.append(error)
    output.out("\n".join(lines) if format else json.dumps(found, indent=4, ensure_ascii=False))
    for reason in missing:
        output.err(f"{PROGRAM}: {reason}")
    return 1 if missing else 0


_FORMAT = text("format", "f", "Format output using a custom template: 'json' or a Go TEMPLATE")
_SIZE = switch("size", "s", "Display total file sizes if the type is container")


def _command(usage: str, summary: str, action: Callable[[Invocation], int], *flags: Flag) -> Command:
    return Command(usage, summary, action, flags=(_FORMAT, *flags), least=1, most=None)


COMMAND = _command(
    "inspect [OPTIONS] NAME|ID [NAME|ID...]",
    "Return low-level information on containers, images, networks and volumes",
    run,
    _SIZE,
    text("type", "", "Only inspect objects of the given type (container, image, network, volume)"),
)
CONTAINER = _command(
    "inspect [OPTIONS] CONTAINER [CONTAINER...]",
    "Display detailed information on one or more containers",
    lambda invocation: show(invocation, _container),
    _SIZE,
)
IMAGE = _command(
    "inspect [OPTIONS] IMAGE [IMAGE...]",
    "Display detailed information on one or more images",
    lambda invocation: show(invocation, _image),
    text("platform", "", "Inspect a specific platform of the image (os[/arch[/variant]])"),
)
