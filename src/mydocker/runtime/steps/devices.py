"""/dev: the device nodes of the document and those that every container has, and the usual links.

In the first user namespace nodes are made by mknod(2). In another one the kernel refuses that: there the
runtime makes them beforehand, on a tmpfs of their own, and init binds each of them. A runtime that may not
make nodes either, since it is in a user namespace itself, binds those of the host. Which devices may be
opened is the cgroup's business (``linux/cgroup``), not that of the nodes.
"""

from __future__ import annotations

import os
import stat

from mydocker.errors import InvalidArgument, NotFound
from mydocker.linux import mount, path
from mydocker.runtime.step import Context, Step
from mydocker.runtime.steps.mounts import filesystem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mydocker.oci.runtime import Device, IdMapping

_TYPES = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}

# config-linux.md, "Default Devices"; /dev/console and /dev/ptmx are made with the terminal.
DEFAULT: tuple[tuple[str, int, int], ...] = (
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
)
# "Default symlinks", runtime-linux.md
_LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
)


class Node:
    """One device node to be."""

    __slots__ = ("gid", "major", "minor", "mode", "path", "uid")

    def __init__(self, path: str, mode: int, major: int, minor: int, uid: int, gid: int) -> None:
        self.path = path
        self.mode = mode
        self.major = major
        self.minor = minor
        self.uid = uid
        self.gid = gid


def nodes(devices: list[Device], *, defaults: bool = True) -> list[Node]:
    """The default devices, and those of the document, which win where both name a path."""
    found = {}
    if defaults:
        found = {name: Node(name, stat.S_IFCHR | 0o666, major, minor, 0, 0) for name, major, minor in DEFAULT}
    for device in devices:
        name, kind = device.get("path", ""), device.get("type", "")
        if not name.startswith("/") or kind not in _TYPES:
            raise InvalidArgument(f"invalid device {name!r} of type {kind!r}")
        mode = _TYPES[kind] | device.get("fileMode", 0o666) & 0o7777
        numbers = device.get("major", 0), device.get("minor", 0)
        found[os.path.normpath(name)] = Node(name, mode, *numbers, device.get("uid", 0), device.get("gid", 0))
    return list(found.values())


class DeviceNodes(Step):
    __slots__ = ("mappings", "nodes", "store", "trees", "userns")

    def __init__(
        self, nodes: list[Node], userns: bool, mappings: tuple[list[IdMapping], list[IdMapping]] | None = None
    ) -> None:
        self.nodes = nodes
        self.userns = userns
        self.mappings = mappings  # of a new user namespace: what owns the nodes in there
        self.store = -1  # the tmpfs with the nodes, called by their place in the list
        self.trees: dict[str, int] = {}

    def describe(self) -> str:
        verb = "bind" if self.userns else "make"
        return f"{verb} the devices {', '.join(node.path for node in self.nodes)}"

    def prepare(self) -> None:
        if not self.userns:
            return
        if self.mappings is not None:
            self._make_store(*self.mappings)
            if self.store >= 0:
                return
        for node in self.nodes:
            if stat.S_ISFIFO(node.mode):
                continue
            try:
                tree = mount.open_tree(node.path, mount.OPEN_TREE_CLONE)
            except FileNotFoundError:
                raise NotFound(f"no such device on the host to bind: {node.path}") from None
            self.trees[node.path] = tree
            _require_device(tree, node)
            mount.mount_setattr(tree, mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NOEXEC)

    def _make_store(self, uids: list[IdMapping], gids: list[IdMapping]) -> None:
        """Make the nodes on a detached tmpfs; leave none where this user may not make any."""
        store = filesystem("tmpfs", "devices", ["mode=755"])
        try:
            mount.mount_setattr(store, mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NOEXEC)
            for index, node in enumerate(self.nodes):
                name = str(index)
                os.mknod(name, stat.S_IFMT(node.mode), os.makedev(node.major, node.minor), dir_fd=store)
                owner = _outside(node.uid, uids, node.path), _outside(node.gid, gids, node.path)
                os.chown(name, *owner, dir_fd=store, follow_symlinks=False)
                os.chmod(name, stat.S_IMODE(node.mode), dir_fd=store)
        except PermissionError:
            os.close(store)
        except BaseException:
            os.close(store)
            raise
        else:
            self.store = store

    def release(self) -> None:
        if self.store >= 0:
            os.close(self.store)
            self.store = -1
        while self.trees:
            os.close(self.trees.popitem()[1])

    def apply(self, context: Context) -> None:
        if self.store >= 0:
            self._take_from_store(context)
        for node in self.nodes:
            tree = self.trees.get(node.path)
            if tree is None:
                self._make(node, context)
            else:
                point = path.make_file_in_root(context.root, node.path)
                try:
                    mount.move_mount(tree, point)
                finally:
                    os.close(point)

    def _take_from_store(self, context: Context) -> None:
        """A tree can be cloned of what is attached only, so the tmpfs is, for as long as that takes."""
        point = path.make_directory_in_root(context.root, "/dev")
        try:
            mount.move_mount(self.store, point)
        finally:
            os.close(point)
        for index, node in enumerate(self.nodes):
            self.trees[node.path] = mount.open_tree(str(index), mount.OPEN_TREE_CLONE, self.store)
        mount.umount2(f"/proc/self/fd/{self.store}", mount.MNT_DETACH)

    def observe(self, context: Context) -> str:
        shown = []
        for node in self.nodes:
            descriptor = path.open_in_root(context.root, node.path)
            try:
                status = os.fstat(descriptor)
            finally:
                os.close(descriptor)
            shown.append(f"{node.path} {os.major(status.st_rdev)}:{os.minor(status.st_rdev)}")
        return ", ".join(shown)

    def _make(self, node: Node, context: Context) -> None:
        parent, name = os.path.split(os.path.normpath(node.path))
        directory = path.make_directory_in_root(context.root, parent)
        try:
            device = os.makedev(node.major, node.minor)
            try:
                os.mknod(name, node.mode, device, dir_fd=directory)
            except FileExistsError:
                existing = os.stat(name, dir_fd=directory, follow_symlinks=False)
                if stat.S_IFMT(existing.st_mode) != stat.S_IFMT(node.mode) or existing.st_rdev != device:
                    raise
            # The node is ours, and its directory is on a mount that nobody else has write access to yet;
            # the umask has been 0 since init began.
            if (node.uid, node.gid) != (0, 0):
                os.chown(name, node.uid, node.gid, dir_fd=directory, follow_symlinks=False)
        finally:
            os.close(directory)


