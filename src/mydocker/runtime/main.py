"""The command ``mydocker-runtime``: the command line of an OCI runtime, as runc has it.

Container managers call it (containerd, Podman, Docker, CRI-O), and expect its container to be a child of
theirs: it runs in its own process, from a cold start, so nothing is imported that the command at hand does
not need. One function per command is in ``runtime/verbs.py`` (the life of a container) and
``runtime/reports.py`` (what is only looked at).

Exit status: that of the container for ``run`` and ``exec`` in the foreground; 0; 1 for errors, 255 for
``exec``.
"""

from __future__ import annotations

import os
import sys

from mydocker.errors import Error, InvalidArgument, NotSupported
from mydocker.runtime.arguments import FLAG, LIST, VALUE, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from mydocker.runtime.arguments import Options

_GLOBAL = {
    "root": VALUE,
    "log": VALUE,
    "log-format": VALUE,
    "systemd-cgroup": FLAG,
    "rootless": VALUE,
    "debug": FLAG,
    "version": FLAG,
    "help": FLAG,
}
_CREATE = {
    "bundle": VALUE,
    "console-socket": VALUE,
    "pid-file": VALUE,
    "no-pivot": FLAG,
    "preserve-fds": VALUE,
}

# command: (module, options, short names, summary)
COMMANDS: dict[str, tuple[str, dict[str, str], dict[str, str], str]] = {
    "create": ("verbs", _CREATE, {"b": "bundle"}, "create a container, up to the execution of its program"),
    "start": ("verbs", {}, {}, "execute the program of a created container"),
    "run": (
        "verbs",
        {**_CREATE, "detach": FLAG, "keep": FLAG},
        {"b": "bundle", "d": "detach"},
        "create a container and start it",
    ),
    "state": ("reports", {}, {}, "print the state of a container"),
    "kill": ("verbs", {"all": FLAG}, {"a": "all"}, "send a signal (TERM) to a container's first process"),
    "delete": ("verbs", {"force": FLAG}, {"f": "force"}, "remove what a container holds"),
    "exec": (
        "verbs",
        {
            "console-socket": VALUE,
            "cwd": VALUE,
            "env": LIST,
            "tty": FLAG,
            "user": VALUE,
            "additional-gids": LIST,
            "process": VALUE,
            "detach": FLAG,
            "pid-file": VALUE,
            "no-new-privs": FLAG,
            "cap": LIST,
            "preserve-fds": VALUE,
            "ignore-paused": FLAG,
        },
        {
            "e": "env",
            "t": "tty",
            "u": "user",
            "g": "additional-gids",
            "p": "process",
            "d": "detach",
            "c": "cap",
        },
        "execute one more process in a running container",
    ),
    "list": (
        "reports",
        {"format": VALUE, "quiet": FLAG},
        {"f": "format", "q": "quiet"},
        "list the containers",
    ),
    "pause": ("verbs", {}, {}, "stop all processes of a container"),
    "resume": ("verbs", {}, {}, "let the processes of a paused container go on"),
    "ps": ("reports", {"format": VALUE}, {"f": "format"}, "show the processes of a container"),
    "spec": ("reports", {"bundle": VALUE}, {"b": "bundle"}, "write a config.json to begin with"),
    "features": ("reports", {}, {}, "print what this runtime can do, as JSON"),
}


class Call:
    """One call of the command: the state directory, the command's options and its words."""

    __slots__ = ("options", "root", "words")

    def __init__(self, root: str, options: Options, words: list[str]) -> None:
        self.root = root
        self.options = options
        self.words = words

    def id(self) -> str:
        """The container that is meant."""
        if not self.words:
            raise InvalidArgument("a container id is needed")
        return self.words[0]

    def only_id(self) -> str:
        if len(self.words) > 1:
            raise InvalidArgument(f"unexpected argument: {self.words[1]}")
        return self.id()


def main() -> int:
    """Run the command in ``sys.argv``."""
    log = log_format = ""
    command = ""
    try:
        common, words = parse(sys.argv[1:], _GLOBAL, {"v": "version", "h": "help"})
        log, log_format = common.value("log"), common.value("log-format", "text")
        if log_format not in ("text", "json"):
            raise InvalidArgument(f"--log-format is text or json, not {log_format}")
        if common.flag("version"):
            return _version()
        if common.flag("help") or not words or words[0] == "help":
            return _help()
        command, *words = words
        if command not in COMMANDS:
            raise InvalidArgument(f"no such command: {command} (mydocker-runtime help lists them)")
        if common.flag("systemd-cgroup"):
            raise NotSupported(
                "--systemd-cgroup is not supported: cgroups are made in the cgroup file system itself"
            )
        module, kinds, short, _ = COMMANDS[command]
        options, words = parse(words, kinds, short)
        if options.value("preserve-fds", "0") != "0":
            raise NotSupported(
                "--preserve-fds is not supported: no descriptor but 0, 1 and 2 enters a container"
            )
        if options.flag("no-pivot"):
            raise NotSupported("--no-pivot is not supported: the host's root would stay within reach")
        if module == "verbs":
            from mydocker.runtime import verbs as functions
        else:
            from mydocker.runtime import reports as functions  # type: ignore[no-redef]
        from mydocker.runtime.store import default_root

        root = os.path.abspath(common.value("root")) if common.value("root") else default_root()
        name = command + "_" if command in ("exec", "list") else command  # not over the built-in ones
        function: Callable[[Call], int] = getattr(functions, name)
        return function(Call(root, options, words))
    except (Error, OSError) as error:
        text = str(error)
        print(f"mydocker-runtime: {text}", file=sys.stderr)
        if log:
            _log(log, log_format, text)
        return 255 if command == "exec" else 1


def _log(path: str, format: str, text: str) -> None:
    """Append ``text`` where the caller looks for it; containerd reads the last line of kind error."""
    import time

    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    if format == "json":
        from mydocker.oci.json import dumps

        line = dumps({"level": "error", "msg": text, "time": now})
    else:
        line = f'time="{now}" level=error msg="{text}"'
    with open(path, "a") as file:
        file.write(line + "\n")


def _version() -> int:
    from mydocker import __version__
    from mydocker.runtime.state import OCI_VERSION

    print(f"mydocker-runtime version {__version__}\nspec: {OCI_VERSION}")
    return 0


def _help() -> int:
    print(
        "Usage: mydocker-runtime [--root DIR] [--log FILE] [--log-format text|json] COMMAND [OPTION]... ID\n"
    )
    for name, (_, _, _, summary) in COMMANDS.items():
        print(f"  {name:10} {summary}")
    return 0
