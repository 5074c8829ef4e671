"""The commands by name: where each one is, and its line in the help. A module is imported when it is called.

``ps`` and ``container ls`` are one command under two names; both are in the table.
"""

from __future__ import annotations

from importlib import import_module
from typing import NamedTuple

from mydocker.cli.command import PROGRAM, Command, describe
from mydocker.cli.flags.pflag import Flag, switch, text

GLOBAL_FLAGS: tuple[Flag, ...] = (
    switch("debug", "D", "Show where in the program an error comes from"),
    text("config", "", "Directory of the client's configuration (default ~/.docker)", kind="directory"),
    text("registries", "", "How registries are reached (default /etc/mydocker/registries.toml)", kind="file"),
    text("root", "", "Directory of images and containers (default /var/lib/mydocker)", kind="directory"),
    text("state", "", "Directory of what runs (default /run/mydocker)", kind="directory"),
    switch("version", "v", "Print version information and quit"),
    switch("help", "", "Print usage"),
)


class Entry(NamedTuple):
    module: str
    """of ``mydocker.cli.commands``"""
    summary: str
    attribute: str = "COMMAND"

    def load(self) -> Command:
        command: Command = getattr(import_module(f"mydocker.cli.commands.{self.module}"), self.attribute)
        return command


COMMON = {
    "run": Entry("run", "Create and run a new container from an image or a directory"),
    "exec": Entry("exec", "Execute a command in a running container"),
    "ps": Entry("ps", "List containers"),
    "pull": Entry("pull", "Download an image from a registry"),
    "push": Entry("push", "Upload an image to a registry"),
    "images": Entry("images", "List images"),
    "version": Entry("version", "Show the version information"),
    "info": Entry("info", "Display system-wide information"),
}
OTHERS = {
    "attach": Entry(
        "attach", "Attach local standard input, output, and error streams to a running container"
    ),
    "commit": Entry("commit", "Create a new image from a container's changes"),
    "cp": Entry("cp", "Copy files/folders between a container and the local filesystem"),
    "create": Entry("create", "Create a new container"),
    "diff": Entry("diff", "Inspect changes to files or directories on a container's filesystem"),
    "events": Entry("events", "Get real time events from the engine"),
    "export": Entry("export", "Export a container's filesystem as a tar archive"),
    "history": Entry("history", "Show the history of an image"),
    "import": Entry("import_", "Import the contents from a tarball to create a filesystem image"),
    "inspect": Entry("inspect", "Return low-level information on containers, images, networks and volumes"),
    "kill": Entry("kill", "Kill one or more running containers"),
    "load": Entry("load", "Load an image from a tar archive or STDIN"),
    "login": Entry("login", "Authenticate to a registry"),
    "logout": Entry("login", "Log out from a registry", "LOGOUT"),
    "logs": Entry("logs", "Fetch the logs of a container"),
    "pause": Entry("pause", "Pause all processes within one or more containers"),
    "port": Entry("port", "List port mappings or a specific mapping for the container"),
    "rename": Entry("rename", "Rename a container"),
    "restart": Entry("restart", "Restart one or more containers"),
    "rm": Entry("rm", "Remove one or more containers"),
    "rmi": Entry("rmi", "Remove one or more images"),
    "save": Entry("save", "Save one or more images to a tar archive (streamed to STDOUT by default)"),
    "search": Entry("search", "Search Docker Hub, or another registry, for images"),
    "start": Entry("start", "Start one or more stopped containers"),
    "stats": Entry("stats", "Display a live stream of container(s) resource usage statistics"),
    "stop": Entry("stop", "Stop one or more running containers"),
    "tag": Entry("tag", "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE"),
    "top": Entry("top", "Display the running processes of a container"),
    "unpause": Entry("pause", "Unpause all processes within one or more containers", "UNPAUSE"),
    "update": Entry("update", "Update configuration of one or more containers"),
    "wait": Entry("wait", "Block until one or more containers stop, then print their exit codes"),
}
_INSPECT_CONTAINER = Entry("inspect", "Display detailed information on one or more containers", "CONTAINER")
_INSPECT_IMAGE = Entry("inspect", "Display detailed information on one or more images", "IMAGE")
GROUPS = {
    "container": {
        **{
            name: OTHERS[name]
            for name in (
                "attach",
                "commit",
                "cp",
                "create",
                "diff",
                "export",
                "kill",
                "logs",
                "pause",
                "port",
                "rename",
                "restart",
                "rm",
                "start",
                "stats",
                "stop",
                "top",
                "unpause",
                "update",
                "wait",
            )
        },
        **{name: COMMON[name] for name in ("exec", "run")},
        **dict.fromkeys(("ls", "list", "ps"), COMMON["ps"]),
        "inspect": _INSPECT_CONTAINER,
        "prune": Entry("container_prune", "Remove all stopped containers"),
        "remove": OTHERS["rm"],
    },
    "image": {
        **{name: OTHERS[name] for name in ("history", "import", "load", "save", "tag")},
        **{name: COMMON[name] for name in ("pull", "push")},
        **dict.fromkeys(("ls", "list"), COMMON["images"]),
        **dict.fromkeys(("rm", "remove"), OTHERS["rmi"]),
        "inspect": _INSPECT_IMAGE,
        "prune": Entry("image_prune", "Remove unused images"),
    },
    "manifest": {
        "annotate": Entry("manifest", "Add additional information to a local image manifest", "ANNOTATE"),
        "create": Entry(
            "manifest", "Create a local manifest list for annotating and pushing to a registry", "CREATE"
        ),
        "inspect": Entry("manifest", "Display an image manifest, or manifest list", "INSPECT"),
        "push": Entry("manifest", "Push a manifest list to a repository", "PUSH"),
        "rm": Entry("manifest", "Delete one or more manifest lists from local storage", "REMOVE"),
    },
    "network": {
        "connect": Entry("network", "Connect a container to a network", "CONNECT"),
        "create": Entry("network", "Create a network", "CREATE"),
        "disconnect": Entry("network", "Disconnect a container from a network", "DISCONNECT"),
        "inspect": Entry("network", "Display detailed information on one or more networks", "INSPECT"),
        **dict.fromkeys(("ls", "list"), Entry("network", "List networks", "LIST")),
        "prune": Entry("network", "Remove all unused networks", "PRUNE"),
        **dict.fromkeys(("rm", "remove"), Entry("network", "Remove one or more networks", "REMOVE")),
    },
    "volume": {
        "clone": Entry("volume", "Create a volume with a copy of another one's files", "CLONE"),
        "create": Entry("volume", "Create a volume", "CREATE"),
        "export": Entry("volume", "Export a volume's files as a tar archive", "EXPORT"),
        "import": Entry("volume", "Import the files of a tar archive into a volume", "IMPORT"),
        "inspect": Entry("volume", "Display detailed information on one or more volumes", "INSPECT"),
        **dict.fromkeys(("ls", "list"), Entry("volume", "List volumes", "LIST")),
        "prune": Entry("volume", "Remove unused local volumes", "PRUNE"),
        "rename": Entry("volume", "Rename a volume that no container has", "RENAME"),
        **dict.fromkeys(("rm", "remove"), Entry("volume", "Remove one or more volumes", "REMOVE")),
    },
    "system": {
        "check": Entry("system_check", "Verify every image, layer, container and volume"),
        "events": OTHERS["events"],
        "df": Entry("system_df", "Show disk usage of images, containers and volumes"),
        "info": COMMON["info"],
        "prune": Entry("system_prune", "Remove unused data"),
        "start": Entry("system_start", "Start containers as after a boot, by their restart policies"),
        "unit": Entry("system_start", "Print a systemd unit that does that at boot", "UNIT"),
    },
}
GROUP_SUMMARIES = {
    "container": "Manage containers",
    "image": "Manage images",
    "manifest": "Manage Docker image manifests and manifest lists",
    "network": "Manage networks",
    "system": "Manage mydocker",
    "volume": "Manage volumes",
}
_SYNONYMS = frozenset(("list", "ps", "remove"))


