"""``export``: the root file system of a container as one tar, its layers merged.

What is mounted into the container is not in it: of volumes, /proc and /etc/hosts there are the empty mount
targets. The layers are merged by an overlay of our own (``snapshot/view.py``), so it makes no difference
whether the container runs, and nothing is looked up where its processes could interfere.
"""

from __future__ import annotations

from .. import errors
from ..archive.diff import pack
from ..archive.write import Writer
from ..content import files
from ..snapshot import view
from . import rootfs
from .record import Record
from .store import Store


def export(store: Store, record: Record, descriptor: int) -> None:
    """Write the tar to ``descriptor``. NotFound if the container is removed meanwhile."""
    stack = rootfs.snapshotter.stack(store.directory(record.id), record.layers)
    writer = Writer(lambda piece: files.write_all(descriptor, piece))
    try:
        with view.merged([stack.upper, *stack.lowers]) as directory:
            pack(directory, writer, whiteouts=False)
    except FileNotFoundError as error:
        raise errors.NotFound(f"No such container: {record.id}") from error
    store.read_state(record.id)
    writer.finish()
