"""What ``mydocker-runtime --help`` prints: the words for the table in ``runtime/commands.py``."""

from __future__ import annotations

from mydocker.errors import InvalidArgument
from mydocker.runtime.arguments import FLAG, LIST
from mydocker.runtime.commands import COMMANDS, GLOBAL, GLOBAL_SHORT

_TEXTS = {
    "additional-gids": "supplementary groups, by number",
    "all": "send it to all processes of the container",
    "apparmor": "AppArmor profile of the process",
    "auto-dedup": "let criu drop pages that an earlier image has",
    "blkio-weight": "relative weight of block I/O, 10 to 1000",
    "bundle": "directory with config.json; the current one if not given",
    "cap": "capability to add, for instance CAP_NET_RAW",
    "cgroup": "cgroup below the container's to put the process into, [CONTROLLER:]PATH",
    "cgroup-manager": "cgroupfs, systemd, or disabled for no cgroups at all",
    "config": "the file to read in place of config.json",
    "console-socket": "unix socket that the master of the terminal is sent to",
    "cpu-burst": "microseconds that may be saved up and used above the quota",
    "cpu-idle": "1 to give the container processor time that nobody else wants, 0 as usual",
    "cpu-period": "microseconds over which the quota is counted",
    "cpu-quota": "microseconds of processor time in each period",
    "cpu-rt-period": "microseconds over which the realtime budget is counted",
    "cpu-rt-runtime": "microseconds of realtime scheduling in each period",
    "cpu-share": "relative weight of processor time, 2 to 262144",
    "cpuset-cpus": "processors to use, for instance 0-2,7",
    "cpuset-mems": "memory nodes to use",
    "cwd": "working directory",
    "debug": "accepted: there is no more to tell",
    "detach": "do not wait for the end of the process",
    "empty-ns": "namespace whose contents are left out (network)",
    "env": "NAME=VALUE to set",
    "ext-unix-sk": "allow unix sockets that lead outside",
    "file-locks": "handle file locks",
    "force": "kill the container if it runs; no error if there is none",
    "format": "table or json",
    "help": "print this",
    "ignore-paused": "also if the container is paused; the process waits until it is resumed",
    "image-path": "directory of criu's images",
    "interval": "time between two statistics, for instance 500ms; 5s if not given",
    "keep": "leave the state when the container has ended",
    "kernel-memory": "bytes of kernel memory (cgroup v1 before Linux 5.16)",
    "kernel-memory-tcp": "bytes of TCP buffers (cgroup v1)",
    "l3-cache-schema": "schema of the L3 cache in resctrl",
    "lazy-pages": "let memory follow on demand",
    "leave-running": "let the container go on",
    "link-remap": "let criu give files a name that have none, for as long as the images are kept",
    "log": "file to append errors to",
    "log-format": "text or json",
    "log-level": "accepted: errors are all that is logged",
    "lsm-mount-context": "security context of mounts",
    "lsm-profile": "security profile to restore with, TYPE:NAME",
    "manage-cgroups-mode": "what criu does about cgroups: soft, full, strict or ignore",
    "mem-bw-schema": "schema of the memory bandwidth in resctrl",
    "memory": "bytes of memory",
    "memory-reservation": "bytes of memory that reclaim leaves alone while it can",
    "memory-swap": "bytes of memory and swap together, -1 for no limit",
    "no-new-keyring": "keep the caller's session keyring",
    "no-new-privs": "set no_new_privs",
    "no-pivot": "move the root instead of pivot_root; only where the root is a ramdisk",
    "no-subreaper": "accepted: there is no subreaper",
    "page-server": "ADDRESS:PORT of a criu page server",
    "parent-path": "directory of an earlier image, relative to the image path",
    "pid-file": "file for the process id",
    "pids-limit": "most processes, -1 for no limit",
    "pre-dump": "write the memory only, and let the container go on",
    "preserve-fds": "how many descriptors from 3 on the process inherits",
    "process": "file with the process, as in config.json",
    "process-label": "SELinux label of the process",
    "quiet": "ids only",
    "regex": "ID is a regular expression",
    "resources": "file with the limits as JSON, - for standard input; options beside it are passed over",
    "root": "directory for the state of containers",
    "rootless": "true, false or auto: do without cgroups that may not be made; of spec: not for root",
    "shell-job": "allow the terminal of a shell",
    "stats": "print statistics once and end",
    "status-fd": "descriptor that criu writes to when it is ready",
    "systemd-cgroup": "have systemd make cgroups; cgroupsPath is SLICE:PREFIX:NAME then",
    "tcp-established": "allow open TCP connections",
    "tcp-skip-in-flight": "leave out TCP connections that are being made",
    "tty": "give the process a terminal",
    "user": "UID[:GID]",
    "version": "print the version",
    "work-path": "directory for criu's log",
}


def text(command: str) -> str:
    """The help for ``command``, or for all if it is empty."""
    if not command:
        commands = "\n".join(f"  {name:11} {entry[4]}" for name, entry in COMMANDS.items())
        options = _options(GLOBAL, GLOBAL_SHORT)
        usage = "Usage: mydocker-runtime [GLOBAL OPTION]... COMMAND [OPTION]... [ARGUMENT]..."
        return f"{usage}\n\nCommands:\n{commands}\n\nGlobal options:\n{options}"
    if command not in COMMANDS:
        raise InvalidArgument(f"no such command: {command} (mydocker-runtime help lists them)")
    _, kinds, short, arguments, summary = COMMANDS[command]
    usage = f"Usage: mydocker-runtime {command} [OPTION]... {arguments}".rstrip()
    options = _options({**kinds, "help": FLAG}, {**short, "h": "help"})
    return f"{usage}\n\n{summary[0].upper()}{summary[1:]}\n\nOptions:\n{options}"


def _options(kinds: dict[str, str], short: dict[str, str]) -> str:
    letters = {name: letter for letter, name in short.items()}
    lines = []
    for name, kind in sorted(kinds.items()):
        letter = f"-{letters[name]}, " if name in letters else "    "
        shown = f"{letter}--{name}" + ("" if kind == FLAG else " VALUE")
        lines.append(f"  {shown:32} {_TEXTS[name]}" + (" (may be repeated)" if kind == LIST else ""))
    return "\n".join(lines)