class UnknownCommand(Exception):
    """The words name no command, or none of ``group``; the message is Docker's."""

    def __init__(self, called: str, group: str = "") -> None:
        super().__init__(f"unknown command: {PROGRAM} {called}")
        self.group = group


class GroupCalled(Exception):
    """The words name a group and nothing in it: its help is wanted, and was ``asked`` for or not."""

    def __init__(self, name: str, *, asked: bool) -> None:
        super().__init__(name)
        self.asked = asked


def find(words: list[str]) -> tuple[str, Entry, list[str]]:
    """The name as called, the command, and the words after it. Raises ``UnknownCommand``, ``GroupCalled``."""
    name, *rest = words
    group = GROUPS.get(name)
    if group is None:
        entry = COMMON.get(name) or OTHERS.get(name)
        if entry is None:
            raise UnknownCommand(name)
        return name, entry, rest
    if not rest or rest[0] in ("--help", "help"):
        raise GroupCalled(name, asked=bool(rest))
    verb, *rest = rest
    if verb not in group:
        raise UnknownCommand(f"{name} {verb}", name)
    return f"{name} {verb}", group[verb], rest


def overview() -> str:
    sections = [
        f"Usage:  {PROGRAM} [OPTIONS] COMMAND",
        "A container engine in Python, with no daemon",
        "Common Commands:\n" + _rows(COMMON),
        "Management Commands:\n" + "\n".join(f"  {n:<12}{s}" for n, s in GROUP_SUMMARIES.items()),
        "Commands:\n" + _rows(OTHERS),
        "Global Options:\n" + describe(GLOBAL_FLAGS),
        f"Run '{PROGRAM} COMMAND --help' for more information on a command.",
    ]
    return "\n\n".join(sections)


def group_help(name: str) -> str:
    return "\n\n".join(
        (
            f"Usage:  {PROGRAM} {name} COMMAND",
            GROUP_SUMMARIES[name],
            "Commands:\n" + _rows(GROUPS[name]),
            f"Run '{PROGRAM} {name} COMMAND --help' for more information on a command.",
        )
    )


def _rows(entries: dict[str, Entry]) -> str:
    return "\n".join(
        f"  {name:<12}{entries[name].summary}"
        for name in sorted(entries)
        if name not in _SYNONYMS or name == "ps"
    )
