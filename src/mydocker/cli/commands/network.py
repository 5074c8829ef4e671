"""``network create|ls|inspect|rm|prune|connect|disconnect``."""

from __future__ import annotations

from collections.abc import Sequence

from mydocker import errors
from mydocker.cli import output
from mydocker.cli.command import PROGRAM, Command, Invocation
from mydocker.cli.commands import inspect
from mydocker.cli.confirm import confirmed
from mydocker.cli.flags import network
from mydocker.cli.flags.environment import parse_label, to_map
from mydocker.cli.flags.filter import parse_filter, timed_filters, to_filters
from mydocker.cli.flags.pflag import switch, text, unbuilt, value, values
from mydocker.cli.format import rows
from mydocker.cli.format.order import natural
from mydocker.cli.format.units import exact_time
from mydocker.engine import Network

_COLUMNS = "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}"
_HEADINGS = {
    "ID": "NETWORK ID",
    "Name": "NAME",
    "Driver": "DRIVER",
    "Scope": "SCOPE",
    "IPv4": "IPV4",
    "IPv6": "IPV6",
    "Internal": "INTERNAL",
    "Labels": "LABELS",
    "CreatedAt": "CREATED AT",
}


def _each(given: Sequence[str]) -> tuple[str, ...]:
    """Of a flag that may be given many times, or have several values with commas between."""
    return tuple(part for text in given for part in text.split(","))


def _create(invocation: Invocation) -> int:
    pools = network.pools(
        _each(invocation["subnet"]),
        _each(invocation["ip-range"]),
        _each(invocation["gateway"]),
        to_map(invocation["aux-address"]),
    )
    made = invocation.engine.networks.create(
        invocation.arguments[0],
        driver=invocation["driver"],
        ipam=pools,
        ipv4=invocation["ipv4"],
        ipv6=invocation["ipv6"],
        internal=invocation["internal"],
        attachable=invocation["attachable"],
        labels=to_map(invocation["label"]),
        options=to_map(invocation["opt"]),
    )
    output.out(made.id)
    return 0


def _row(each: Network, *, truncate: bool) -> rows.Row:
    document = each.document
    labels = document.labels
    return {
        "ID": each.id[:12] if truncate else each.id,
        "Name": each.name,
        "Driver": document.driver,
        "Scope": document.scope,
        "IPv4": "true" if document.enable_ipv4 else "false",
        "IPv6": "true" if document.enable_ipv6 else "false",
        "Internal": "true" if document.internal else "false",
        "Labels": ",".join(f"{name}={labels[name]}" for name in sorted(labels)),
        "Label": lambda name: labels.get(name, ""),
        "CreatedAt": exact_time(document.created),
    }


def _list(invocation: Invocation) -> int:
    found = invocation.engine.networks.list(to_filters(invocation["filter"]))
    found = sorted(found, key=lambda each: natural(each.name))
    truncate = not invocation["no-trunc"]
    if invocation["quiet"]:
        if found:
            output.out("\n".join(each.id[:12] if truncate else each.id for each in found))
        return 0
    shown = rows.render(
        invocation["format"],
        [_row(each, truncate=truncate) for each in found],
        columns=_COLUMNS,
        headings=_HEADINGS,
        type_="*network.networkContext",
    )
    if shown or invocation["format"] == "":
        output.out(shown)
    return 0


def _inspect(invocation: Invocation) -> int:
    return inspect.show(invocation, lambda call, name: call.engine.networks.get(name).inspect())


def _remove(invocation: Invocation) -> int:
    status = 0
    for reference in invocation.arguments:
        try:
            invocation.engine.networks.get(reference).remove()
        except errors.Error as error:
            if invocation["force"] and isinstance(error, errors.NotFound):
                continue
            output.err(f"{PROGRAM}: {error}")
            status = 1
        else:
            output.out(reference)
    return status


def _prune(invocation: Invocation) -> int:
    filters = timed_filters(invocation["filter"])
    question = (
        "WARNING! This will remove all custom networks not used by at least one container.\n"
        "Are you sure you want to continue?"
    )
    if not invocation["force"] and not confirmed(question):
        return 0
    removed = invocation.engine.networks.prune(filters)
    if removed:
        output.out("\n".join(("Deleted Networks:", *removed, "")))
    return 0


