"""The command ``restore``: make a container again from what ``checkpoint`` wrote, by criu.

criu makes the processes, their namespaces and mounts. What it needs for that is the container's cgroup, which
it starts in and what it makes inherits; the root directory, which has to be a mount point and is one in a
mount namespace of criu's own; and what was left out of the images (see ``checkpoint``). Init becomes the
child of this process, as a sibling of criu.
"""

from __future__ import annotations

import os
import stat

from mydocker.errors import NotFound, NotSupported, StartFailed
from mydocker.linux import mount, namespace
from mydocker.linux import path as paths
from mydocker.linux.cgroup import hierarchy
from mydocker.linux.pidfd import pidfd_open
from mydocker.oci.json import load
from mydocker.runtime import checkpoint as images
from mydocker.runtime import console, create, criu, dialogue, foreground, store, verbs
from mydocker.runtime import plan_container as plans
from mydocker.runtime.checkpoint import Images
from mydocker.runtime.steps import namespaces
from mydocker.runtime.task import Task, end

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mydocker.oci.runtime import Mount, Spec
    from mydocker.runtime.arguments import Options
    from mydocker.runtime.cgroup import Cgroup
    from mydocker.runtime.main import Call
    from mydocker.runtime.store import Entry

_LOG = "restore.log"
_BY_PATH = {"ipc": "ipc", "uts": "uts", "mount": "mnt"}  # the names that criu has for them


def restore(call: Call) -> int:
    """Make the container again; in the foreground wait for its end."""
    options = call.options
    images.refuse_unbuilt(options)
    if options.value("preserve-fds"):
        raise NotSupported("--preserve-fds is not supported: descriptors are in the images")
    if options.flag("no-pivot"):
        raise NotSupported("--no-pivot is not supported: it is criu that makes the root, by pivot_root")
    criu.program()
    bundle = os.path.abspath(options.value("bundle", "."))
    spec = verbs.read_spec(bundle, options.value("config", "config.json"))
    images.refuse_user_namespace(spec)
    detach = options.flag("detach")
    terminal = spec.get("process", {}).get("terminal", False)
    socket = console.connect(options.value("console-socket"), terminal, needed=detach)
    entry = verbs.claim(call, bundle, spec)
    task: Task | None = None
    keep = False
    try:
        with foreground.signals() as signals:
            task = _restore(call, entry)
            console.hand_over(task.console, socket, task.warnings)
            if pid_file := options.value("pid-file"):
                console.write_pid(pid_file, task.pid)
            dialogue.run_hooks(task, "poststart", "running", task.pid)
            if detach:
                keep = True
                return 0
            return foreground.wait(task.pidfd, task.console if socket is None else None, signals)
    finally:
        if not keep:
            if task is not None:
                task.delete()
                console.warn(task.warnings)
            entry.remove()


def _restore(call: Call, entry: Entry) -> Task:
    """Have criu do its work; everything is undone if that fails."""
    spec, options = entry.spec, call.options
    linux = spec.get("linux", {})
    own = plans.Namespaces(linux.get("namespaces", []))
    found = Images(options, new=False)
    cgroup: Cgroup | None = None
    restored = _Restored(entry)
    done = False
    try:
        own.open()
        root = images.root_of(spec, entry.bundle)
        if not os.path.isdir(root):
            raise NotFound(f"no such root directory: {root}")
        cgroup = create.prepare_cgroup(call.manager, linux["cgroupsPath"], spec, call.rootless)
        if cgroup is not None:
            cgroup.open_join()
            entry.cgroups = cgroup.paths()
        joined, descriptors = _joined(own)
        criu.run(
            criu.RESTORE,
            [
                (criu.LOG_FILE, _LOG),
                *images.common(options, spec),
                (criu.ROOT, root),
                (criu.RST_SIBLING, True),
                (criu.EVASIVE_DEVICES, True),
                *_profiles(options),
                *_external_mounts(entry),
                *_streams(found.path),
                *joined,
                *_cgroup_roots(cgroup),
            ],
            found.path,
            found.work,
            f"{found.work}/{_LOG}",
            notified=restored.notified,
            enter=lambda: _enter(entry, root, cgroup, keep_keyring=options.flag("no-new-keyring")),
            inherited=descriptors,
            cgroup=cgroup.fd if cgroup is not None else None,
        )
        task = restored.task(cgroup)
        if cgroup is not None:
            cgroup.settle()
            cgroup.close()
        done = True
        return task
    finally:
        own.close()
        if not done:
            restored.end()
            if cgroup is not None:
                cgroup.remove()


class _Restored:
    """What criu tells while it works: init, and the terminal's master. Owns both until ``task``."""

    __slots__ = ("_entry", "console", "pid", "pidfd")

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self.pid = 0
        self.pidfd = -1
        self.console: int | None = None

    def notified(self, script: str, pid: int, descriptor: int | None) -> None:
        if script == "orphan-pts-master" and self.console is None:
            self.console, descriptor = descriptor, None
        elif script == "setup-namespaces":
            entry = self._entry
            task = Task(entry.spec, entry.id, entry.bundle, pid=pid, pidfd=-1, cgroup=None, channel=None)
            for kind in ("prestart", "createRuntime"):
                dialogue.run_hooks(task, kind, "creating", pid)
        elif script == "post-restore":
            self.pid, self.pidfd = pid, pidfd_open(pid)
            self._entry.pid, self._entry.started = pid, store.start_time(pid)
            self._entry.save()
        if descriptor is not None:
            os.close(descriptor)

    def task(self, cgroup: Cgroup | None) -> Task:
        entry = self._entry
        if self.pidfd < 0:
            raise StartFailed("criu did not say which process it has made")
        task = Task(
            entry.spec, entry.id, entry.bundle, pid=self.pid, pidfd=self.pidfd, cgroup=cgroup, channel=None
        )
        task.console = self.console
        return task

    def end(self) -> None:
        if self.pidfd >= 0:
            end(self.pidfd, None)
            os.close(self.pidfd)
        if self.console is not None:
            os.close(self.console)


