"""The command ``mydocker-runtime``: the command line of an OCI runtime, as runc has it.

Container managers call it (containerd, Podman, Docker, CRI-O), and expect its container to be a child of
theirs: it runs in its own process, from a cold start, so nothing is imported that the command at hand does
not need. The table of commands is in ``runtime/commands.py``; one function per command is in the module that
it names.

Exit status: that of the container for ``run`` and ``exec`` in the foreground; 0; 1 for errors, 255 for
``exec``.
"""

from __future__ import annotations

import os
import sys

from mydocker.errors import Error, InvalidArgument
from mydocker.runtime.arguments import FLAG, parse
from mydocker.runtime.commands import COMMANDS, GLOBAL, GLOBAL_SHORT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from mydocker.runtime.arguments import Options


class Call:
    """One call of the command: the state directory, the command's options and its words."""

    __slots__ = ("manager", "options", "root", "rootless", "words")

    def __init__(
        self,
        root: str,
        options: Options,
        words: list[str],
        rootless: bool = False,
        manager: str = "cgroupfs",
    ) -> None:
        self.root = root
        self.options = options
        self.words = words
        self.rootless = rootless
        self.manager = manager  # of cgroups

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
        common, words = parse(sys.argv[1:], GLOBAL, GLOBAL_SHORT)
        log, log_format = common.value("log"), common.value("log-format", "text")
        if log_format not in ("text", "json"):
            raise InvalidArgument(f"--log-format is text or json, not {log_format}")
        if log:
            open(log, "a").close()  # whoever looks there has to find what follows
        if common.flag("version"):
            return _version()
        if common.flag("help") or not words or words[0] in ("help", "h"):
            return _help(words[1:2])
        command, *words = words
        if command not in COMMANDS:
            raise InvalidArgument(f"no such command: {command} (mydocker-runtime help lists them)")
        module, kinds, short, _, _ = COMMANDS[command]
        options, words = parse(words, {**kinds, "help": FLAG}, {**short, "h": "help"})
        if options.flag("help"):
            return _help([command])
        manager = _manager(common)
        rootless = _rootless(common)
        from mydocker.runtime.store import default_root

        root = os.path.abspath(common.value("root")) if common.value("root") else default_root()
        name = command + "_" if command in ("exec", "list") else command  # not over the built-in ones
        function: Callable[[Call], int] = getattr(_module(module), name)
        return function(Call(root, options, words, rootless, manager))
    except (Error, OSError) as error:
        text = str(error)
        print(f"mydocker-runtime: {text}", file=sys.stderr)
        if log:
            _log(log, log_format, text)
        return 255 if command == "exec" else 1


def _module(name: str) -> ModuleType:
    """The module of a command; by name, since ``importlib`` costs a cold start more than any of them."""
    __import__(f"mydocker.runtime.{name}")
    return sys.modules[f"mydocker.runtime.{name}"]


def _manager(common: Options) -> str:
    """Who makes cgroups: ``cgroupfs``, ``systemd``, or nobody (``disabled``), as crun and Podman have it."""
    manager = "systemd" if common.flag("systemd-cgroup") else common.value("cgroup-manager", "cgroupfs")
    if manager not in ("cgroupfs", "systemd", "disabled"):
        raise InvalidArgument(f"--cgroup-manager is cgroupfs, systemd or disabled, not {manager}")
    return manager


def _rootless(common: Options) -> bool:
    """Whether what only root may do about cgroups may be passed over: ``--rootless``, as runc has it."""
    wanted = common.value("rootless", "auto")
    if wanted not in ("auto", "true", "false"):
        raise InvalidArgument(f"--rootless is true, false or auto, not {wanted}")
    return wanted == "true" or (wanted == "auto" and os.geteuid() != 0)


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


def _help(words: list[str]) -> int:
    from mydocker.runtime import usage

    print(usage.text(words[0] if words else ""))
    return 0
