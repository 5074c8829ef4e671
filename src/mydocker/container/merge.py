"""An image's configuration applied to what the user asked for, by the rules of ``docker create``.

The user wins. Lists of names (environment, labels, ports, volumes) are joined, single values are taken over
when the user gave none, and a new entry point also drops the image's command, which was its arguments.
Source: moby, ``daemon/internal/runconfig`` (``Merge``), and ``daemon/create.go``.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from ..errors import InvalidArgument
from ..image.documents import Healthcheck
from . import health
from .config import Config


class ImageConfig(Protocol):
    """The members of an image's ``config`` that a container takes over (OCI image-spec, ``config.md``)."""

    @property
    def user(self) -> str: ...
    @property
    def exposed_ports(self) -> Mapping[str, object] | None: ...
    @property
    def env(self) -> Sequence[str] | None: ...
    @property
    def entrypoint(self) -> Sequence[str] | None: ...
    @property
    def cmd(self) -> Sequence[str] | None: ...
    @property
    def volumes(self) -> Mapping[str, object] | None: ...
    @property
    def working_dir(self) -> str: ...
    @property
    def labels(self) -> Mapping[str, str] | None: ...
    @property
    def stop_signal(self) -> str: ...
    @property
    def healthcheck(self) -> Healthcheck | None: ...


def merge(config: Config, image: ImageConfig | None) -> Config:
    """The configuration that the container is created with; ``InvalidArgument`` if it has no command."""
    entrypoint = config.entrypoint
    cmd = config.cmd
    changes: dict[str, object] = {}
    if image is not None:
        if not entrypoint:
            if not cmd:
                cmd = list(image.cmd) if image.cmd else None
            if entrypoint is None:
                entrypoint = list(image.entrypoint) if image.entrypoint else None
        changes = {
            "user": config.user or image.user,
            "working_dir": config.working_dir or image.working_dir,
            "stop_signal": config.stop_signal or image.stop_signal or None,
            "healthcheck": health.merged(config.healthcheck, image.healthcheck),
            "env": merge_environment(config.env or (), image.env or ()),
            "labels": {**(image.labels or {}), **(config.labels or {})},
        }
        if config.exposed_ports or image.exposed_ports:
            changes["exposed_ports"] = {
                port: {} for port in (*(image.exposed_ports or ()), *(config.exposed_ports or ()))
            }
        if config.volumes or image.volumes:
            changes["volumes"] = {path: {} for path in (*(image.volumes or ()), *(config.volumes or ()))}
    if entrypoint == [""]:
        entrypoint = None
    if not entrypoint and not cmd:
        raise InvalidArgument("no command specified")
    return msgspec.structs.replace(config, entrypoint=entrypoint, cmd=cmd, **changes)


def merge_environment(own: Sequence[str], image: Sequence[str]) -> list[str]:
    """The user's variables, then those of the image that the user did not set."""
    names = {variable.partition("=")[0] for variable in own}
    return [*own, *(variable for variable in image if variable.partition("=")[0] not in names)]


def environment(config: Config, search_path: str, linked: Sequence[str] = ()) -> list[str]:
    """What the process gets: Docker's own variables, ``linked`` ones about containers that it links to, each
    replaced by one of the configuration if it has it.

    A name without ``=`` takes the variable away. ``HOME`` is added by the container's init, which knows the
    user.
    """
    result = {"PATH": f"PATH={search_path}", "HOSTNAME": f"HOSTNAME={config.hostname}"}
    if config.tty:
        result["TERM"] = "TERM=xterm"
    result |= {variable.partition("=")[0]: variable for variable in linked}
    for variable in config.env or ():
        name, equals, _ = variable.partition("=")
        if equals:
            result[name] = variable
        else:
            result.pop(name, None)
    return list(result.values())


def command(config: Config) -> tuple[str, list[str]]:
    """The program and its arguments, ``Path`` and ``Args`` of ``inspect``."""
    line = [*(config.entrypoint or ()), *(config.cmd or ())]
    return line[0], line[1:]
