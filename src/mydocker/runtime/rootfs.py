"""The root file system: a stack of layers, or a directory; attached in init's own mount namespace.

Everything here happens after the clone, so that the mounts are seen by nobody else and are gone with the last
process of the container. The steps leave an O_PATH descriptor of the new root in ``context.root``; whatever
comes after goes through it.
"""

from __future__ import annotations

import errno
import os

from mydocker.errors import InvalidArgument, NotFound
from mydocker.linux import mount, path
from mydocker.linux.mount import MS_PRIVATE, MS_REC, MS_SHARED, MS_SLAVE, MS_UNBINDABLE
from mydocker.runtime.step import Context, Step

PROPAGATION = {
    "private": MS_PRIVATE,
    "slave": MS_SLAVE,
    "shared": MS_SHARED,
    "unbindable": MS_UNBINDABLE,
    "rprivate": MS_PRIVATE | MS_REC,
    "rslave": MS_SLAVE | MS_REC,
    "rshared": MS_SHARED | MS_REC,
    "runbindable": MS_UNBINDABLE | MS_REC,
}
# A layer of its own is whole only if the kernel never leaves a name or contents in another one, which its
# build-time or module defaults may ask for (Documentation/filesystems/overlayfs.rst).
WHOLE_LAYERS = ("redirect_dir=off", "metacopy=off", "index=off")
_OPTIONS_LIMIT = 4096 - 1  # mount(2) copies one page


class Detach(Step):
    """Stop the new mount namespace from sending its mounts back to the host's (mount_namespaces(7))."""

    __slots__ = ()

    def describe(self) -> str:
        return "make all mounts of the new mount namespace private to it"

    def apply(self, context: Context) -> None:
        mount.mount(None, "/", None, MS_SLAVE | MS_REC)


class RootfsStep(Step):
    """The base of both kinds; ``propagation`` is the document's ``rootfsPropagation``."""

    __slots__ = ("propagation",)

    propagation: str


