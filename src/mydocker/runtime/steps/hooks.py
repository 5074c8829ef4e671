"""The hooks that run between the mounts and pivot_root: those of the runtime, and createContainer.

prestart and createRuntime run in the runtime's namespaces, so init asks the runtime and waits.
createContainer runs in the container's namespaces, with a path of the host's. (startContainer follows just
before execve, poststart and poststop in ``runtime/dialogue.py``.)
"""

from __future__ import annotations

import os

from mydocker.runtime import hooks
from mydocker.runtime.state import document
from mydocker.runtime.step import Context, Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mydocker.oci.runtime import Spec


class RuntimeHooks(Step):
    __slots__ = ()

    def describe(self) -> str:
        return "wait for the createRuntime hooks"

    def apply(self, context: Context) -> None:
        context.channel.send("hooks")
        if context.channel.receive()[0] != "go":
            os._exit(1)


class ContainerHooks(Step):
    """createContainer, run by init itself."""

    __slots__ = ("bundle", "id", "spec")

    def __init__(self, spec: Spec, id: str, bundle: str) -> None:
        self.spec = spec
        self.id = id
        self.bundle = bundle

    def describe(self) -> str:
        return "run the createContainer hooks"

    def apply(self, context: Context) -> None:
        # The host's /proc is still here, and calls this process by the number that the state is to show.
        pid = int(os.readlink("/proc/self"))
        state = document(self.spec, self.id, "creating", pid, self.bundle)
        hooks.run("createContainer", self.spec["hooks"]["createContainer"], state)


def steps(spec: Spec, id: str, bundle: str) -> list[Step]:
    given = spec.get("hooks", {})
    found: list[Step] = []
    if given.get("prestart") or given.get("createRuntime"):
        found.append(RuntimeHooks())
    if given.get("createContainer"):
        found.append(ContainerHooks(spec, id, bundle))
    return found
