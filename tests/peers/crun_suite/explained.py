"""Why mydocker-runtime does not pass a test of crun's suite: the reasons, and the tests by name."""

from __future__ import annotations

REASONS = {
    "words": (
        "The test wants crun's own words: its name in the version and in the help, the text of a message."
    ),
    "crun": (
        "An extension of crun's (an annotation, a command, a mount option, a file of its state directory)."
    ),
    "runc": (
        "Where crun and runc differ, ours does as runc: an unknown capability is a warning; `exec` "
        "has the container's no_new_privs; `exec --cgroup` wants a cgroup that exists; of a pipe on a"
        " standard stream only the user is changed; a terminal needs `--console-socket` or a "
        "container in the foreground."
    ),
    "kernel": (
        "This kernel cannot do it: it has RT_GROUP_SCHED, so a cgroup without a realtime budget takes"
        " no realtime process (a runtime that passes does not know the field), or it lacks the "
        "controller hugetlb."
    ),
    "python": "The test wants Python 3.12 (`os.setns`).",
    "suite": (
        "The test itself is wrong: a number in `args`, a keyword that its own helper does not have, "
        "an argument that its own helper wants."
    ),
    "dev": (
        "A symbolic link in the place of /dev is followed inside of the root, where it does no harm; "
        "crun refuses it."
    ),
    "listener": (
        "crun sends a seccomp listener without any rule that has SCMP_ACT_NOTIFY; the specification "
        "ties it to that."
    ),
}

EXPLAINED = {
    **dict.fromkeys(
        (
            "version-command",
            "test_help_delete",
            "exec-help",
            "help",
            "mount-help",
            "crun-features",
            "test-poststop-hook-failure-warning",
            "test-multiple-poststop-hooks-failure",
            "scheduler-deadline-missing-runtime",
            "scheduler-deadline-missing-deadline",
            "scheduler-deadline-zero-runtime",
            "scheduler-deadline-invalid-order",
            "scheduler-deadline-invalid-deadline-period",
            "scheduler-deadline-too-small-runtime",
            "scheduler-deadline-too-big-runtime",
        ),
        "words",
    ),
    **dict.fromkeys(
        (
            "start",
            "test-annotation-hook-stdout-stderr",
            "mount-copy-symlink",
            "mount-add-remove-mounts",
            "keep-groups",
            "annotation-seccomp-fail-unknown-syscall",
        ),
        "crun",
    ),
    **dict.fromkeys(
        (
            "unknown-caps",
            "exec-add-capability",
            "exec_add_no_new_privileges",
            "cgroup-v1-exec-cgroup-subpath",
            "regular-files-chowned",
            "terminal-detach",
            "terminal-exec",
            "terminal-exec-no-tty",
        ),
        "runc",
    ),
    **dict.fromkeys(
        ("cgroup-cpu-realtime", "cgroup-hugetlb", "scheduler-fifo", "scheduler-rr", "scheduler-flags"),
        "kernel",
    ),
    "net-devices": "python",
    **dict.fromkeys(("terminal-allocation", "console-socket", "test-detach-tty"), "suite"),
    "dev-symlink-does-not-populate-outside-rootfs": "dev",
    "seccomp-listener": "listener",
}
