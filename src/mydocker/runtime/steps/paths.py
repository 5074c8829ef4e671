"""Masked and read-only paths: what of /proc and /sys a container may not see, or not change.

They are laid while the host's root is still there, because what hides a file is the host's own /dev/null; one
that the image or another process put at the container's /dev/null could be anything (CVE-2025-31133). Each
cover is checked after it was attached, by opening the path once more and looking at what is there
(CVE-2025-52881).
"""

from __future__ import annotations

import os
import stat

from mydocker.errors import Forbidden
from mydocker.linux import mount, path
from mydocker.runtime.step import Context, Step
from mydocker.runtime.steps.mounts import filesystem

_NULL = os.makedev(1, 3)
_CLONE = mount.OPEN_TREE_CLONE


class MaskPaths(Step):
    """Hide files behind /dev/null, directories behind an empty, read-only tmpfs; pass over what is absent."""

    __slots__ = ("paths",)

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths

    def describe(self) -> str:
        return f"mask {', '.join(self.paths)}"

    def apply(self, context: Context) -> None:
        null = os.open("/dev/null", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if not _is_null(null):
                raise Forbidden("the host's /dev/null is not the null device")
            for name in self.paths:
                point = _open(context.root, name)
                if point is None:
                    continue
                try:
                    is_directory = stat.S_ISDIR(os.fstat(point).st_mode)
                    cover = _empty() if is_directory else _clone(null)
                    try:
                        # A device can be written to all the same; but its mode would be that of the host's.
                        mount.mount_setattr(cover, mount.MOUNT_ATTR_RDONLY)
                        mount.move_mount(cover, point)
                    finally:
                        os.close(cover)
                finally:
                    os.close(point)
                self._verify(context.root, name, is_directory)
        finally:
            os.close(null)

    def observe(self, context: Context) -> str:
        shown = []
        for name in self.paths:
            descriptor = _open(context.root, name)
            if descriptor is None:
                shown.append(f"{name}: absent")
                continue
            try:
                shown.append(f"{name}: {'/dev/null' if _is_null(descriptor) else 'empty tmpfs'}")
            finally:
                os.close(descriptor)
        return ", ".join(shown)

    @staticmethod
    def _verify(root: int, name: str, is_directory: bool) -> None:
        descriptor = path.open_in_root(root, name)
        try:
            if is_directory:
                hidden = mount.filesystem_magic(descriptor) == mount.TMPFS_MAGIC
            else:
                hidden = _is_null(descriptor)
            hidden = hidden and _is_readonly(descriptor)
        finally:
            os.close(descriptor)
        if not hidden:
            raise Forbidden(
                f"{name} is not hidden after it was masked: something else was mounted or renamed"
            )


class ReadonlyPaths(Step):
    """Bind each path onto itself, read-only with all that is mounted below; missing ones are passed over."""

    __slots__ = ("paths",)

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths

    def describe(self) -> str:
        return f"make {', '.join(self.paths)} read-only"

    def apply(self, context: Context) -> None:
        for name in self.paths:
            point = _open(context.root, name)
            if point is None:
                continue
            try:
                tree = mount.open_tree("", _CLONE | mount.AT_RECURSIVE | mount.AT_EMPTY_PATH, point)
                try:
                    mount.mount_setattr(tree, mount.MOUNT_ATTR_RDONLY, recursive=True)
                    mount.move_mount(tree, point)
                finally:
                    os.close(tree)
            finally:
                os.close(point)
            descriptor = path.open_in_root(context.root, name)
            try:
                if not _is_readonly(descriptor):
                    raise Forbidden(f"{name} is not read-only after it was bound so")
            finally:
                os.close(descriptor)

    def observe(self, context: Context) -> str:
        shown = []
        for name in self.paths:
            descriptor = _open(context.root, name)
            if descriptor is not None:
                shown.append(f"{name}: {'ro' if _is_readonly(descriptor) else 'rw'}")
                os.close(descriptor)
        return ", ".join(shown)


def _open(root: int, name: str) -> int | None:
    try:
        return path.open_in_root(root, name)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _clone(descriptor: int) -> int:
    return mount.open_tree("", _CLONE | mount.AT_EMPTY_PATH, descriptor)


def _empty() -> int:
    return filesystem("tmpfs", "tmpfs", ["size=0k", "nr_inodes=1", "mode=755"])


def _is_null(descriptor: int) -> bool:
    status = os.fstat(descriptor)
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == _NULL


def _is_readonly(descriptor: int) -> bool:
    return bool(os.fstatvfs(descriptor).f_flag & os.ST_RDONLY)
