"""What a test leaves behind, read from the kernel and the file system.

    before = Snapshot.take(root, state)
    ...
    wait_for_nothing_left(before, root, state)

A leak is a mount, link, control group, process, file, address of a network, network or element of our packet
filter that was not there before. Allowed are the forkserver (a cache that may stay or go) with what waits for
the next command, as long as somebody lives who takes it away, and what stays on
purpose: images, layers, volumes, compiled seccomp filters, and the network ``bridge`` of these directories.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass

from support import probe

# Directories below --root whose contents a command is meant to leave, and files below --state.
KEPT_IN_ROOT = ("image", "layer", "network", "volume", "seccomp")
KEPT_DIRECTORIES = ("container/by-name",)
# The parents, and where podman keeps the processes that watch its containers
KEPT_CGROUPS = ("mydocker", "mydocker-runtime", "mydocker-peers", "conmon")
PATIENCE = 20.0


@dataclass(frozen=True)
class Snapshot:
    mounts: frozenset[str]
    links: frozenset[str]
    cgroups: frozenset[str]
    processes: frozenset[str]
    files: frozenset[str]
    networks: frozenset[str]
    filters: frozenset[str]

    @classmethod
    def take(cls, *directories: str) -> Snapshot:
        return cls(
            _mounts(),
            _links(directories),
            _cgroups(),
            _processes(),
            _files(directories),
            _networks(directories),
            _filters(directories),
        )

    def beyond(self, before: Snapshot) -> list[str]:
        """Everything here that was not there before, one line each."""
        return [
            f"{kind}: {thing}"
            for kind in ("mounts", "links", "cgroups", "processes", "files", "networks", "filters")
            for thing in sorted(getattr(self, kind) - getattr(before, kind))
        ]


def left(before: Snapshot, *directories: str) -> list[str]:
    return Snapshot.take(*directories).beyond(before)


def wait_for_nothing_left(before: Snapshot, *directories: str, patience: float = PATIENCE) -> None:
    """Raise AssertionError with the list of leaks, if any are still there after ``patience`` seconds.

    A command may return a moment before the process that served it has left the process table.
    """
    end = time.monotonic() + patience
    while found := left(before, *directories):
        if time.monotonic() > end:
            raise AssertionError("left behind:\n  " + "\n  ".join(found))
        time.sleep(0.02)


def wait_for_no_cgroup_left(before: Snapshot, patience: float = PATIENCE) -> None:
    """The same for control groups alone, of whatever name: a peer's own are not called after us."""
    end = time.monotonic() + patience
    while found := sorted(_cgroups() - before.cgroups):
        if time.monotonic() > end:
            raise AssertionError("left behind:\n  " + "\n  ".join(found))
        time.sleep(0.02)


def unmount_below(directory: str) -> None:
    """Podman leaves its storage mounted, and what is mounted cannot be removed."""
    with open("/proc/self/mountinfo") as lines:
        places = [line.split(" ")[4] for line in lines]
    for place in reversed(places):
        if place.startswith(directory + "/"):
            subprocess.run(["umount", "--lazy", place], check=True)


def _mounts() -> frozenset[str]:
    with open("/proc/self/mountinfo") as lines:
        return frozenset(" ".join(line.split(" ")[3:5]) for line in lines)


def _bridges(directories: tuple[str, ...]) -> set[str]:
    """The links of the network ``bridge`` of those of the directories that are state directories."""
    return {"md-" + hashlib.sha256(path.encode()).hexdigest()[:8] for path in directories}


def _links(directories: tuple[str, ...]) -> frozenset[str]:
    return frozenset(name for _, name in socket.if_nameindex()) - _bridges(directories)


def _networks(directories: tuple[str, ...]) -> frozenset[str]:
    """Documents of networks, and addresses that containers have in them."""
    found = []
    for top in directories:
        found += [path for path in glob.glob(f"{top}/network/*.json") if not path.endswith("/bridge.json")]
        found += glob.glob(f"{top}/network/*/*")
    return frozenset(found)


def _filters(directories: tuple[str, ...]) -> frozenset[str]:
    """Every element of a set or map of ours, those about the kept bridges excepted."""
    if probe.missing_programs("nft"):
        return frozenset()
    kept = _bridges(directories)
    listed = subprocess.run(["nft", "-j", "list", "ruleset"], capture_output=True, check=True).stdout
    found = []
    for entry in json.loads(listed)["nftables"]:
        for kind in ("set", "map"):
            each = entry.get(kind, {})
            if not each.get("table", "").startswith("mydocker") or each["name"].startswith("masquerade"):
                continue
            for element in each.get("elem", ()):
                text = json.dumps(element)
                if not any(f'"{bridge}"' in text for bridge in kept):
                    found.append(f"{each['table']} {each['name']} {text}")
    return frozenset(found)


def filtered() -> set[str]:
    """The bridges that our tables know."""
    listed = json.loads(subprocess.run(["nft", "-j", "list", "sets"], capture_output=True, check=True).stdout)
    sets = [entry["set"] for entry in listed["nftables"] if "set" in entry]
    return {bridge for each in sets if each["name"] == "bridges" for bridge in each.get("elem", ())}