class HostDevices(Step):
    """Nothing is made in a /dev that is the host's: a device of the document that is not there is told of."""

    __slots__ = ("nodes",)

    def __init__(self, nodes: list[Node]) -> None:
        self.nodes = nodes

    def describe(self) -> str:
        return f"look for the devices {', '.join(node.path for node in self.nodes)} in the host's /dev"

    def apply(self, context: Context) -> None:
        missing = [node.path for node in self.nodes if not self._is_there(node, context)]
        if missing:
            context.warn(f"not made, because /dev is the host's, which has no such: {', '.join(missing)}")

    @staticmethod
    def _is_there(node: Node, context: Context) -> bool:
        try:
            descriptor = path.open_in_root(context.root, node.path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        try:
            status = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        number = os.makedev(node.major, node.minor)
        return (stat.S_IFMT(status.st_mode), status.st_rdev) == (stat.S_IFMT(node.mode), number)


class DeviceLinks(Step):
    """/dev/fd, stdin, stdout, stderr, core, and ptmx of the container's own devpts."""

    __slots__ = ()

    def describe(self) -> str:
        return f"link /dev/{', /dev/'.join(name for name, _ in _LINKS)} and /dev/ptmx"

    def apply(self, context: Context) -> None:
        directory = path.make_directory_in_root(context.root, "/dev")
        try:
            for name, target in _LINKS:
                if name != "core" or os.path.exists(target):  # a kernel may have none
                    _link(name, target, directory)
            try:
                os.unlink("ptmx", dir_fd=directory)
            except FileNotFoundError:
                pass
            _link("ptmx", "pts/ptmx", directory)
        finally:
            os.close(directory)


def _link(name: str, target: str, directory: int) -> None:
    try:
        os.symlink(target, name, dir_fd=directory)
    except FileExistsError:
        pass  # the image's own, which is as good


def _outside(id: int, mappings: list[IdMapping], name: str) -> int:
    from mydocker.runtime.idmap import outside

    found = outside(id, mappings)
    if found is not None:
        return found
    if id:  # the usual devices are root's, also where nobody in there is root
        raise InvalidArgument(f"the device {name} belongs to the id {id}, which the user namespace has not")
    return id


def _require_device(descriptor: int, node: Node) -> None:
    status = os.fstat(descriptor)
    if status.st_rdev != os.makedev(node.major, node.minor):
        numbers = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
        raise InvalidArgument(f"the host's {node.path} is {numbers}, not {node.major}:{node.minor}")