def _profiles(options: Options) -> list[criu.Option]:
    found: list[criu.Option] = []
    for name, field in (("lsm-profile", criu.LSM_PROFILE), ("lsm-mount-context", criu.LSM_MOUNT_CONTEXT)):
        if value := options.value(name):
            found.append((field, value))
    return found


def _joined(own: plans.Namespaces) -> tuple[list[criu.Option], list[int]]:
    """The namespaces to be joined: by descriptor where the images know them from outside, else by path."""
    found: list[criu.Option] = []
    descriptors: list[int] = []
    for kind, (path, descriptor) in own.joined.items():
        if kind in ("network", "pid"):
            number = criu.FIRST + len(descriptors)
            inherit = criu.encode([(1, images.namespace_key(kind)), (2, number)])
            found.append((criu.INHERIT_FD, inherit))
            descriptors.append(descriptor)
        elif kind in _BY_PATH:
            found.append((criu.JOIN_NS, criu.encode([(1, _BY_PATH[kind]), (2, path)])))
        else:
            raise NotSupported(f"criu cannot restore a container that joins a {kind} namespace")
    return found, descriptors


def _streams(path: str) -> list[criu.Option]:
    """Our standard streams in the place of those that the container had from outside."""
    found: list[criu.Option] = []
    for number, stream in enumerate(load(os.path.join(path, images.DESCRIPTORS))):
        if str(stream).startswith(("pipe:", "file[")):
            found.append((criu.INHERIT_FD, criu.encode([(1, str(stream)), (2, number)])))
    return found


def _external_mounts(entry: Entry) -> list[criu.Option]:
    """What is to be bound where."""
    spec, bundle = entry.spec, entry.bundle
    bound = images.bound_cgroups(spec, entry.cgroups)
    found = [images.external_mount(inside, outside) for inside, outside in bound.items()]
    for given in spec.get("mounts", []):
        if images.is_bind(given):
            inside = _inside(spec, bundle, given["destination"])
            found.append(images.external_mount(inside, _source(given, bundle)))
    if spec.get("linux", {}).get("maskedPaths"):
        found.append(images.external_mount("/dev/null", "/dev/null"))
    return found


def _inside(spec: Spec, bundle: str, destination: str) -> str:
    """The name that ``checkpoint`` gave a mount: its place without the symbolic links of the root."""
    top = images.root_of(spec, bundle)
    root = os.open(top, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        descriptor = paths.open_in_root(root, destination)
    except OSError:
        return os.path.normpath(destination)  # below another mount, where links are not looked for
    finally:
        os.close(root)
    try:
        return "/" + paths.path_of(descriptor).removeprefix(top).lstrip("/")
    finally:
        os.close(descriptor)


def _cgroup_roots(cgroup: Cgroup | None) -> list[criu.Option]:
    """Where the cgroups of the images are now, for each controller (none for cgroup v2)."""
    if cgroup is None:
        return []
    found: list[criu.Option] = []
    known = {entry.name: entry for entry in hierarchy.discover()}
    for name, place in cgroup.paths().items():
        path = place.removeprefix(known[name].mount)
        controllers = known[name].controllers or ("",)
        found += [(criu.CG_ROOT, criu.encode([(1, controller), (2, path)])) for controller in controllers]
    return found


def _enter(entry: Entry, root: str, cgroup: Cgroup | None, *, keep_keyring: bool) -> None:
    """In criu's process: its cgroups (v1), a keyring of its own, and the root as a mount point that only it
    sees."""
    if cgroup is not None:
        cgroup.join()
    if not keep_keyring:
        namespaces.new_keyring(entry.id)
    namespace.unshare(namespace.CLONE_NEWNS)
    mount.mount(None, "/", None, mount.MS_SLAVE | mount.MS_REC)
    _make_mount_points(root, entry)
    mount.mount(root, root, None, mount.MS_BIND | mount.MS_REC)


def _make_mount_points(root: str, entry: Entry) -> None:
    """As ``create`` does it, in a root that may be a new one, and in what is bound there, which may be empty.

    What else is mounted comes from the images, with the mount points in it.
    """
    top = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    from_images: list[str] = []
    bound: list[int] = []
    try:
        for given in entry.spec.get("mounts", []):
            destination = os.path.normpath("/" + given["destination"])
            if any(f"{destination}/".startswith(f"{place}/") for place in from_images):
                continue
            if not images.is_bind(given):
                from_images.append(destination)
                os.close(paths.make_directory_in_root(top, destination))
                continue
            bound.append(_bind(_source(given, entry.bundle), destination, top))
    finally:
        for tree in reversed(bound):
            mount.umount2(f"/proc/self/fd/{tree}", mount.MNT_DETACH)
            os.close(tree)
        os.close(top)


def _bind(source: str, destination: str, top: int) -> int:
    """Return the mount of ``source`` on ``destination``, which is made."""
    tree = mount.open_tree(source, mount.OPEN_TREE_CLONE | mount.AT_RECURSIVE)
    try:
        is_directory = stat.S_ISDIR(os.fstat(tree).st_mode)
        make = paths.make_directory_in_root if is_directory else paths.make_file_in_root
        point = make(top, destination)
        try:
            mount.move_mount(tree, point)
        finally:
            os.close(point)
    except BaseException:
        os.close(tree)
        raise
    return tree


def _source(given: Mount, bundle: str) -> str:
    """What is bound; criu wants the place itself, and no link to it."""
    return os.path.realpath(os.path.join(bundle, given.get("source", "")))
