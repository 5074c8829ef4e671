"""``ps``, ``container ls``: list containers."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from mydocker.cli import output
from mydocker.cli.command import Command, Invocation
from mydocker.cli.flags.filter import parse_filter, to_filters
from mydocker.cli.flags.go import quote
from mydocker.cli.flags.pflag import number, switch, text, values
from mydocker.cli.format import rows
from mydocker.cli.format.units import ago, ellipsis, human_size, local_time, short
from mydocker.errors import InvalidArgument
from mydocker.oci import reference

_COLUMNS = "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}"
HEADINGS = {
    "ID": "CONTAINER ID",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "CreatedAt": "CREATED AT",
    "RunningFor": "CREATED",
    "Ports": "PORTS",
    "State": "STATE",
    "Status": "STATUS",
    "Names": "NAMES",
    "Labels": "LABELS",
    "Mounts": "MOUNTS",
    "LocalVolumes": "LOCAL VOLUMES",
    "Networks": "NETWORKS",
    "Size": "SIZE",
}
_TYPE = "*formatter.ContainerContext"
_COMMAND_WIDTH, _MOUNT_WIDTH, _ID_WIDTH = 20, 15, 12


def row(summary: Mapping[str, Any], *, truncate: bool, now: float) -> rows.Row:
    """The fields of one line, from the document of ``GET /containers/json``."""
    labels = summary["Labels"] or {}
    mounts = [mount.get("Name") or mount["Source"] for mount in summary["Mounts"]]
    command, image, identifier = summary["Command"], summary["Image"], summary["Id"]
    if truncate:
        command = ellipsis(command, _COMMAND_WIDTH)
        mounts = [ellipsis(mount, _MOUNT_WIDTH) for mount in mounts]
        identifier = identifier[:_ID_WIDTH]
        image = _familiar(image, summary["ImageID"])
    return {
        "ID": identifier,
        "Image": image,
        "Command": quote(command),
        "CreatedAt": local_time(summary["Created"]),
        "RunningFor": ago(summary["Created"], now),
        "Ports": ports(summary["Ports"]),
        "State": summary["State"],
        "Status": summary["Status"],
        "Names": ",".join(name.removeprefix("/") for name in summary["Names"]),
        "Labels": ",".join(f"{name}={labels[name]}" for name in sorted(labels)),
        "Label": lambda name: labels.get(name, ""),
        "Mounts": ",".join(mounts),
        "LocalVolumes": str(sum(mount["Type"] == "volume" for mount in summary["Mounts"])),
        "Networks": ",".join(sorted(summary["NetworkSettings"]["Networks"])),
        "Size": _size(summary),
    }


def _familiar(image: str, identifier: str) -> str:
    """Without the default domain, and without a digest (docker/cli, ``formatter/container.go``)."""
    if not identifier:
        return image
    if short(image) == short(identifier):
        return short(identifier)
    try:
        name = reference.parse(image)
    except InvalidArgument:
        return image
    return f"{name.familiar_name}:{name.tag}" if name.tag else name.familiar_name


def ports(found: Sequence[Mapping[str, Any]]) -> str:
    """In Docker's order: ``80-82/tcp, 0.0.0.0:90-91->90-91/tcp, 0.0.0.0:8080->80/tcp``.

    Neighbours that are exposed, or published under their own numbers, are one range, and the last of each
    protocol and address come after the others.
    """
    shown: list[str] = []
    mapped: list[str] = []
    groups: dict[tuple[str, str], tuple[int, int]] = {}
    for port in sorted(found, key=_port_order):
        number, kind, address = port["PrivatePort"], port["Type"], port.get("IP", "")
        if address and port["PublicPort"] != number:
            mapped.append(f"{_host(address)}:{port['PublicPort']}->{number}/{kind}")
            continue
        first, last = groups.get((address, kind), (number, number - 1))
        if number != last + 1:
            shown.append(_group(address, kind, first, last))
            first = number
        groups[address, kind] = first, number
    shown += [_group(*key, *bounds) for key, bounds in groups.items()]
    return ", ".join([*shown, *mapped])


def _port_order(port: Mapping[str, Any]) -> tuple[Any, ...]:
    return port["PrivatePort"], port.get("IP", ""), port.get("PublicPort", 0), port["Type"]


def _group(address: str, kind: str, first: int, last: int) -> str:
    numbers = str(first) if first == last else f"{first}-{last}"
    return f"{_host(address)}:{numbers}->{numbers}/{kind}" if address else f"{numbers}/{kind}"


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _size(summary: Mapping[str, Any]) -> str:
    own, whole = summary.get("SizeRw", 0), summary.get("SizeRootFs", 0)
    return f"{human_size(own, 3)} (virtual {human_size(whole, 3)})" if whole else human_size(own, 3)


def run(invocation: Invocation) -> int:
    last = 1 if invocation["latest"] else invocation["last"]
    containers = invocation.engine.containers.list(
        all=invocation["all"] or last > 0, filters=to_filters(invocation["filter"])
    )
    if last > 0:
        containers = containers[:last]
    truncate = not invocation["no-trunc"]
    if invocation["quiet"]:
        if invocation["format"]:
            output.err("WARNING: Ignoring custom format, because both --format and --quiet are set.")
        if containers:
            output.out("\n".join(c.id[:_ID_WIDTH] if truncate else c.id for c in containers))
        return 0
    now = time.time()
    size = invocation["size"] or ".Size" in invocation["format"]
    shown = rows.render(
        invocation["format"],
        [
            row(summary, truncate=truncate, now=now)
            for summary in invocation.engine.containers.summaries(containers, size=size)
        ],
        columns=_COLUMNS + "\t{{.Size}}" if invocation["size"] else _COLUMNS,
        headings=HEADINGS,
        type_=_TYPE,
        unreadable="failed to parse template",
    )
    if shown or invocation["format"] == "":
        output.out(shown)
    return 0


FORMAT_HELP = "'table' (default), 'table TEMPLATE', 'json' or a Go TEMPLATE"

COMMAND = Command(
    "ps [OPTIONS]",
    "List containers",
    run,
    flags=(
        switch("all", "a", "Show all containers (default shows just running)"),
        values("filter", "f", "Filter output based on conditions provided", parse_filter, "filter"),
        text("format", "", f"Format output using a custom template: {FORMAT_HELP}"),
        number("last", "n", "Show n last created containers (includes all states)", default=-1),
        switch("latest", "l", "Show the latest created container (includes all states)"),
        switch("no-trunc", "", "Don't truncate output"),
        switch("quiet", "q", "Only display container IDs"),
        switch("size", "s", "Display total file sizes"),
    ),
)
