"""OCI runtimes against each other: the rows about mydocker-runtime, runc and crun.

Each has bundles of its own, since a cgroup cannot be two containers'. The host's v2 hierarchy is taken out of
sight beforehand where there is v1 as well, because crun before 1.9 refuses such a host; that is why this part
comes last, in the mount namespace of the benchmark.
"""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Mapping, Sequence

import engines
import measure
import memory
import report

OURS = "mydocker-runtime"
WAITING = 5


class Runtime:
    """A program with its global options, its state directory and its bundles."""

    def __init__(
        self, name: str, program: str, directory: str, rootfs: str, options: Sequence[str] = ()
    ) -> None:
        self.name = name
        self.command = [program, *options, "--root", engines.in_memory(f"{directory}/state")]
        self.plain = engines.build_bundle(rootfs, f"{directory}/plain", self._group("plain"))
        self.docker = engines.build_docker_bundle(rootfs, f"{directory}/docker", self._group("docker"))
        self.sleeping = engines.build_bundle(
            rootfs, f"{directory}/sleeping", self._group("sleeping"), ["sleep", "100000"]
        )

    def _group(self, name: str) -> str:
        return f"{engines.CGROUP_PARENT}/{self.name.replace(' ', '-').replace(',', '')}-{name}"

    def run(self, bundle: str) -> list[str]:
        return [*self.command, "run", "--bundle", bundle, "bench-{n}"]

    def life(self) -> list[str]:
        """create, start and delete, as a shell says it."""
        text = shlex.join(self.command)
        bundle = shlex.quote(self.plain)
        script = (
            f"{text} create -b {bundle} life-{{n}} && {text} start life-{{n}} && {text} delete -f life-{{n}}"
        )
        return ["/bin/sh", "-c", script]


def prepare(
    directory: str, ours: str, rootfs: str, skipped: list[str], environment: Mapping[str, str]
) -> list[Runtime]:
    """Those that work here; the reasons of the others go to ``skipped``."""
    _hide_unified()
    found = []
    for name, program, options in (
        (OURS, ours, []),
        ("runc", "runc", []),
        ("crun", "crun", []),
    ):
        try:
            runtime = Runtime(name, engines.program(program), f"{directory}/{name}", rootfs, options)
            command = [word.replace("{n}", "first") for word in runtime.run(runtime.plain)]
            measure.once(command, environment, f"{directory}/stderr")
        except (engines.Missing, measure.CommandFailed) as reason:
            skipped.append(f"{name}: {reason}")
        else:
            found.append(runtime)
    return found


def waiting_init(runtimes: Sequence[Runtime], environment: Mapping[str, str], log: str) -> report.Row:
    """The private memory of the process that waits between create and start."""
    measured: dict[str, list[int]] = {}
    for runtime in runtimes:
        found = []
        for number in range(WAITING):
            id = f"waiting-{number}"
            measure.once([*runtime.command, "create", "--bundle", runtime.plain, id], environment, log)
            state = engines.run([*runtime.command, "state", id], environment)
            found.append(memory.private_dirty(json.loads(state)["pid"]))
            measure.once([*runtime.command, "delete", "--force", id], environment, log)
        measured[runtime.name] = found
    return report.waiting_row(measured)


def _hide_unified() -> None:
    with open("/proc/self/mountinfo") as lines:
        places = {}
        for line in lines:
            before, _, after = line.partition(" - ")
            places.setdefault(after.split(" ")[0], before.split(" ")[4])
    if "cgroup" in places and "cgroup2" in places:
        subprocess.run(["umount", places["cgroup2"]], check=True)
