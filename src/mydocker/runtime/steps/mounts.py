"""Mounts below the root: file systems of their own, and bind mounts.

Each is made detached, given its attributes, and only then attached on its destination, which is a descriptor
found by openat2(2) inside of the root (``linux/path.py``). So no string path is looked up twice, nothing is
visible half-made, and a symbolic link that another container plants in a shared volume leads nowhere
outside (CVE-2021-30465). procfs and sysfs go on real directories only, and what is bound over procfs is
limited to files that are known to be harmless (CVE-2019-16884, CVE-2019-19921): the security attributes of
the process are written through it.
"""

from __future__ import annotations

import os
import stat

from mydocker.errors import Forbidden, InvalidArgument, NotFound, NotSupported
from mydocker.linux import mount, path
from mydocker.runtime.rootfs import mount_line
from mydocker.runtime.step import Context, Step
from mydocker.runtime.steps.options import Options, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from mydocker.oci.runtime import IdMapping, Linux, Mount

_OVER_PROC = frozenset(
    (
        "cpuinfo",
        "diskstats",
        "loadavg",
        "meminfo",
        "net/dev",
        "slabinfo",
        "stat",
        "swaps",
        "sys/crypto/fips_enabled",
        "sys/kernel/ns_last_pid",
        "uptime",
    )
)


def step_for(entry: Mount, bundle: str, *, cgroups: dict[str, str], linux: Linux, own: set[str]) -> Step:
    """Return the step for one entry of the document's ``mounts``.

    ``linux`` is the document's section, ``own`` the kinds of namespaces that the container has for itself.
    """
    destination = entry.get("destination", "")
    if not destination.startswith("/"):
        # Relative destinations are deprecated; the specification reads them from "/".
        destination = "/" + destination
    options = parse(entry.get("options", []), destination)
    type = entry.get("type", "")
    mappings = _mappings(entry, options, linux)
    if options.remount:
        return Remount(destination, options)
    if mappings is not None and not (options.bind or type in ("bind", "rbind")):
        raise NotSupported(f"only bind mounts can be id-mapped, not the {type} on {destination}")
    if options.bind or type in ("bind", "rbind"):
        options.refuse_data(f"the bind mount on {destination}")
        source = entry.get("source", "")
        if not source:
            raise InvalidArgument(f"the bind mount on {destination} has no source")
        options.recursive = options.recursive or type == "rbind"
        return Bind(os.path.join(bundle, source), destination, options, mappings)
    if type in ("mydocker.tree", "mydocker.opened", "cgroup"):
        options.refuse_data(f"the {type} mount on {destination}")
    if type == "mydocker.tree":
        return Borrowed(entry.get("source", ""), destination, options)
    if type == "mydocker.opened":
        return Opened(entry.get("source", ""), destination, options)
    if not type or type == "none":
        raise InvalidArgument(f"the mount on {destination} has no type")
    if type == "cgroup":
        return CgroupMount(destination, options, cgroups)
    if options.copy_up and type != "tmpfs":
        raise InvalidArgument(f"tmpcopyup is for tmpfs, not for the {type} on {destination}")
    if options.copy_up and os.path.normpath(destination) == "/":
        raise InvalidArgument("tmpcopyup cannot be used for the root directory")
    if type == "sysfs" and "user" in own and "network" not in own:
        # sysfs shows a network namespace, and who does not own that may not mount it: it is the host's, then.
        return Bind("/sys", destination, options)
    return Filesystem(type, entry.get("source", type), destination, options)


def _mappings(entry: Mount, options: Options, linux: Linux) -> tuple[list[IdMapping], list[IdMapping]] | None:
    """The ids of an id-mapped mount: its own, or with ``idmap`` alone those of the user namespace."""
    uids, gids = entry.get("uidMappings"), entry.get("gidMappings")
    if not uids and not gids and not options.idmap:
        return None
    if not uids and not gids:
        uids, gids = linux.get("uidMappings"), linux.get("gidMappings")
    if not uids or not gids:
        raise InvalidArgument(
            f"the id-mapped mount on {entry.get('destination')} needs uidMappings and gidMappings"
        )
    if options.remount:
        raise NotSupported(f"a remount cannot map ids: that on {entry.get('destination')}")
    return uids, gids


