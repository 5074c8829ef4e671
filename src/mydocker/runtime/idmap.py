"""Maps of ids: user namespaces for id-mapped mounts (mount_setattr(2), ``MOUNT_ATTR_IDMAP``), and a
comparison with those of a namespace that is there.

The kernel takes a mount's mapping from a user namespace. One is made for it, by a process that does nothing
but hold it until its maps are written and a descriptor of it is open. On the mount the owner ``containerID``
of a file is then shown as ``hostID`` (config.md, "POSIX-platform Mounts").
"""

from __future__ import annotations

import os

from mydocker.errors import InvalidArgument, StartFailed
from mydocker.linux.namespace import CLONE_NEWUSER, open_namespace
from mydocker.linux.pidfd import pidfd_send_signal, reap
from mydocker.linux.process import clone3

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mydocker.oci.runtime import IdMapping, Linux

_SIGKILL = 9


def user_namespace(uids: list[IdMapping], gids: list[IdMapping]) -> int:
    """Return a descriptor of a new user namespace with these maps, that no process is in."""
    told, ready = os.pipe()
    pid, pidfd = clone3(CLONE_NEWUSER)
    if pid == 0:
        try:
            os.close(ready)
            os.read(told, 1)  # until it is killed, or its parent is gone
        finally:
            os._exit(0)
    try:
        for name, mappings in (("uid_map", uids), ("gid_map", gids)):
            text = lines(mappings)
            try:
                with open(f"/proc/{pid}/{name}", "wb", buffering=0) as file:
                    file.write(text.encode())
            except OSError as error:
                reason = (error.strerror or "").lower()
                raise StartFailed(f"cannot map ids of a mount by {text.strip()!r}: {reason}") from error
        return open_namespace("user", pid)
    finally:
        pidfd_send_signal(pidfd, _SIGKILL)
        reap(pidfd)
        for descriptor in (pidfd, told, ready):
            os.close(descriptor)


def require(linux: Linux, pid: int) -> None:
    """Raise ``InvalidArgument`` unless the maps of ``linux``, if it has any, are those that ``pid`` has."""
    for name, mappings in (("uid_map", linux.get("uidMappings")), ("gid_map", linux.get("gidMappings"))):
        with open(f"/proc/{pid}/{name}") as file:
            found = file.read().split()
        if mappings and sorted(lines(mappings).split()) != sorted(found):
            raise InvalidArgument(
                f"linux.{name[:3]}Mappings are not those of the user namespace to be joined, which has "
                f"{' '.join(found)}"
            )


def outside(id: int, mappings: list[IdMapping]) -> int | None:
    """The host's number of ``id`` in a user namespace with these maps; without any they are the same."""
    for mapping in mappings:
        if 0 <= id - mapping["containerID"] < mapping["size"]:
            return mapping["hostID"] + id - mapping["containerID"]
    return None if mappings else id


def lines(mappings: list[IdMapping]) -> str:
    """``mappings`` as the text of uid_map and gid_map (user_namespaces(7))."""
    return "".join(f"{m['containerID']} {m['hostID']} {m['size']}\n" for m in mappings)
