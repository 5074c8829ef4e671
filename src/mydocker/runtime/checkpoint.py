"""The commands ``checkpoint`` and ``restore``, which are refused: a container cannot be written to disk yet.

They would be criu's work. The options are known to the parser all the same, so that a caller learns this
reason and not one about an option.
"""

from __future__ import annotations

from mydocker.errors import NotSupported
from mydocker.runtime import store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mydocker.runtime.main import Call


def checkpoint(call: Call) -> int:
    """Refuse, for a container that exists."""
    entry = store.find(call.root, call.only_id())
    raise NotSupported(f"cannot checkpoint container {entry.id}: checkpoint is not supported by this runtime")


def restore(call: Call) -> int:
    """Refuse."""
    raise NotSupported(f"cannot restore container {call.only_id()}: restore is not supported by this runtime")
