"""The command ``checkpoint``: write a container to disk by criu, and end it unless it is to go on.

    <image path>/             criu's images, which ``restore`` reads
        descriptors.json      what the standard streams were: ["pipe:[123]", "file[1a:2b]", …]
    <work path>/dump.log      criu's log; in the image path if there is no work path

What is not the container's own has to be named to criu, so that it is left out, and to be put in its place by
``restore``: bind mounts, what hides paths, namespaces that were joined, and the standard streams.
"""

from __future__ import annotations

import os
import stat

from mydocker.errors import Conflict, InvalidArgument, NotFound, NotSupported
from mydocker.linux import path as paths
from mydocker.linux.namespace import CLONE_NEWNET
from mydocker.oci.json import dumps
from mydocker.runtime import criu, store
from mydocker.runtime.steps import options as mount_options
from mydocker.runtime.verbs import end_and_remove

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mydocker.oci.runtime import Mount, Spec
    from mydocker.runtime.arguments import Options
    from mydocker.runtime.main import Call
    from mydocker.runtime.store import Entry

DESCRIPTORS = "descriptors.json"
_LOG = "dump.log"
_LOG_LEVEL = 4
_UNBUILT = ("lazy-pages", "status-fd", "page-server")
_FLAGS = (
    ("tcp-established", criu.TCP_ESTABLISHED),
    ("ext-unix-sk", criu.EXT_UNIX_SK),
    ("shell-job", criu.SHELL_JOB),
    ("file-locks", criu.FILE_LOCKS),
    ("auto-dedup", criu.AUTO_DEDUP),
    ("link-remap", criu.LINK_REMAP),
    ("tcp-skip-in-flight", criu.TCP_SKIP_IN_FLIGHT),
)


def checkpoint(call: Call) -> int:
    """Write the container to the image path; with --pre-dump its memory alone."""
    options = call.options
    entry = store.find(call.root, call.only_id())
    if (status := entry.status()) not in ("running", "paused"):
        raise Conflict(f"cannot checkpoint container {entry.id}: it is {status}")
    refuse_unbuilt(options)
    refuse_user_namespace(entry.spec)
    criu.program()
    pre_dump, leave = options.flag("pre-dump"), options.flag("leave-running")
    images = Images(options)
    found = [
        (criu.LOG_FILE, _LOG),
        *common(options, entry.spec),
        (criu.PID, entry.pid),
        (criu.ROOT, root_of(entry.spec, entry.bundle)),
        (criu.LEAVE_RUNNING, leave),
        *external_namespaces(entry.spec),
    ]
    freezer = entry.cgroups.get("freezer") or entry.cgroups.get("unified")
    if freezer:
        found.append((criu.FREEZE_CGROUP, freezer))
    if parent := options.value("parent-path"):
        found += [(criu.PARENT_IMG, parent), (criu.TRACK_MEM, True)]
    elif pre_dump:
        found.append((criu.TRACK_MEM, True))
    if not pre_dump:
        streams = _streams(entry.pid)
        found += [(criu.EXTERNAL, stream) for stream in streams if stream.startswith("file[")]
        found += _external_mounts(entry)
        with open(f"{images.path}/{DESCRIPTORS}", "w") as file:
            file.write(dumps(streams))
    kind = criu.PRE_DUMP if pre_dump else criu.DUMP
    criu.run(kind, found, images.path, images.work, f"{images.work}/{_LOG}")
    if not pre_dump and not leave:
        end_and_remove(entry, force=True)
    return 0


class Images:
    """The directories that criu reads and writes: its images, and its log."""

    __slots__ = ("path", "work")

    def __init__(self, options: Options, *, new: bool = True) -> None:
        self.path = os.path.abspath(options.value("image-path") or "checkpoint")
        self.work = os.path.abspath(options.value("work-path") or self.path)
        if new:
            os.makedirs(self.path, 0o700, exist_ok=True)
        elif not os.path.isdir(self.path):
            raise NotFound(f"no such image directory: {self.path}")
        if parent := options.value("parent-path"):
            if parent.startswith("/"):
                raise InvalidArgument(f"--parent-path is relative to the image path, not {parent}")
            if not os.path.isdir(os.path.join(self.path, parent)):
                raise NotFound(f"no such image directory: {os.path.join(self.path, parent)}")
        os.makedirs(self.work, 0o700, exist_ok=True)


def refuse_unbuilt(options: Options) -> None:
    for name in _UNBUILT:
        if options.value(name):
            raise NotSupported(f"--{name} is not supported")


def refuse_user_namespace(spec: Spec) -> None:
    """criu would write such a container, and fail to make it again: as root of the namespace it may read
    neither its images nor what is bound for the container's devices."""
    if any(given.get("type") == "user" for given in spec.get("linux", {}).get("namespaces", [])):
        raise NotSupported("criu cannot restore a container that is in a user namespace")


