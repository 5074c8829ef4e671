"""``volume create|ls|inspect|rm|prune``, and what docker does not have: ``rename|clone|export|import``."""

from __future__ import annotations

from mydocker import errors
from mydocker.cli import output, terminal
from mydocker.cli.command import PROGRAM, Command, Invocation
from mydocker.cli.commands import inspect
from mydocker.cli.commands.export import check_target
from mydocker.cli.commands.ps import FORMAT_HELP
from mydocker.cli.confirm import confirmed
from mydocker.cli.flags.environment import parse_label, to_map
from mydocker.cli.flags.filter import parse_filter, to_filters
from mydocker.cli.flags.pflag import switch, text, unbuilt, values
from mydocker.cli.format import rows
from mydocker.cli.format.order import natural
from mydocker.cli.format.units import human_size
from mydocker.engine import Volume

_COLUMNS = "{{.Driver}}\t{{.Name}}"
_HEADINGS = {
    "Availability": "AVAILABILITY",
    "Driver": "DRIVER",
    "Group": "GROUP",
    "Labels": "LABELS",
    "Links": "LINKS",
    "Mountpoint": "MOUNTPOINT",
    "Name": "VOLUME NAME",
    "Scope": "SCOPE",
    "Size": "SIZE",
    "Status": "STATUS",
}
_NO_SWARM = "there is no swarm, whose cluster volumes it is about"


def _create(invocation: Invocation) -> int:
    name = invocation["name"]
    if invocation.arguments:
        if name:
            raise errors.InvalidArgument(
                "conflicting options: cannot specify a volume name through both --name and as a positional "
                "argument"
            )
        name = invocation.arguments[0]
    made = invocation.engine.volumes.create(
        name,
        driver=invocation["driver"],
        labels=to_map(invocation["label"]),
        options=to_map(invocation["opt"]),
    )
    output.out(made.name)
    return 0


def _row(volume: Volume) -> rows.Row:
    document = volume.document
    labels = document.labels or {}
    return {
        "Availability": "N/A",
        "Driver": document.driver,
        "Group": "N/A",
        "Label": lambda name: labels.get(name, ""),
        "Labels": ",".join(f"{name}={labels[name]}" for name in sorted(labels)),
        "Links": "N/A",
        "Mountpoint": document.mountpoint,
        "Name": volume.name,
        "Scope": document.scope,
        "Size": "N/A",
        "Status": "N/A",
    }


def _list(invocation: Invocation) -> int:
    found = invocation.engine.volumes.list(to_filters(invocation["filter"]))
    found = sorted(found, key=lambda volume: natural(volume.name))
    if invocation["quiet"]:
        if found:
            output.out("\n".join(volume.name for volume in found))
        return 0
    format = invocation["format"]
    shown = rows.render(
        format,
        [_row(volume) for volume in found],
        columns=_COLUMNS,
        headings=_HEADINGS,
        type_="*formatter.volumeContext",
    )
    if shown or format == "":
        output.out(shown)
    return 0


def _inspect(invocation: Invocation) -> int:
    return inspect.show(invocation, lambda call, name: call.engine.volumes.get(name).inspect())


def _remove(invocation: Invocation) -> int:
    status = 0
    for name in invocation.arguments:
        try:
            invocation.engine.volumes.get(name).remove()
        except errors.Error as error:
            if not (invocation["force"] and isinstance(error, errors.NotFound)):
                output.err(f"{PROGRAM}: {error}")
                status = 1
                continue
        output.out(name)
    return status


def _prune(invocation: Invocation) -> int:
    filters = to_filters(invocation["filter"])
    if invocation["all"]:
        if "all" in filters:
            raise errors.InvalidArgument("conflicting options: cannot specify both --all and --filter all=1")
        filters["all"] = ["true"]
    kind = "all" if filters.get("all", ["false"])[-1] in ("true", "1") else "anonymous"
    question = (
        f"WARNING! This will remove {kind} local volumes not used by at least one container.\n"
        "Are you sure you want to continue?"
    )
    if not invocation["force"] and not confirmed(question):
        return 0
    pruned = invocation.engine.volumes.prune(filters)
    if pruned.names:
        output.out("\n".join(("Deleted Volumes:", *pruned.names, "")))
    output.out(f"Total reclaimed space: {human_size(pruned.reclaimed)}")
    return 0


