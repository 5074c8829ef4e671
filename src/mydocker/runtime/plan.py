"""The ordered list of steps of a process, and what all processes in containers have in common.

A container's first process has much more before that (``runtime/plan_container.py``); an added one is inside
already, and has its streams, its limits and its identity.
"""

from __future__ import annotations

from mydocker.errors import InvalidArgument
from mydocker.runtime.step import Step
from mydocker.runtime.steps import identity, limits, namespaces, security, terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mydocker.oci.runtime import Linux, Process
    from mydocker.runtime.task import Stdio


class Plan:
    """The steps of one container, in order, in the groups between which init talks to the runtime."""

    __slots__ = ("files", "finder", "hooks", "identity", "inside", "kernel")

    def __init__(self) -> None:
        self.kernel: list[Step] = []
        self.files: list[Step] = []
        self.hooks: list[Step] = []
        self.inside: list[Step] = []
        self.identity: list[Step] = []
        self.finder: identity.Identity

    def steps(self) -> list[Step]:
        return [*self.kernel, *self.files, *self.hooks, *self.inside, *self.identity]


def make_added(
    process: Process, linux: Linux, stdio: Stdio | None, rows_columns: tuple[int, int] | None
) -> Plan:
    """Return the plan for a process that is added to a running container: it is inside already.

    ``linux`` is that section of the container's document.
    """
    plan = Plan()
    plan.kernel += [namespaces.Session()]
    if process.get("terminal"):
        size = process.get("consoleSize")
        if size is not None and rows_columns is None:
            rows_columns = size["height"], size["width"]
        plan.files.append(terminal.Terminal(rows_columns, console=False))
    plan.inside.append(terminal.StandardStreams(stdio))
    add_process(plan, process, linux, make_directory=False)
    return plan


def add_process(plan: Plan, process: Process, linux: Linux, *, make_directory: bool) -> None:
    """What the container's first process and an added one have in common."""
    if not process.get("args"):
        raise InvalidArgument("process.args is empty: there is nothing to execute")
    if personality := linux.get("personality"):
        plan.inside.append(limits.ExecutionDomain(personality))
    if (policy := linux.get("memoryPolicy")) is not None:
        plan.inside.append(limits.MemoryPolicy(policy))
    if entries := process.get("rlimits"):
        plan.inside.append(limits.ResourceLimits(entries))
    if priority := process.get("ioPriority"):
        plan.inside.append(limits.InputOutputPriority(priority))
    if scheduler := process.get("scheduler"):
        plan.inside.append(limits.Scheduling(scheduler))
    plan.inside.append(identity.WorkingDirectory(process.get("cwd", "/"), make_directory))
    finder = identity.FindUser(process.get("user", {}))
    plan.identity.append(finder)
    no_new_privileges = process.get("noNewPrivileges", False)
    plan.identity += security.label_steps(process)
    plan.finder = identity.Identity(
        finder, process.get("capabilities", {}), bool(linux.get("seccomp")) and not no_new_privileges
    )
    plan.identity.append(plan.finder)
    if no_new_privileges:
        plan.identity.append(identity.NoNewPrivileges())