def _connect(invocation: Invocation) -> int:
    name, container = invocation.arguments
    asked = network.Attachment(
        name,
        _each(invocation["alias"]),
        invocation["ip"],
        invocation["ip6"],
        links=tuple(invocation["link"]),
        options=tuple(
            pair for flag in ("driver-opt", "network-opt") for given in invocation[flag] for pair in given
        ),
    )
    invocation.engine.networks.get(name).connect(container, network.endpoint(asked))
    return 0


def _disconnect(invocation: Invocation) -> int:
    name, container = invocation.arguments
    warning = invocation.engine.networks.get(name).disconnect(container)
    if warning:
        output.err(f"WARNING: {warning}")
    return 0


CREATE = Command(
    "create [OPTIONS] NETWORK",
    "Create a network",
    _create,
    flags=(
        switch("attachable", "", "Enable manual container attachment"),
        values("aux-address", "", "Auxiliary IPv4 or IPv6 addresses used by Network driver", kind="map"),
        text("driver", "d", "Driver to manage the Network", default="bridge"),
        values("gateway", "", "IPv4 or IPv6 Gateway for the master subnet"),
        switch("internal", "", "Restrict external access to the network"),
        values("ip-range", "", "Allocate container ip from a sub-range"),
        switch("ipv4", "", "Enable or disable IPv4 address assignment", default=True),
        switch("ipv6", "", "Enable IPv6 networking"),
        values("label", "", "Set metadata on a network", parse_label),
        values("opt", "o", "Set driver specific options", kind="map"),
        values("subnet", "", "Subnet in CIDR format that represents a network segment"),
        unbuilt("config-from", "there are no networks that only hold a configuration"),
        unbuilt("config-only", "there are no networks that only hold a configuration", switch=True),
        unbuilt("ingress", "there is no swarm", switch=True),
        unbuilt("ipam-driver", "there is one, the default"),
        unbuilt("ipam-opt", "the default has no options"),
        unbuilt("scope", "every network is this host's"),
    ),
    least=1,
    most=1,
)
LIST = Command(
    "ls [OPTIONS]",
    "List networks",
    _list,
    flags=(
        values("filter", "f", 'Provide filter values (e.g. "driver=bridge")', parse_filter, "filter"),
        text("format", "", "Format output using a custom template: 'table', 'json' or a Go TEMPLATE"),
        switch("no-trunc", "", "Do not truncate the output"),
        switch("quiet", "q", "Only display network IDs"),
    ),
)
INSPECT = Command(
    "inspect [OPTIONS] NETWORK [NETWORK...]",
    "Display detailed information on one or more networks",
    _inspect,
    flags=(
        text("format", "f", "Format output using a custom template: 'json' or a Go TEMPLATE"),
        switch("verbose", "v", "Verbose output for diagnostics: what is more of it is about swarms"),
    ),
    least=1,
    most=None,
)
REMOVE = Command(
    "rm NETWORK [NETWORK...]",
    "Remove one or more networks",
    _remove,
    flags=(switch("force", "f", "Do not error if the network does not exist"),),
    least=1,
    most=None,
)
PRUNE = Command(
    "prune [OPTIONS]",
    "Remove all unused networks",
    _prune,
    flags=(
        values("filter", "", 'Provide filter values (e.g. "until=<timestamp>")', parse_filter, "filter"),
        switch("force", "f", "Do not prompt for confirmation"),
    ),
)
CONNECT = Command(
    "connect [OPTIONS] NETWORK CONTAINER",
    "Connect a container to a network",
    _connect,
    flags=(
        values("alias", "", "Add network-scoped alias for the container"),
        value("ip", "", "IPv4 address (e.g., 172.30.100.104)", network.parse_address, "ip", default=""),
        value("ip6", "", "IPv6 address (e.g., 2001:db8::33)", network.parse_address, "ip", default=""),
        values("link", "", "Add link to another container", network.parse_link),
        unbuilt("link-local-ip", "containers have no link-local addresses"),
        unbuilt("gw-priority", "the network that was connected first has the default route"),
        values(
            "driver-opt",
            "",
            "driver options for the network (rate-in=RATE, rate-out=RATE)",
            network.parse_options,
        ),
        values("network-opt", "", "The same by the name that it has with run", network.parse_options),
    ),
    least=2,
    most=2,
)
DISCONNECT = Command(
    "disconnect [OPTIONS] NETWORK CONTAINER",
    "Disconnect a container from a network",
    _disconnect,
    flags=(switch("force", "f", "Force the container to disconnect from a network"),),
    least=2,
    most=2,
)
