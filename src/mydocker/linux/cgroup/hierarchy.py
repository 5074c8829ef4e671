"""Which cgroup hierarchies this process can see, read from ``/proc/self/mountinfo`` and
``/proc/self/cgroup``.

    v1      one mount per set of controllers (``memory``, ``cpu,cpuacct``) and per name (``name=systemd``)
    v2      one mount of type cgroup2 with everything
    hybrid  v1 mounts with the controllers, and a cgroup2 mount with what is left, often nothing

A line of mountinfo (man 5 proc_pid_mountinfo), with what is used here underlined:

    35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
          ---- - ---------------------                       ------        ---------
          device root  mount point                           type          controllers

Out of scope: making or changing a cgroup (``directory``).
"""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# Options of a v1 superblock that are not controllers: cgroup_show_options() in kernel/cgroup/cgroup-v1.c.
_OPTIONS = frozenset(
    ("rw", "ro", "none", "noprefix", "xattr", "clone_children", "cpuset_v2_mode", "favordynmods")
)
_SECURITY_OPTIONS = frozenset(("seclabel",))

UNIFIED = "unified"
"""The name of the v2 hierarchy, which has none of its own."""


class Hierarchy:
    """One mounted hierarchy. ``root`` is the cgroup that is seen at ``mount``; ``/`` unless it was bound."""

    __slots__ = ("controllers", "mount", "root", "unified")

    def __init__(self, controllers: tuple[str, ...], mount: str, root: str = "/", *, unified: bool = False):
        self.controllers = controllers
        self.mount = mount
        self.root = root
        self.unified = unified

    def __repr__(self) -> str:
        return f"Hierarchy({self.name!r}, {self.mount!r}, root={self.root!r})"

    @property
    def name(self) -> str:
        """``memory``, ``cpu,cpuacct``, ``name=systemd``; ``unified`` for v2."""
        return UNIFIED if self.unified else ",".join(self.controllers)

    def directory(self, path: str) -> str:
        """The directory under ``mount`` of the cgroup that ``/proc/<pid>/cgroup`` calls ``path``.

        Raises FileNotFoundError for a cgroup outside of what the mount shows.
        """
        if self.root == "/":
            return self.mount + path.rstrip("/")
        if path == self.root or path.startswith(self.root + "/"):
            return self.mount + path[len(self.root) :]
        # In a cgroup namespace the mount may have been made outside of it: then the root reads "/.." and the
        # like, and only the namespace's own root is known to be what the mount point shows.
        if path == "/":
            return self.mount
        raise FileNotFoundError(2, f"the cgroup {path} is outside of what is mounted here", self.mount)


def parse_mountinfo(text: str) -> list[tuple[Hierarchy, str]]:
    """Every cgroup mount with its device number as ``major:minor``, in the order of the mount table."""
    found = []
    for line in text.splitlines():
        before, separator, after = line.partition(" - cgroup")
        if not separator:
            continue
        fields = before.split(" ")
        kind, _, options = after.split(" ", 2)
        if kind not in ("", "2"):
            continue
        root, mount = _unescape(fields[3]), _unescape(fields[4])
        if kind == "2":
            hierarchy = Hierarchy((), mount, root, unified=True)
        else:
            hierarchy = Hierarchy(_controllers(options), mount, root)
        found.append((hierarchy, fields[2]))
    return found


def discover(mountinfo: str = "/proc/self/mountinfo") -> list[Hierarchy]:
    """The hierarchies that can be reached, each once, v1 before v2; empty on a host without cgroups.

    A mount that another one covers is still in the table, so each mount point is asked for its device.
    Where a hierarchy is mounted twice, the mount that shows all of it is taken.
    """
    with open(mountinfo, encoding="utf-8", errors="surrogateescape") as handle:
        table = handle.read()
    if table not in _found:
        _found.clear()
        _found[table] = _choose(parse_mountinfo(table))
    return [*_found[table]]


_found: dict[str, list[Hierarchy]] = {}
"""What the mount table led to last. Who is forked from a process that has looked need not look again."""


def _choose(mounts: list[tuple[Hierarchy, str]]) -> list[Hierarchy]:
    chosen: dict[str, Hierarchy] = {}
    for hierarchy, device in mounts:
        known = chosen.get(hierarchy.name)
        if known is not None and (known.root == "/" or hierarchy.root != "/"):
            continue
        if _device(hierarchy.mount) == device:
            chosen[hierarchy.name] = hierarchy
    return sorted(chosen.values(), key=lambda hierarchy: hierarchy.unified)


def parse_membership(text: str) -> dict[str, str]:
    """``/proc/<pid>/cgroup`` as ``{controller or name: path}``; the v2 path has the key ``unified``."""
    found = {}
    for line in text.splitlines():
        number, controllers, path = line.split(":", 2)
        # The kernel adds this to the path of a process whose cgroup has been removed: man 7 cgroups.
        path = path.removesuffix(" (deleted)")
        if number == "0" and not controllers:
            found[UNIFIED] = path
        for controller in controllers.split(","):
            if controller:
                found[controller] = path
    return found


def membership(pid: int | str = "self") -> dict[str, str]:
    """The cgroups of a process, as ``parse_membership`` gives them."""
    with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="surrogateescape") as handle:
        return parse_membership(handle.read())


def path_in(hierarchy: Hierarchy, member: "Mapping[str, str]") -> str:
    """Which path of ``membership`` is the one in this hierarchy."""
    for key in (UNIFIED,) if hierarchy.unified else hierarchy.controllers:
        if key in member:
            return member[key]
    raise FileNotFoundError(2, "this process is in no cgroup of the hierarchy", hierarchy.mount)


def swap_limits() -> bool:
    """Whether this host can limit memory+swap: a kernel may not count swap (v1: ``swapaccount=1``)."""
    for hierarchy in discover():
        if "memory" in hierarchy.controllers:
            return os.path.exists(f"{hierarchy.mount}/memory.memsw.limit_in_bytes")
    return os.path.exists("/proc/swaps")


def _controllers(options: str) -> tuple[str, ...]:
    words = [word for word in options.split(",") if word not in _OPTIONS and word not in _SECURITY_OPTIONS]
    return tuple(word for word in words if "=" not in word or word.startswith("name="))


def _device(path: str) -> str | None:
    try:
        number = os.stat(path).st_dev
    except OSError:
        return None  # not reachable from here: covered, or below a directory that this user may not enter
    return f"{os.major(number)}:{os.minor(number)}"


def _unescape(field: str) -> str:
    """Undo ``\\040`` and the like, which mountinfo uses for space, tab, newline and backslash."""
    if "\\" not in field:
        return field
    pieces = field.split("\\")
    return pieces[0] + "".join(chr(int(piece[:3], 8)) + piece[3:] for piece in pieces[1:])
