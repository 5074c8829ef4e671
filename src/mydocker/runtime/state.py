"""The state of a container as the runtime specification has it: what ``state`` prints and hooks read."""

from __future__ import annotations

from mydocker.oci.json import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mydocker.oci.runtime import Spec

OCI_VERSION = "1.2.0"
"""what documents of ours say, which runtimes in use understand"""
LATEST_OCI_VERSION = "1.3.0"
"""what is built of it: linux.memoryPolicy, linux.netDevices"""


def document(spec: Spec, id: str, status: str, pid: int, bundle: str) -> str:
    """Return the state as JSON; ``pid`` is 0 where there is no process, and left out."""
    state: dict[str, object] = {
        "ociVersion": spec.get("ociVersion", OCI_VERSION),
        "id": id,
        "status": status,
    }
    if pid:
        state["pid"] = pid
    state["bundle"] = bundle
    if annotations := spec.get("annotations"):
        state["annotations"] = annotations
    return dumps(state)