def unfiltered() -> set[str]:
    """Bridges of ours that are up and that our tables do not know."""
    if probe.missing_programs("nft", "ip"):
        return set()
    argv = ["ip", "-j", "link", "show", "up", "type", "bridge"]
    listed = json.loads(subprocess.run(argv, capture_output=True, check=True).stdout or b"[]")
    return {each["ifname"] for each in listed if each.get("ifname", "").startswith("md-")} - filtered()


def _cgroups() -> frozenset[str]:
    """Every control group of the session, apart from the empty parents that are kept, and from those in which
    an init waits for its container, or has done so until now."""
    before = waiting()
    places = set(probe.cgroup_hierarchies().values())
    found = [directory for place in places for directory, _, _ in os.walk(place)]
    kept = {*KEPT_CGROUPS, *before, *waiting()}
    return frozenset(directory for directory in found if os.path.basename(directory) not in kept)


def waiting() -> set[str]:
    """The identifiers for which a living process has noted that it keeps an init ready."""
    notes = [place for pid in pids() for place in descriptors(pid) if "/waiting/" in place]
    return {os.path.basename(place) for place in notes if not place.endswith(" (deleted)")}


def remove_cgroups(path: str) -> None:
    """Remove a control group and its children, in every hierarchy that has it, once they are empty."""
    end = time.monotonic() + PATIENCE
    for place in set(probe.cgroup_hierarchies().values()):
        for directory, _, _ in os.walk(os.path.join(place, path.strip("/")), topdown=False):
            while True:
                try:
                    os.rmdir(directory)
                    break
                except OSError as error:
                    if error.errno != errno.EBUSY or time.monotonic() > end:
                        raise
                    time.sleep(0.02)


def _processes() -> frozenset[str]:
    """Everything but the forkserver, and what it keeps waiting."""
    found = set()
    servers = forkservers() | _starting_forkservers()
    for pid in pids():
        if pid in servers:
            continue
        try:
            with open(f"/proc/{pid}/stat") as handle:
                name, _, rest = handle.read().partition("(")[2].rpartition(")")
            with open(f"/proc/{pid}/cmdline", "rb") as handle:
                command = handle.read().replace(b"\0", b" ").decode(errors="replace").strip()
        except (FileNotFoundError, ProcessLookupError):
            continue
        fields = rest.split()
        state, parent, started = fields[0], fields[1], fields[19]
        if name in ("mydocker-spare", "mydocker-zygote") and parent != "1":
            continue
        if state in "ZX" and parent == "1":  # about to be reaped
            continue
        found.add(f"{pid} (parent {parent}, started {started}) {command[:200]}")
    return frozenset(found)


def forkservers() -> set[int]:
    """Processes that hold a listening socket whose name says forkserver."""
    inodes = set()
    with open("/proc/net/unix") as lines:
        for line in lines:
            fields = line.split()
            # Num RefCount Protocol Flags Type St Inode Path; flag 0x10000 is __SO_ACCEPTCON, it listens
            if len(fields) == 8 and "forkserver" in fields[7] and int(fields[3], 16) & 0x10000:
                inodes.add(f"socket:[{fields[6]}]")
    return {pid for pid in pids() if inodes & descriptors(pid)} if inodes else set()


def serving(directory: str) -> set[int]:
    """A server whose socket is in ``directory``, and its forks: they keep its command line."""
    found = set()
    for pid in pids():
        with suppress(FileNotFoundError, ProcessLookupError), open(f"/proc/{pid}/cmdline") as file:
            if f"\0{directory}/forkserver-" in file.read():
                found.add(pid)
    return found


def _starting_forkservers() -> set[int]:
    """Processes with the lock under which a forkserver starts, slow on an emulated machine."""
    return {pid for pid in pids() if any(held.endswith("/forkserver.lock") for held in descriptors(pid))}


def wait_for_forkserver(patience: float = PATIENCE) -> None:
    end = time.monotonic() + patience
    while not forkservers():
        if time.monotonic() > end:
            raise AssertionError("no process listens on a forkserver's socket")
        time.sleep(0.02)


def pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def descriptors(pid: int) -> set[str]:
    found = set()
    gone = suppress(FileNotFoundError, ProcessLookupError, PermissionError)  # the last of one that is ending
    with gone:
        for name in os.listdir(f"/proc/{pid}/fd"):
            with gone:  # closed meanwhile: there may be others
                found.add(os.readlink(f"/proc/{pid}/fd/{name}"))
    return found


def _files(directories: tuple[str, ...]) -> frozenset[str]:
    found = []
    for top in directories:
        for directory, names, files in os.walk(top):
            if directory == top:
                names[:] = [name for name in names if name not in KEPT_IN_ROOT]
            for name in [*names, *files]:
                path = os.path.join(directory, name)
                if os.path.dirname(path) != top and os.path.relpath(path, top) not in KEPT_DIRECTORIES:
                    found.append(path)
    return frozenset(found)