def _rename(invocation: Invocation) -> int:
    name, new = invocation.arguments
    invocation.engine.volumes.get(name).rename(new)
    return 0


def _clone(invocation: Invocation) -> int:
    name, new = invocation.arguments
    output.out(invocation.engine.volumes.get(name).clone(new, to_map(invocation["label"])).name)
    return 0


def _export(invocation: Invocation) -> int:
    path = "" if invocation["output"] == "-" else invocation["output"]
    check_target(path)
    invocation.engine.volumes.get(invocation.arguments[0]).export(path or output.STDOUT)
    return 0


def _import(invocation: Invocation) -> int:
    name, *rest = invocation.arguments
    path = rest[0] if rest else "-"
    if path == "-" and terminal.is_terminal(0):
        raise errors.InvalidArgument("requested import from stdin, but stdin is empty")
    source = 0 if path == "-" else path
    labels = to_map(invocation["label"])
    volumes = invocation.engine.volumes
    try:
        there = volumes.get(name)
    except errors.NotFound:
        output.out(volumes.import_(name, source, labels).name)
        return 0
    if labels:
        raise errors.Conflict(f"a volume with the name {name} exists already, and has its labels")
    there.import_(source)
    output.out(name)
    return 0


CREATE = Command(
    "create [OPTIONS] [VOLUME]",
    "Create a volume",
    _create,
    flags=(
        text("driver", "d", "Specify volume driver name", default="local"),
        values("label", "", "Set metadata for a volume", parse_label),
        text("name", "", ""),
        values("opt", "o", "Set driver specific options", kind="map"),
        *(
            unbuilt(name, _NO_SWARM)
            for name in (
                "availability",
                "group",
                "limit-bytes",
                "required-bytes",
                "scope",
                "secret",
                "sharing",
                "topology-preferred",
                "topology-required",
                "type",
            )
        ),
    ),
    least=0,
    most=1,
)
LIST = Command(
    "ls [OPTIONS]",
    "List volumes",
    _list,
    flags=(
        unbuilt("cluster", _NO_SWARM, switch=True),
        values("filter", "f", 'Provide filter values (e.g. "dangling=true")', parse_filter, "filter"),
        text("format", "", f"Format output using a custom template: {FORMAT_HELP}"),
        switch("quiet", "q", "Only display volume names"),
    ),
)
INSPECT = Command(
    "inspect [OPTIONS] VOLUME [VOLUME...]",
    "Display detailed information on one or more volumes",
    _inspect,
    flags=(text("format", "f", "Format output using a custom template: 'json' or a Go TEMPLATE"),),
    least=1,
    most=None,
)
REMOVE = Command(
    "rm [OPTIONS] VOLUME [VOLUME...]",
    "Remove one or more volumes. You cannot remove a volume that is in use by a container.",
    _remove,
    flags=(switch("force", "f", "Force the removal of one or more volumes"),),
    least=1,
    most=None,
)
PRUNE = Command(
    "prune [OPTIONS]",
    "Remove unused local volumes",
    _prune,
    flags=(
        switch("all", "a", "Remove all unused volumes, not just anonymous ones"),
        values("filter", "", 'Provide filter values (e.g. "label=<label>")', parse_filter, "filter"),
        switch("force", "f", "Do not prompt for confirmation"),
    ),
)
RENAME = Command(
    "rename VOLUME NEW_NAME",
    "Rename a volume that no container has",
    _rename,
    least=2,
    most=2,
)
CLONE = Command(
    "clone [OPTIONS] VOLUME NEW_NAME",
    "Create a volume with a copy of another one's files, sharing their blocks where that is possible",
    _clone,
    flags=(values("label", "", "Set metadata for the new volume", parse_label),),
    least=2,
    most=2,
)
EXPORT = Command(
    "export [OPTIONS] VOLUME",
    "Export a volume's files as a tar archive",
    _export,
    flags=(text("output", "o", "Write to a file, instead of STDOUT"),),
    least=1,
    most=1,
)
IMPORT = Command(
    "import [OPTIONS] VOLUME [file|-]",
    "Import the files of a tar archive into a volume, which is created if there is none",
    _import,
    flags=(values("label", "", "Set metadata for a new volume", parse_label),),
    least=1,
    most=2,
)
