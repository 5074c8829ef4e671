"""``system df``: what images, containers and volumes take on disk. The figures are measured."""

from __future__ import annotations

import time

from mydocker import errors
from mydocker.cli import output
from mydocker.cli.command import Command, Invocation
from mydocker.cli.commands import images, ps
from mydocker.cli.commands.ps import FORMAT_HELP
from mydocker.cli.flags.pflag import switch, text
from mydocker.cli.format import rows
from mydocker.cli.format.rows import Document
from mydocker.cli.format.units import human_size
from mydocker.engine import DiskUsage
from mydocker.image.usage import ImageUsage

_COLUMNS = "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}"
_HEADINGS = {
    "Type": "TYPE",
    "TotalCount": "TOTAL",
    "Active": "ACTIVE",
    "Size": "SIZE",
    "Reclaimable": "RECLAIMABLE",
}
_TYPE = "*formatter.diskUsageContext"
_IMAGE_COLUMNS = (
    "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}"
    "\t{{.Containers}}"
)
_CONTAINER_COLUMNS = (
    "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}"
    "\t{{.Names}}"
)
_CONTAINER_HEADINGS = {**ps.HEADINGS, "Size": "SIZE"}
_VOLUME_COLUMNS = "{{.Name}}\t{{.Links}}\t{{.Size}}"
_VOLUME_HEADINGS = {"Name": "VOLUME NAME", "Links": "LINKS", "Size": "SIZE"}


def summary(usage: DiskUsage) -> list[rows.Row]:
    """The lines of the table. There is no build cache, and Docker's line for it says so."""
    containers = usage.containers
    stopped = [one for one in containers if not one.container.state.running]
    unused = [one for one in usage.volumes if not one.links]
    return [
        _line("Images", len(usage.images.images), usage.images.active, usage.images.total,
              usage.images.reclaimable),
        _line("Containers", len(containers), len(containers) - len(stopped),
              sum(one.size for one in containers), sum(one.size for one in stopped)),
        _line("Local Volumes", len(usage.volumes), len(usage.volumes) - len(unused),
              sum(one.size for one in usage.volumes), sum(one.size for one in unused)),
        {"Type": "Build Cache", "TotalCount": "0", "Active": "0", "Size": "0B", "Reclaimable": "0B"},
    ]  # fmt: skip


def _line(type_: str, total: int, active: int, size: int, reclaimable: int) -> rows.Row:
    share = f" ({reclaimable * 100 // size}%)" if size else ""
    return {
        "Type": type_,
        "TotalCount": str(total),
        "Active": str(active),
        "Size": human_size(size),
        "Reclaimable": human_size(reclaimable) + share,
    }


def details(usage: DiskUsage, *, truncate: bool) -> dict[str, list[rows.Row]]:
    """What ``--verbose`` shows: one line for each object."""
    now = time.time()
    return {
        "Images": [_image(one, truncate=truncate, now=now) for one in usage.images.images],
        "Containers": [
            {
                **ps.row(one.container.summary(), truncate=truncate, now=now),
                "Size": human_size(one.size, 3),
            }
            for one in usage.containers
        ],
        "Volumes": [
            {
                "Name": one.volume.name,
                "Driver": one.volume.driver,
                "Scope": one.volume.scope,
                "Mountpoint": one.volume.mountpoint,
                "Labels": ",".join(
                    f"{name}={value}" for name, value in sorted((one.volume.labels or {}).items())
                ),
                "Links": str(one.links),
                "Size": human_size(one.size),
            }
            for one in usage.volumes
        ],
        "BuildCache": [],
    }


def _image(one: ImageUsage, *, truncate: bool, now: float) -> rows.Row:
    name = images.names(one.image, digests=False, column=False)[0]  # the first, as docker
    return {
        **images.row(one.image, name, truncate=truncate, now=now),
        "Size": human_size(one.size, 3),
        "VirtualSize": human_size(one.size, 3),
        "SharedSize": human_size(one.shared),
        "UniqueSize": human_size(one.unique),
        "Containers": str(one.containers),
    }


def _tables(found: dict[str, list[rows.Row]]) -> str:
    image_table = rows.render(
        "", found["Images"], columns=_IMAGE_COLUMNS, headings=images.HEADINGS, type_=_TYPE
    )
    containers = rows.render(
        "", found["Containers"], columns=_CONTAINER_COLUMNS, headings=_CONTAINER_HEADINGS, type_=_TYPE
    )
    volumes = rows.render(
        "", found["Volumes"], columns=_VOLUME_COLUMNS, headings=_VOLUME_HEADINGS, type_=_TYPE
    )
    return (
        f"Images space usage:\n\n{image_table}\n\nContainers space usage:\n\n{containers}\n\n"
        f"Local Volumes space usage:\n\n{volumes}\n\nBuild cache usage: 0B\n"
    )


def run(invocation: Invocation) -> int:
    format = invocation["format"]
    if not invocation["verbose"]:
        usage = invocation.engine.df()
        output.out(rows.render(format, summary(usage), columns=_COLUMNS, headings=_HEADINGS, type_=_TYPE))
        return 0
    if format.startswith("table "):
        raise errors.InvalidArgument("--verbose has tables of its own: give 'json' or a template")
    document = Document("" if format == "table" else format)
    found = details(invocation.engine.df(), truncate=format in ("", "table"))
    plain = {
        kind: [{name: value for name, value in line.items() if not callable(value)} for line in lines]
        for kind, lines in found.items()
    }
    output.out(document.show(plain, lambda _: _tables(found)))
    return 0


COMMAND = Command(
    "df [OPTIONS]",
    "Show disk usage of images, containers and volumes",
    run,
    flags=(
        text("format", "", f"Format output using a custom template: {FORMAT_HELP}"),
        switch("verbose", "v", "Show detailed information on space usage"),
    ),
)