class _Attached(Step):
    __slots__ = ("destination", "options")

    def __init__(self, destination: str, options: Options) -> None:
        self.destination = destination
        self.options = options

    def observe(self, context: Context) -> str:
        descriptor = path.open_in_root(context.root, self.destination)
        try:
            return mount_line(descriptor)
        finally:
            os.close(descriptor)


class Filesystem(_Attached):
    """proc, sysfs, tmpfs, devpts, mqueue and whatever else the kernel has by name.

    A new tmpfs is empty, so one that is to be read-only is so only when what is mounted in it has its place
    there: that is a step of its own, ``Seal``, for which the mount stays open.
    """

    __slots__ = ("copy", "opened", "sealed", "source", "type")

    def __init__(self, type: str, source: str, destination: str, options: Options) -> None:
        super().__init__(destination, options)
        self.type = type
        self.source = source
        self.opened = -1
        self.sealed = type == "tmpfs" and bool(options.set & mount.MOUNT_ATTR_RDONLY)
        if self.sealed:
            options.set &= ~mount.MOUNT_ATTR_RDONLY
        self.copy: Callable[[int, int], None] | None = None
        if options.copy_up:
            from mydocker.runtime import copyup

            self.copy = copyup.copy

    def describe(self) -> str:
        data = ",".join(self.options.data)
        return f"mount {self.type} on {self.destination}" + (f" ({data})" if data else "")

    def apply(self, context: Context) -> None:
        point = self._place(context)
        tree = -1
        try:
            if self.type in ("proc", "sysfs"):
                _require_real_directory(context.root, self.destination)
            else:
                _require_outside_proc(point, self, context)
            tree = filesystem(self.type, self.source, self._data(point))
            if self.copy is not None:
                self._copy(tree, point)
            self.options.apply_attributes(tree)
            _attach(tree, point, context)
            if self.sealed:
                self.opened, tree = tree, -1
        finally:
            os.close(point)
            if tree >= 0:
                os.close(tree)

    def _place(self, context: Context) -> int:
        """What it will hide. What is made for a tmpfs has the mode of one, as in runc."""
        try:
            return path.open_in_root(context.root, self.destination, os.O_PATH | os.O_DIRECTORY)
        except FileNotFoundError:
            point = path.make_directory_in_root(context.root, self.destination)
        if self.type == "tmpfs":
            os.chmod(".", 0o1777, dir_fd=point)
        return point

    def _data(self, point: int) -> list[str]:
        """A tmpfs takes the permissions of the directory that it hides, unless the document says others."""
        data = self.options.data
        if self.type != "tmpfs" or any(option.startswith("mode=") for option in data):
            return data
        return [*data, f"mode={stat.S_IMODE(os.fstat(point).st_mode):o}"]

    def _copy(self, tree: int, point: int) -> None:
        assert self.copy is not None
        source = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=point)
        target = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=tree)
        try:
            self.copy(source, target)
        finally:
            os.close(source)
            os.close(target)


class Seal(Step):
    """Make a new tmpfs read-only, whatever has been mounted over it."""

    __slots__ = ("made",)

    def __init__(self, made: Filesystem) -> None:
        self.made = made

    def describe(self) -> str:
        return f"make the tmpfs on {self.made.destination} read-only"

    def observe(self, context: Context) -> str:
        return self.made.observe(context)

    def apply(self, context: Context) -> None:
        opened, self.made.opened = self.made.opened, -1
        try:
            mount.mount_setattr(opened, mount.MOUNT_ATTR_RDONLY)
        finally:
            os.close(opened)


class Remount(_Attached):
    """Other options for what is mounted already; those that the document does not name stay as they are.

    Those of a mount (``ro``, ``nosuid``, …) are changed for the mount that the container sees. Those of the
    file system are changed for all who use it.
    """

    __slots__ = ()

    def __init__(self, destination: str, options: Options) -> None:
        super().__init__(destination, options)
        if options.copy_up:
            raise InvalidArgument(f"tmpcopyup is for a new tmpfs, not for the remount on {destination}")

    def describe(self) -> str:
        return f"change the options of what is mounted on {self.destination}"

    def apply(self, context: Context) -> None:
        point = path.open_in_root(context.root, self.destination)
        try:
            if self.options.data:
                self._reconfigure(point)
            self.options.apply_attributes(point)
        finally:
            os.close(point)

    def _reconfigure(self, point: int) -> None:
        handle = mount.fspick(point)
        try:
            _configure(handle, self.options.data)
            mount.fsreconfigure(handle)
        finally:
            os.close(handle)