class BoundRootfs(RootfsStep):
    """A directory of the host as the root: a recursive bind mount of it onto itself."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path
        self.propagation = ""

    def describe(self) -> str:
        return f"bind the root directory {self.path}"

    def prepare(self) -> None:
        if not os.path.isdir(self.path):
            raise NotFound(f"no such root directory: {self.path}")

    def apply(self, context: Context) -> None:
        flags = mount.OPEN_TREE_CLONE | mount.AT_RECURSIVE
        tree = mount.open_tree(self.path, flags)
        change = PROPAGATION[_before_pivot(self.propagation)]
        mount.mount_setattr(tree, propagation=change & ~MS_REC, recursive=bool(change & MS_REC))
        _attach(tree, self.path, context)

    def observe(self, context: Context) -> str:
        return mount_line(context.root)


class Overlay(RootfsStep):
    """Layers stacked by overlayfs: ``lowers`` from the top, then the read-write layer ``upper``, if any.

    Each layer is named to the kernel by a call of its own (``lowerdir+``, Linux 6.8), which no length limits.
    Before that, all go into one page of mount(2) options, so there they are named by descriptor
    (/proc/self/fd/N), which leaves room for some 200. ``readonly`` takes effect after the mount points are
    made. ``volatile``: what is written need not outlast a crash of the machine, so overlayfs syncs nothing,
    neither when a program asks for it nor at the end, when it would otherwise wait until all is written that
    waits for that on the file system of ``upper`` (Linux 5.10; before, it does sync).
    """

    __slots__ = ("lowers", "options", "readonly", "target", "upper", "volatile", "work")

    def __init__(
        self,
        lowers: list[str],
        upper: str,
        work: str,
        target: str,
        readonly: bool = False,
        options: tuple[str, ...] = WHOLE_LAYERS,
        volatile: bool = False,
    ) -> None:
        if not lowers:
            raise InvalidArgument(f"an overlay on {target} needs at least one lower layer")
        self.lowers = lowers
        self.upper = upper
        self.work = work
        self.target = target
        self.readonly = readonly
        self.options = options
        self.volatile = volatile
        self.propagation = ""

    def describe(self) -> str:
        return f"stack {len(self.lowers)} layers and the read-write layer {self.upper}"

    def apply(self, context: Context) -> None:
        try:
            tree = self.detached()
        except OSError as error:
            # A kernel before 6.8 says so when it sees the key, or for some when the file system is created.
            if error.errno not in (errno.EINVAL, errno.ENOSYS):
                raise
            self.mount_on_target()
            tree = mount.open_tree(self.target)
            context.root = tree
        else:
            _attach(tree, self.target, context)
        change = PROPAGATION[_before_pivot(self.propagation)]
        mount.mount_setattr(tree, propagation=change & ~MS_REC)

    def observe(self, context: Context) -> str:
        return mount_line(context.root)

    def detached(self) -> int:
        """Return the mount, made by fsopen(2); on a kernel before 6.8 EINVAL or ENOSYS."""
        held: list[int] = []
        try:
            handle = mount.fsopen("overlay")
            held.append(handle)
            mount.fsconfig(handle, "source", "overlay")
            for lower in self.lowers:
                mount.fsconfig(handle, "lowerdir+", _short(lower, held))
            if self.upper:
                mount.fsconfig(handle, "upperdir", _short(self.upper, held))
                mount.fsconfig(handle, "workdir", _short(self.work, held))
            for option in self.options:
                key, equals, value = option.partition("=")
                mount.fsconfig(handle, key, value if equals else None)
            if self.volatile:
                mount.fsconfig(handle, "volatile", None)
            return mount.fscreate(handle)
        finally:
            for descriptor in held:
                os.close(descriptor)

    def mount_privately(self) -> None:
        """Mount it on ``target`` in whatever way this kernel has, in the caller's mount namespace."""
        try:
            tree = self.detached()
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOSYS):
                raise
            self.mount_on_target()
            return
        point = os.open(self.target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            mount.move_mount(tree, point)
        finally:
            os.close(point)
            os.close(tree)

    def mount_on_target(self) -> None:
        """Mount it on ``target`` by mount(2)."""
        held: list[int] = []
        try:
            lowers = [_by_descriptor(path, held) for path in self.lowers]
            options = [f"lowerdir={':'.join(lowers)}", *self.options]
            if self.upper:
                options.append(f"upperdir={_by_descriptor(self.upper, held)}")
                options.append(f"workdir={_by_descriptor(self.work, held)}")
            data = ",".join(options)
            if len(data) > _OPTIONS_LIMIT:
                raise OSError(errno.E2BIG, f"{len(lowers)} layers do not fit into mount options", self.target)
            try:
                mount.mount(
                    "overlay", self.target, "overlay", 0, f"{data},volatile" if self.volatile else data
                )
            except OSError as error:
                if not self.volatile or error.errno != errno.EINVAL:  # which it is before 5.10
                    raise
                mount.mount("overlay", self.target, "overlay", 0, data)
        finally:
            for descriptor in held:
                os.close(descriptor)


class RootPropagation(Step):
    """Share the mounts of the root among those that come to it later, once pivot_root(2) has taken it."""

    __slots__ = ("propagation",)

    def __init__(self, propagation: str) -> None:
        self.propagation = propagation

    def describe(self) -> str:
        return f"make the root file system {self.propagation}"

    def apply(self, context: Context) -> None:
        change = PROPAGATION[self.propagation]
        mount.mount_setattr(context.root, propagation=change & ~MS_REC, recursive=bool(change & MS_REC))

    def observe(self, context: Context) -> str:
        return mount_line(context.root)


class PivotRoot(Step):
    """Make the new root the root of the mount namespace and let go of the old (pivot_root(2), NOTES)."""

    __slots__ = ()

    def describe(self) -> str:
        return "pivot_root into the root file system and detach the host's"

    def apply(self, context: Context) -> None:
        old = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fchdir(context.root)
            # Both at one place: the old root is then stacked on the new, and can be taken off by ".".
            mount.pivot_root(".", ".")
            os.fchdir(old)
            mount.mount(None, ".", None, MS_SLAVE | MS_REC)
            mount.umount2(".", mount.MNT_DETACH)
        finally:
            os.close(old)
        os.chdir("/")
        os.close(context.root)
        context.root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def observe(self, context: Context) -> str:
        return f"/ holds {', '.join(sorted(os.listdir('/'))[:12])}"


class MoveRoot(Step):
    """Move the new root over the old one and chroot(2) there: what a ramdisk as the root leaves to do.

    The old root stays below. Its procfs and sysfs are unmounted first: in a user namespace they are what the
    kernel measures new ones by.
    """

    __slots__ = ()

    def describe(self) -> str:
        return "move the root file system to / and chroot into it"

    def apply(self, context: Context) -> None:
        root = path.path_of(context.root)
        with open("/proc/self/mountinfo") as file:
            rows = [line.split(" ") for line in file]
        places = [row[4] for row in rows if row[row.index("-") + 1] in ("proc", "sysfs")]
        os.fchdir(context.root)
        for place in sorted(places, key=len, reverse=True):
            if not f"{place}/".startswith(f"{root}/"):
                mount.umount2(place, mount.MNT_DETACH)
        mount.mount(".", "/", None, mount.MS_MOVE)
        os.chroot(".")
        os.chdir("/")
        os.close(context.root)
        context.root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


class ReadonlyRoot(Step):
    __slots__ = ()

    def describe(self) -> str:
        return "make the root file system read-only"

    def apply(self, context: Context) -> None:
        mount.mount_setattr(context.root, mount.MOUNT_ATTR_RDONLY)

    def observe(self, context: Context) -> str:
        return mount_line(context.root)


def _before_pivot(propagation: str) -> str:
    """``rootfsPropagation`` as long as pivot_root(2) is to come, which refuses a root that is shared."""
    return {"": "rprivate", "shared": "slave", "rshared": "rslave"}.get(propagation, propagation)


def mount_line(descriptor: int) -> str:
    """What /proc/self/mountinfo says about the mount that ``descriptor`` is on, from the mount point on."""
    with open(f"/proc/self/fdinfo/{descriptor}") as file:
        ids = [line.split()[1] for line in file if line.startswith("mnt_id")]
    with open("/proc/self/mountinfo") as file:
        for line in file:
            fields = line.split()
            if fields[0] == ids[0]:
                return " ".join(fields[4:6] + fields[fields.index("-") + 1 :])
    return "detached"


def _attach(tree: int, target: str, context: Context) -> None:
    point = os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        mount.move_mount(tree, point)
    finally:
        os.close(point)
    context.root = tree


def _short(path: str, held: list[int]) -> str:
    """``path``, or a name by descriptor where it is longer than fsconfig(2) takes."""
    return path if len(os.fsencode(path)) <= mount.LONGEST_VALUE else _by_descriptor(path, held)


def _by_descriptor(path: str, held: list[int]) -> str:
    descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    held.append(descriptor)
    return f"/proc/self/fd/{descriptor}"
