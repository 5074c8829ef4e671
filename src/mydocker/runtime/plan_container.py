"""From a runtime document to the ordered list of steps that make it real.

The order is what matters here; it is the whole of what a container is, from top to bottom:

    before      join namespaces whose owner is outside, enter the user namespace, be root by its maps
    kernel      cgroup namespace, time namespace, session, keyring, loopback, names
    files       mounts made private, root attached, mounts, devices, terminal, covers
    hooks       createRuntime (by the runtime), createContainer
    inside      network, sysctl, masked and read-only paths, pivot_root, streams, limits, working directory,
                read-only root
    identity    user, bounding set, ids, capabilities

Fields that are not built are refused here, by name: a container must not run with less than it was promised.
"""

from __future__ import annotations

import os

from mydocker.errors import InvalidArgument, NotFound, NotSupported
from mydocker.linux import namespace
from mydocker.runtime import rootfs as roots
from mydocker.runtime.plan import Plan, add_process
from mydocker.runtime.step import Step
from mydocker.runtime.steps import devices, limits, mounts, namespaces, paths, terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mydocker.oci.runtime import Namespace, Spec
    from mydocker.runtime.task import Stdio

_BY_CLONE = ("user", "mount", "pid", "network", "ipc", "uts")


class Namespaces:
    """The document's namespaces, sorted by who makes them. Owns descriptors of those given by path."""

    __slots__ = ("joined", "new", "owned")

    def __init__(self, entries: list[Namespace]) -> None:
        self.new: list[str] = []
        self.joined: dict[str, tuple[str, int]] = {}
        self.owned: list[int] = []
        seen: set[str] = set()
        for entry in entries:
            kind, path = entry.get("type", ""), entry.get("path", "")
            if kind not in namespace.KINDS:
                raise InvalidArgument(f"no such kind of namespace: {kind!r}")
            if kind in seen:
                raise InvalidArgument(f"the {kind} namespace is given twice")
            seen.add(kind)
            namespaces.require(kind)
            if path:
                self.joined[kind] = (path, -1)
            else:
                self.new.append(kind)

    def open(self) -> None:
        """Open the namespaces to be joined, and see that each is what the document says."""
        for kind, (path, _) in self.joined.items():
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                raise NotFound(f"no such {kind} namespace: {path}") from None
            self.owned.append(descriptor)
            try:
                actual = namespace.kind_of(descriptor)
            except OSError:
                raise InvalidArgument(f"{path} is not a namespace") from None
            if actual != namespace.KINDS[kind][0]:
                raise InvalidArgument(f"{path} is not a {kind} namespace")
            self.joined[kind] = (path, descriptor)

    def hold_host(self, kind: str) -> tuple[str, int]:
        """The host's, for a process that would have to join it: its path, and a descriptor."""
        self.owned.append(namespace.open_namespace(kind))
        return f"/proc/self/ns/{namespace.KINDS[kind][1]}", self.owned[-1]

    def close(self) -> None:
        while self.owned:
            os.close(self.owned.pop())

    def own(self) -> set[str]:
        """The kinds in which the container is not with the host."""
        return {*self.new, *self.joined}

    def clone_flags(self) -> int:
        flags = 0
        for kind in self.new:
            if kind in _BY_CLONE:
                flags |= namespace.KINDS[kind][0]
        return flags


def default_cgroup(id: str) -> str:
    """The cgroup of a container whose document names none."""
    return f"/mydocker/{id}"