class Bind(_Attached):
    """A file or directory of the host, whose tree is cloned by the runtime, before the clone of init.

    That is where an unmapped or unprivileged container could not look, and where a mount that is shared with
    the host still has its peers, so that ``rshared`` and ``rslave`` mean what they say.
    """

    __slots__ = ("is_directory", "mappings", "source", "tree")

    def __init__(
        self,
        source: str,
        destination: str,
        options: Options,
        mappings: tuple[list[IdMapping], list[IdMapping]] | None = None,
    ) -> None:
        super().__init__(destination, options)
        self.source = source
        self.mappings = mappings
        self.tree = -1
        self.is_directory = False

    def describe(self) -> str:
        return f"bind {self.source} on {self.destination}"

    def prepare(self) -> None:
        flags = mount.OPEN_TREE_CLONE | (mount.AT_RECURSIVE if self.options.recursive else 0)
        if self.options.source_nofollow:
            flags |= mount.AT_SYMLINK_NOFOLLOW
        try:
            self.tree = mount.open_tree(self.source, flags)
        except FileNotFoundError:
            raise NotFound(f"bind source path does not exist: {self.source}") from None
        self.is_directory = stat.S_ISDIR(os.fstat(self.tree).st_mode)
        if self.mappings is not None:
            self._map_ids()

    def _map_ids(self) -> None:
        """By the runtime: it takes rights over the file system itself, which are those of the host's root."""
        assert self.mappings is not None
        from mydocker.runtime import idmap

        userns = idmap.user_namespace(*self.mappings)
        try:
            recursive = self.options.idmap == "ridmap"
            mount.mount_setattr(self.tree, mount.MOUNT_ATTR_IDMAP, userns=userns, recursive=recursive)
        except OSError as error:
            reason = (error.strerror or "").lower()
            raise NotSupported(
                f"cannot map the ids of {self.source}: {reason} (its file system may not support that)"
            ) from None
        finally:
            os.close(userns)

    def release(self) -> None:
        if self.tree >= 0:
            os.close(self.tree)
            self.tree = -1

    def apply(self, context: Context) -> None:
        point = self._point(context)
        try:
            self._refuse_over_proc(point, context)
            self.options.apply_attributes(self.tree, default_propagation="rprivate")
            _attach(self.tree, point, context)
        finally:
            os.close(point)

    def _point(self, context: Context) -> int:
        """What is to be mounted on; with ``dest-nofollow`` a symbolic link itself, if it is one."""
        if self.options.destination_nofollow:
            directory, name = os.path.split(os.path.normpath(self.destination))
            parent = path.make_directory_in_root(context.root, directory)
            try:
                return os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
            except FileNotFoundError:
                pass  # what is made then is no link
            finally:
                os.close(parent)
        make = path.make_directory_in_root if self.is_directory else path.make_file_in_root
        return make(context.root, self.destination)

    def _refuse_over_proc(self, point: int, context: Context) -> None:
        place = _place(point, context)
        if (
            place == "/proc"
            and self.is_directory
            and mount.filesystem_magic(self.tree) == mount.PROC_SUPER_MAGIC
        ):
            return  # /proc of another PID namespace
        if place.removeprefix("/proc/") not in _OVER_PROC:
            _require_outside_proc(point, self, context)


class Borrowed(Bind):
    """A directory as another process sees it, "<pid>:<path>": /dev/shm of the container whose IPC is shared.

    Mount type ``mydocker.tree``, ours.
    """

    __slots__ = ()

    def prepare(self) -> None:
        from mydocker.runtime.borrow import borrow

        number, _, name = self.source.partition(":")
        if not number.isdigit() or not name.startswith("/"):
            raise InvalidArgument(f"the source of a mydocker.tree is pid:/path, not {self.source!r}")
        self.tree = borrow(int(number), name, recursive=True)
        self.is_directory = stat.S_ISDIR(os.fstat(self.tree).st_mode)