def common(options: Options, spec: Spec) -> list[criu.Option]:
    """What ``checkpoint`` and ``restore`` say in the same words."""
    found: list[criu.Option] = [(field, True) for name, field in _FLAGS if options.flag(name)]
    mode = options.value("manage-cgroups-mode")
    if mode not in criu.CGROUP_MODES:
        modes = ", ".join(name for name in criu.CGROUP_MODES if name)
        raise InvalidArgument(f"--manage-cgroups-mode is one of {modes}, not {mode}")
    found += [(criu.MANAGE_CGROUPS, True), (criu.MANAGE_CGROUPS_MODE, criu.CGROUP_MODES[mode])]
    for kind in options.list("empty-ns"):
        if kind != "network":
            raise InvalidArgument(f"--empty-ns is network, not {kind}")
        found.append((criu.EMPTY_NS, CLONE_NEWNET))
    configuration = spec.get("annotations", {}).get(criu.ANNOTATION, criu.CONFIGURATION)
    if os.path.exists(configuration):
        found.append((criu.CONFIG_FILE, configuration))
    elif configuration not in ("", criu.CONFIGURATION):
        raise NotFound(f"annotation {criu.ANNOTATION}: no such file: {configuration}")
    found.append((criu.LOG_LEVEL, _LOG_LEVEL))
    return [*found, (criu.NOTIFY_SCRIPTS, True), (criu.ORPHAN_PTS_MASTER, True)]


def root_of(spec: Spec, bundle: str) -> str:
    return os.path.realpath(os.path.join(bundle, spec["root"]["path"]))


def namespace_key(kind: str) -> str:
    """By what name a namespace from outside is known in the images; as runc has it."""
    return f"extRoot{ {'network': 'Net', 'pid': 'Pid'}[kind] }NS"


def external_namespaces(spec: Spec) -> list[criu.Option]:
    """The network and PID namespaces that the container has joined: criu leaves them out."""
    found: list[criu.Option] = []
    for entry in spec.get("linux", {}).get("namespaces", []):
        kind, place = entry.get("type", ""), entry.get("path", "")
        if place and kind in ("network", "pid"):
            name = "net" if kind == "network" else kind
            found.append((criu.EXTERNAL, f"{name}[{os.stat(place).st_ino}]:{namespace_key(kind)}"))
    return found


def is_bind(entry: Mount) -> bool:
    if entry.get("type") in ("bind", "rbind"):
        return True
    return mount_options.parse(entry.get("options", []), entry.get("destination", "")).bind


def external_mount(inside: str, outside: str) -> criu.Option:
    return criu.EXT_MNT, criu.encode([(1, inside), (2, outside)])


def bound_cgroups(spec: Spec, cgroups: dict[str, str]) -> dict[str, str]:
    """Where the container sees its cgroups, and the directories that are; none with a cgroup namespace, in
    which they are what criu can mount by itself."""
    kinds = [given.get("type") for given in spec.get("linux", {}).get("namespaces", [])]
    places = [given["destination"] for given in spec.get("mounts", []) if given.get("type") == "cgroup"]
    found: dict[str, str] = {}
    for place in [] if "cgroup" in kinds else places:
        if list(cgroups) == ["unified"]:
            found[place] = cgroups["unified"]
        else:
            found.update({f"{place}/{name.removeprefix('name=')}": path for name, path in cgroups.items()})
    return found


def _external_mounts(entry: Entry) -> list[criu.Option]:
    """Bind mounts, by where they are; and files of the host's /dev/null, by what they are."""
    linux = entry.spec.get("linux", {})
    root = os.open(f"/proc/{entry.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    found = [external_mount(place, place) for place in bound_cgroups(entry.spec, entry.cgroups)]
    try:
        for bound in entry.spec.get("mounts", []):
            if is_bind(bound):
                place = _place(root, bound["destination"])
                found.append(external_mount(place, place))
        for masked in linux.get("maskedPaths", []):
            try:
                descriptor = paths.open_in_root(root, masked)
            except (FileNotFoundError, NotADirectoryError):
                continue
            try:
                if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
                    found.append(external_mount(masked, "/dev/null"))
            finally:
                os.close(descriptor)
    finally:
        os.close(root)
    return found


def _place(root: int, destination: str) -> str:
    """Where a destination is without its symbolic links, from the container's root on."""
    descriptor = paths.open_in_root(root, destination)
    try:
        found = os.readlink(f"/proc/self/fd/{descriptor}")
        top = os.readlink(f"/proc/self/fd/{root}")
    finally:
        os.close(descriptor)
    return "/" + found.removeprefix(top).lstrip("/")


def _streams(pid: int) -> list[str]:
    """What the standard streams are: a pipe, a file from outside by mount and inode, or what else.

    ``restore`` gives its own in the place of the first two. A terminal is the container's own.
    """
    found = []
    for number in range(3):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{number}")
        except FileNotFoundError:
            found.append("")
            continue
        if target.startswith("/") and not target.startswith("/dev/pts/"):
            with open(f"/proc/{pid}/fdinfo/{number}") as file:
                mount = next(int(line.split()[1]) for line in file if line.startswith("mnt_id:"))
            inode = os.stat(f"/proc/{pid}/fd/{number}").st_ino
            target = f"file[{mount:x}:{inode:x}]"
        found.append(target)
    return found