def make(
    spec: Spec,
    own: Namespaces,
    root: roots.RootfsStep,
    *,
    id: str,
    bundle: str,
    stdio: Stdio | None,
    rows_columns: tuple[int, int] | None,
    cgroups: dict[str, str],
    move_root: bool = False,
    keep_keyring: bool = False,
) -> Plan:
    """Return the plan for ``spec``; ``InvalidArgument`` or ``NotSupported`` for what cannot be."""
    linux = spec.get("linux", {})
    process = spec["process"]
    _refuse_unbuilt(spec)
    if "mount" not in own.own():
        raise NotSupported(
            "a container without a mount namespace of its own is not supported (add one to linux.namespaces)"
        )
    if devices_given := linux.get("netDevices"):
        from mydocker.runtime import netdevices

        netdevices.check(devices_given, own.own())
    userns = "user" in own.own()
    plan = Plan()
    _kernel(plan.kernel, spec, own, id, keep_keyring)
    propagation = linux.get("rootfsPropagation", "")
    if propagation and propagation not in roots.PROPAGATION:
        raise InvalidArgument(f"linux.rootfsPropagation: no such mount propagation: {propagation!r}")
    root.propagation = propagation
    plan.files += [roots.Detach(), root]
    entries = spec.get("mounts", [])
    plan.files += [mounts.step_for(m, bundle, cgroups=cgroups, linux=linux, own=own.own()) for m in entries]
    host_dev = any(
        isinstance(s, mounts.Bind) and os.path.normpath(s.destination) == "/dev" for s in plan.files
    )
    nodes = devices.nodes(linux.get("devices", []), defaults=not host_dev)
    if given := [node for node in nodes if host_dev and node.path.startswith("/dev/")]:
        plan.files.append(devices.HostDevices(given))
    if made := [node for node in nodes if node not in given]:
        mappings = linux.get("uidMappings", []), linux.get("gidMappings", [])
        plan.files.append(devices.DeviceNodes(made, userns, mappings if "user" in own.new else None))
    if not host_dev:
        plan.files.append(devices.DeviceLinks())
    if process.get("terminal"):
        size = process.get("consoleSize")
        if size is not None and rows_columns is None:
            rows_columns = size["height"], size["width"]
        plan.files.append(terminal.Terminal(rows_columns, console=not host_dev))
    plan.files += [
        mounts.Seal(step) for step in plan.files if isinstance(step, mounts.Filesystem) and step.sealed
    ]
    if spec.get("hooks"):
        from mydocker.runtime.steps import hooks

        plan.hooks += hooks.steps(spec, id, bundle)
    if values := linux.get("sysctl"):
        if (name := spec.get("domainname")) and values.get("kernel.domainname", name) != name:
            raise InvalidArgument("sysctl kernel.domainname is in conflict with the field domainname")
        plan.inside.append(limits.KernelParameters(values, own.own()))
    if masked := linux.get("maskedPaths"):
        plan.inside.append(paths.MaskPaths(masked))
    if readonly := linux.get("readonlyPaths"):
        plan.inside.append(paths.ReadonlyPaths(readonly))
    plan.inside.append(roots.MoveRoot() if move_root else roots.PivotRoot())
    if propagation in ("shared", "rshared"):
        plan.inside.append(roots.RootPropagation(propagation))
    plan.inside.append(terminal.StandardStreams(stdio))
    limits.affinity(process)
    add_process(plan, process, linux, make_directory=True)
    # Last, since the working directory may have to be made.
    if spec.get("root", {}).get("readonly") or getattr(root, "readonly", False):
        plan.inside.append(roots.ReadonlyRoot())
    return plan


def _kernel(steps: list[Step], spec: Spec, own: Namespaces, id: str, keep_keyring: bool) -> None:
    linux = spec.get("linux", {})
    steps.append(namespaces.NewNamespaces([kind for kind in own.new if kind in _BY_CLONE]))
    steps.append(namespaces.JoinedCgroups(linux.get("cgroupsPath") or default_cgroup(id)))
    if "cgroup" in own.new:
        steps.append(namespaces.NewCgroupNamespace())
    offsets = linux.get("timeOffsets", {})
    if "time" in own.new:
        steps.append(namespaces.NewTimeNamespace(offsets))
    elif offsets:
        raise InvalidArgument("timeOffsets need a new time namespace in linux.namespaces")
    if not keep_keyring:
        steps.append(namespaces.SessionKeyring(id))
    steps.append(namespaces.Session())
    if "network" in own.new:
        steps.append(namespaces.Loopback())
    for key, step in (("hostname", namespaces.Hostname), ("domainname", namespaces.Domainname)):
        if name := spec.get(key):
            if "uts" not in own.own():
                raise InvalidArgument(
                    f"a {key} needs a uts namespace in linux.namespaces: it would change the host's"
                )
            steps.append(step(str(name)))


def _refuse_unbuilt(spec: Spec) -> None:
    linux = spec.get("linux", {})
    if "intelRdt" in linux:
        raise NotSupported(
            "linux.intelRdt is not supported: shares of caches and of memory bandwidth (resctrl) are not "
            "built; leave the section out, or use a runtime that has them"
        )
    if linux.get("mountLabel"):
        raise NotSupported("linux.mountLabel needs SELinux, which is not supported")
    if spec["process"].get("commandLine"):
        raise NotSupported("process.commandLine is for Windows; use process.args")