class Opened(Bind):
    """A mount that the caller has made, attached nowhere: its descriptor. Mount type ``mydocker.opened``."""

    __slots__ = ()

    def describe(self) -> str:
        return f"mount a volume on {self.destination}"

    def prepare(self) -> None:
        if not self.source.isdigit():
            raise InvalidArgument(f"the source of a mydocker.opened is a descriptor, not {self.source!r}")
        self.tree = os.dup(int(self.source))
        self.is_directory = stat.S_ISDIR(os.fstat(self.tree).st_mode)


class CgroupMount(_Attached):
    """The container's own cgroups: each hierarchy's directory bound below one tmpfs, or the one of v2."""

    __slots__ = ("cgroups",)

    def __init__(self, destination: str, options: Options, cgroups: dict[str, str]) -> None:
        super().__init__(destination, options)
        self.cgroups = cgroups

    def describe(self) -> str:
        return f"show the container its own cgroups on {self.destination}"

    def apply(self, context: Context) -> None:
        point = path.make_directory_in_root(context.root, self.destination)
        try:
            _require_outside_proc(point, self, context)
            if list(self.cgroups) == ["unified"]:
                self._bind(self.cgroups["unified"], point)
                return
            base = filesystem("tmpfs", "cgroup", ["mode=755"])
            try:
                mount.move_mount(base, point)
                for name, directory in self.cgroups.items():
                    self._add(base, name, directory)
                self.options.apply_attributes(base)
            finally:
                os.close(base)
        finally:
            os.close(point)

    def _add(self, base: int, name: str, directory: str) -> None:
        """Bind one hierarchy below ``base``, under the names that programs look for."""
        entry = name.removeprefix("name=")
        os.mkdir(entry, 0o755, dir_fd=base)
        point = os.open(entry, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=base)
        try:
            self._bind(directory, point)
        finally:
            os.close(point)
        if "," in entry:
            for controller in entry.split(","):
                os.symlink(entry, controller, dir_fd=base)

    def _bind(self, directory: str, point: int) -> None:
        tree = mount.open_tree(directory, mount.OPEN_TREE_CLONE)
        try:
            self.options.apply_attributes(tree, default_propagation="private")
            mount.move_mount(tree, point)
        finally:
            os.close(tree)


def filesystem(type: str, source: str, data: list[str]) -> int:
    """Return the detached mount of a new instance of file system ``type`` with the options ``data``."""
    handle = mount.fsopen(type)
    try:
        if source:
            mount.fsconfig(handle, "source", source)
        _configure(handle, data)
        return mount.fscreate(handle)
    finally:
        os.close(handle)


def _configure(handle: int, data: list[str]) -> None:
    for option in data:
        key, equals, value = option.partition("=")
        mount.fsconfig(handle, key, value if equals else None)


def _attach(tree: int, point: int, context: Context) -> None:
    """Attach ``tree`` on ``point``; one that hides the root becomes the root that all the rest is below."""
    hides_root = os.path.samestat(os.fstat(point), os.fstat(context.root))
    mount.move_mount(tree, point)
    if hides_root:
        os.close(context.root)
        context.root = os.dup(tree)


def _require_outside_proc(point: int, step: Step, context: Context) -> None:
    """Raise ``Forbidden`` if the mount would hide procfs or a part of it, where labels are written."""
    if mount.filesystem_magic(point) == mount.PROC_SUPER_MAGIC or _place(point, context) == "/proc":
        raise Forbidden(f"cannot {step.describe()}: /proc is for procfs")


def _place(point: int, context: Context) -> str:
    """Where ``point`` is, as the container will see it."""
    return path.path_of(point)[len(path.path_of(context.root).rstrip("/")) :]


def _require_real_directory(root: int, destination: str) -> None:
    """Raise ``Forbidden`` if there is a symbolic link on the way to ``destination``."""
    resolve = path.RESOLVE_IN_ROOT | path.RESOLVE_NO_SYMLINKS
    try:
        os.close(path.openat2(root, destination, os.O_PATH | os.O_DIRECTORY, 0, resolve))
    except OSError as error:
        raise Forbidden(
            f"{destination} has to be a directory, not a symbolic link: {error.strerror}"
        ) from None
