"""``commit``: the read-write layer of a container as one more layer on its image.

In it is what the container changed in its own files, and nothing else: volumes and the files that the engine
mounts lie elsewhere, mount targets in the init layer. The configuration of the new image is, as in Docker,
what ``--change`` says, over what the container was created with (moby, ``daemon/commit.go``).

A container that runs stands still while its layer is read (``pause.py``).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from contextlib import nullcontext

import msgspec

from .. import errors
from ..archive.diff import pack
from ..archive.write import Writer
from ..image.changes import apply_changes
from ..image.commit import About
from ..image.documents import RunConfig
from ..image.store import ImageStore
from ..monitor.timestamp import now
from ..snapshot import view
from . import merge, rootfs
from .config import Config
from .health import merged
from .pause import frozen
from .record import Record
from .store import Store


def commit(
    store: Store,
    images: ImageStore,
    record: Record,
    names: Sequence[str],
    *,
    author: str = "",
    message: str = "",
    changes: Sequence[str] = (),
    pause: bool = True,
) -> str:
    """Make the image and give it ``names``, full ones; return its id.

    InvalidArgument for a change that cannot be read, NotFound if the image that the container was made from
    is gone, NotSupported for a container without one.
    """
    if not record.image:
        raise errors.NotSupported(
            f"container {record.short_id} runs from a directory, so there is no image to add a layer to "
            "(export it, and import that)"
        )
    asked = apply_changes(changes)
    parent = images.resolve(record.image)
    about = About(
        run=image_config(asked, record.config),
        created=now(),
        created_by=" ".join(record.config.cmd or ()),
        author=author,
        comment=message,
    )

    def write(writer: Writer) -> int:
        with frozen(store, record) if pause else nullcontext():
            size = _write(store, record, writer)
        store.read_state(record.id)  # NotFound if it has been removed meanwhile, and its files with it
        return size

    return images.commit_layer(parent.id, write, about, names)


def _write(store: Store, record: Record, writer: Writer) -> int:
    stack = rootfs.snapshotter.stack(store.directory(record.id), record.layers)
    with view.alone(stack.upper) as directory:
        return pack(directory, writer, whiteouts=True, top=_looks_changed(directory, stack.lowers[0]))


def _looks_changed(directory: int, below: str) -> bool:
    """Whether somebody has changed owner, mode or xattrs of the root directory itself."""
    ours, theirs = os.fstat(directory), os.stat(below)
    return (stat.S_IMODE(ours.st_mode), ours.st_uid, ours.st_gid, _xattrs(directory)) != (
        stat.S_IMODE(theirs.st_mode), theirs.st_uid, theirs.st_gid, _xattrs(below),
    )  # fmt: skip


def _xattrs(place: int | str) -> dict[str, bytes]:
    return {
        name: os.getxattr(place, name)
        for name in os.listxattr(place)
        if not name.startswith(("trusted.overlay.", "user.overlay."))
    }


def image_config(asked: RunConfig, config: Config) -> RunConfig:
    """What ``--change`` asked for, and for the rest what the container had (moby, ``merge``).

    Lists of names are joined; a new entry point drops the command, which was arguments of the old one.
    """
    entrypoint, cmd = asked.entrypoint, asked.cmd
    if not entrypoint:
        cmd = cmd or config.cmd
        if entrypoint is None:
            entrypoint = config.entrypoint
    env = merge.merge_environment(asked.env or (), config.env or ())
    return msgspec.structs.replace(
        asked,
        user=asked.user or config.user,
        exposed_ports=_joined(asked.exposed_ports, config.exposed_ports),
        env=env or None,
        entrypoint=entrypoint,
        cmd=cmd,
        volumes=_joined(asked.volumes, config.volumes),
        working_dir=asked.working_dir or config.working_dir,
        labels={**(config.labels or {}), **(asked.labels or {})} or None,
        stop_signal=asked.stop_signal or config.stop_signal or "",
        healthcheck=merged(asked.healthcheck, config.healthcheck),
    )


def _joined(*parts: dict[str, dict[str, str]] | None) -> dict[str, dict[str, str]] | None:
    return {name: {} for part in parts for name in sorted(part or ())} or None
