"""Labels of the mandatory access control modules, written for the next execve (apparmor, selinux).

A label that the host cannot give is refused: a container must not run with less confinement than it was
promised.
"""

from __future__ import annotations

import os

from mydocker.errors import NotSupported
from mydocker.runtime.step import Context, Step
from mydocker.runtime.steps.limits import write_proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mydocker.oci.runtime import Process


class ExecLabel(Step):
    """Write what the next execve(2) will be labelled with."""

    __slots__ = ("file", "label")

    def __init__(self, file: str, label: str) -> None:
        self.file = file
        self.label = label

    def describe(self) -> str:
        return f"have execve apply {self.label}"

    def apply(self, context: Context) -> None:
        write_proc(self.file, self.label)


def label_steps(process: Process) -> list[Step]:
    """Return the steps for the labels of ``process``; ``NotSupported`` where the host has no such module."""
    steps: list[Step] = []
    if profile := process.get("apparmorProfile"):
        if not _enabled("/sys/module/apparmor/parameters/enabled", "Y"):
            raise NotSupported(
                f"AppArmor profile {profile}: this host has no AppArmor (leave the profile out)"
            )
        steps.append(ExecLabel("/proc/thread-self/attr/apparmor/exec", f"exec {profile}"))
    if label := process.get("selinuxLabel"):
        if not os.path.exists("/sys/fs/selinux/enforce"):
            raise NotSupported(f"SELinux label {label}: this host has no SELinux (leave the label out)")
        steps.append(ExecLabel("/proc/thread-self/attr/exec", label))
    return steps


def _enabled(path: str, value: str) -> bool:
    try:
        with open(path) as file:
            return file.read().strip() == value
    except FileNotFoundError:
        return False
