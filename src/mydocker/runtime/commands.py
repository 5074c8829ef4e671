"""The commands of ``mydocker-runtime`` and their options: one table, which the parser and the help read.

The words are runc's, and for what crun has besides, crun's. What an option means is written in
``runtime/usage.py``, which is loaded for ``--help`` alone.
"""

from __future__ import annotations

from mydocker.runtime.arguments import FLAG, LIST, VALUE

GLOBAL = {
    "root": VALUE,
    "log": VALUE,
    "log-format": VALUE,
    "log-level": VALUE,
    "systemd-cgroup": FLAG,
    "cgroup-manager": VALUE,
    "rootless": VALUE,
    "debug": FLAG,
    "version": FLAG,
    "help": FLAG,
}
GLOBAL_SHORT = {"v": "version", "h": "help"}
_CREATE = {
    "bundle": VALUE,
    "config": VALUE,
    "console-socket": VALUE,
    "pid-file": VALUE,
    "no-pivot": FLAG,
    "no-new-keyring": FLAG,
    "preserve-fds": VALUE,
}
_CREATE_SHORT = {"b": "bundle", "f": "config"}
_CHECKPOINT = {
    "image-path": VALUE,
    "work-path": VALUE,
    "tcp-established": FLAG,
    "ext-unix-sk": FLAG,
    "shell-job": FLAG,
    "file-locks": FLAG,
    "manage-cgroups-mode": VALUE,
    "empty-ns": LIST,
}
_UPDATE = (
    "resources",
    "blkio-weight",
    "cpu-period",
    "cpu-quota",
    "cpu-burst",
    "cpu-share",
    "cpu-rt-period",
    "cpu-rt-runtime",
    "cpu-idle",
    "cpuset-cpus",
    "cpuset-mems",
    "kernel-memory",
    "kernel-memory-tcp",
    "memory",
    "memory-reservation",
    "memory-swap",
    "pids-limit",
    "l3-cache-schema",
    "mem-bw-schema",
)

# command: (module, options, short names, arguments, summary)
COMMANDS: dict[str, tuple[str, dict[str, str], dict[str, str], str, str]] = {
    "create": (
        "verbs",
        _CREATE,
        _CREATE_SHORT,
        "ID",
        "create a container, up to the execution of its program",
    ),
    "start": ("verbs", {}, {}, "ID", "execute the program of a created container"),
    "run": (
        "verbs",
        {**_CREATE, "detach": FLAG, "keep": FLAG, "no-subreaper": FLAG},
        {**_CREATE_SHORT, "d": "detach"},
        "ID",
        "create a container and start it",
    ),
    "state": ("reports", {}, {}, "ID", "print the state of a container"),
    "kill": (
        "verbs",
        {"all": FLAG},
        {"a": "all"},
        "ID [SIGNAL]",
        "send a signal (TERM) to a container's first process",
    ),
    "delete": (
        "verbs",
        {"force": FLAG, "regex": FLAG},
        {"f": "force", "r": "regex"},
        "ID",
        "remove what a container holds",
    ),
    "exec": (
        "execute",
        {
            "console-socket": VALUE,
            "cwd": VALUE,
            "env": LIST,
            "tty": FLAG,
            "user": VALUE,
            "additional-gids": LIST,
            "process": VALUE,
            "process-label": VALUE,
            "apparmor": VALUE,
            "detach": FLAG,
            "pid-file": VALUE,
            "no-new-privs": FLAG,
            "cap": LIST,
            "preserve-fds": VALUE,
            "cgroup": VALUE,
            "ignore-paused": FLAG,
            "no-subreaper": FLAG,
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
        "ID COMMAND [ARGUMENT]...",
        "execute one more process in a running container",
    ),
    "list": (
        "reports",
        {"format": VALUE, "quiet": FLAG},
        {"f": "format", "q": "quiet"},
        "",
        "list the containers",
    ),
    "ps": (
        "reports",
        {"format": VALUE},
        {"f": "format"},
        "ID [PS OPTION]...",
        "show the processes of a container",
    ),
    "events": (
        "events",
        {"interval": VALUE, "stats": FLAG},
        {},
        "ID",
        "print statistics of a container, and when it runs out of memory",
    ),
    "update": (
        "update",
        dict.fromkeys(_UPDATE, VALUE),
        {"r": "resources"},
        "ID",
        "change the limits of a container",
    ),
    "pause": ("verbs", {}, {}, "ID", "stop all processes of a container"),
    "resume": ("verbs", {}, {}, "ID", "let the processes of a paused container go on"),
    "checkpoint": (
        "checkpoint",
        {
            **_CHECKPOINT,
            "leave-running": FLAG,
            "lazy-pages": FLAG,
            "status-fd": VALUE,
            "page-server": VALUE,
            "pre-dump": FLAG,
            "parent-path": VALUE,
            "auto-dedup": FLAG,
            "link-remap": FLAG,
            "tcp-skip-in-flight": FLAG,
        },
        {},
        "ID",
        "write a running container to disk, by criu",
    ),
    "restore": (
        "restore",
        {
            **_CHECKPOINT,
            **_CREATE,
            "detach": FLAG,
            "no-subreaper": FLAG,
            "auto-dedup": FLAG,
            "lazy-pages": FLAG,
            "lsm-profile": VALUE,
            "lsm-mount-context": VALUE,
        },
        {**_CREATE_SHORT, "d": "detach"},
        "ID",
        "make a container again from what checkpoint wrote, by criu",
    ),
    "spec": (
        "reports",
        {"bundle": VALUE, "rootless": FLAG},
        {"b": "bundle"},
        "",
        "write a config.json to begin with",
    ),
    "features": ("reports", {}, {}, "", "print what this runtime can do, as JSON"),
}
