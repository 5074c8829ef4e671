"""Who the container's process is: user, groups, capabilities, no_new_privs, working directory.

The order is that of capabilities(7): the bounding set is lowered while CAP_SETPCAP is there; ids change with
``PR_SET_KEEPCAPS``; then the sets are what the document says. Where a seccomp filter is to be loaded without
no_new_privs, CAP_SYS_ADMIN is kept until then and goes with the last call before execve
(``Identity.finish``), so that the filter has to let next to nothing through for our sake.
"""

from __future__ import annotations

import os

from mydocker.errors import InvalidArgument
from mydocker.linux import capability, path, prctl
from mydocker.oci.capabilities import CAPABILITIES
from mydocker.runtime.step import Context, Step
from mydocker.runtime.steps.terminal import give_streams_to
from mydocker.runtime.users import Account, group_id, home_of, look_up

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mydocker.oci.runtime import Capabilities, User

_SETS = ("bounding", "effective", "inheritable", "permitted", "ambient")


class FindUser(Step):
    """Turn the document's ``user`` into ids, inside of the container."""

    __slots__ = ("account", "user")

    def __init__(self, user: User) -> None:
        self.user = user
        self.account = Account(0, 0, [], "")

    def describe(self) -> str:
        user = self.user
        name = user.get("username") or f"{user.get('uid', 0)}:{user.get('gid', 0)}"
        return f"look up the user {name}"

    def apply(self, context: Context) -> None:
        name = self.user.get("username")
        if name:
            account = look_up(name)
        else:
            uid = self.user.get("uid", 0)
            account = Account(uid, self.user.get("gid", 0), [], home_of(uid))
        account.groups += self.user.get("additionalGids", [])
        account.groups += [group_id(group) for group in self.user.get("additionalGroupNames", [])]
        account.groups = [*dict.fromkeys(account.groups)]
        self.account = account

    def observe(self, context: Context) -> str:
        account = self.account
        groups = ",".join(map(str, account.groups)) or "none"
        return f"uid {account.uid}, gid {account.gid}, supplementary groups {groups}"


class WorkingDirectory(Step):
    """Go to the working directory, and be sure that it is inside (CVE-2024-21626).

    A container's is made if it is missing; that of an added process is not, as runc has it.
    """

    __slots__ = ("make", "path")

    def __init__(self, path: str, make: bool) -> None:
        if not path.startswith("/"):
            raise InvalidArgument(f"the working directory has to be an absolute path: {path!r}")
        self.path = path
        self.make = make

    def describe(self) -> str:
        return f"chdir to the working directory {self.path}"

    def apply(self, context: Context) -> None:
        find = path.make_directory_in_root if self.make else path.open_in_root
        directory = find(context.root, self.path)
        try:
            os.fchdir(directory)
        finally:
            os.close(directory)
        try:
            os.getcwd()  # getcwd(2) cannot name what is outside of the root
        except OSError as error:
            raise OSError(error.errno, "is outside of the container", self.path) from None

    def observe(self, context: Context) -> str:
        return os.getcwd()


class Identity(Step):
    """Become the user, with the document's capabilities and no others."""

    __slots__ = ("_last", "finder", "hold_admin", "sets", "unknown")

    def __init__(self, finder: FindUser, capabilities: Capabilities, hold_admin: bool) -> None:
        self.finder = finder
        self.hold_admin = hold_admin
        self._last = capability.last()
        self.unknown: list[str] = []
        self.sets: dict[str, int] = {}
        for kind in _SETS:
            names: list[str] = capabilities.get(kind, [])  # type: ignore[assignment]
            self.unknown += [name for name in names if name not in CAPABILITIES]
            self.sets[kind] = capability.mask([name for name in names if name in CAPABILITIES])

    def describe(self) -> str:
        count = self.sets["bounding"].bit_count()
        return f"switch to the user, with {count} capabilities at most"

    def apply(self, context: Context) -> None:
        account = self.finder.account
        available = capability.capget()[1]
        self._warn(context, available)
        sets = {kind: mask & available for kind, mask in self.sets.items()}
        # A capability can only be ambient if it is permitted and inheritable; runc 1.1 writes documents
        # without inheritable ones, and passes over those that it cannot raise.
        sets["ambient"] &= sets["permitted"] & sets["inheritable"]
        give_streams_to(account.uid, terminal=context.terminal >= 0)
        os.umask(self.finder.user.get("umask", 0o022))
        capability.limit_bounding(sets["bounding"], self._last)
        prctl.prctl(prctl.PR_SET_KEEPCAPS, 1)
        _set_groups(account.groups, account.gid)
        os.setresgid(account.gid, account.gid, account.gid)
        os.setresuid(account.uid, account.uid, account.uid)
        # Changing ids made /proc/self the user's again, and this process one that the user may trace.
        prctl.set_dumpable(False)
        extra = 1 << capability.CAP_SYS_ADMIN & available if self.hold_admin else 0
        capability.capset(sets["effective"] | extra, sets["permitted"] | extra, sets["inheritable"])
        prctl.prctl(prctl.PR_SET_KEEPCAPS, 0)
        self.sets = sets

    def finish(self) -> None:
        """The sets exactly as they are to be; the last thing, or the last but the seccomp filter."""
        sets = self.sets
        if self.hold_admin:
            capability.capset(sets["effective"], sets["permitted"], sets["inheritable"])
        if sets["ambient"]:
            capability.set_ambient(sets["ambient"])

    def observe(self, context: Context) -> str:
        bounding = capability.status()["CapBnd"]
        return f"uid {os.getuid()}, gid {os.getgid()}, bounding set {bounding:#x}: " + ", ".join(
            name[4:].lower() for name in capability.names(bounding)
        )

    def _warn(self, context: Context, available: int) -> None:
        wanted = 0
        for mask in self.sets.values():
            wanted |= mask
        missing = capability.names(wanted & ~available) + self.unknown
        if missing:
            context.warn(
                f"not granted, because the host or the runtime itself lacks them: {', '.join(missing)}"
            )


class NoNewPrivileges(Step):
    __slots__ = ()

    def describe(self) -> str:
        return "promise that execve grants no new privileges"

    def apply(self, context: Context) -> None:
        prctl.set_no_new_privs()

    def observe(self, context: Context) -> str:
        return f"NoNewPrivs {prctl.prctl(prctl.PR_GET_NO_NEW_PRIVS)}"


def _set_groups(groups: list[int], gid: int) -> None:
    try:
        os.setgroups(groups)
    except PermissionError:
        # user_namespaces(7): denied for good where an unprivileged user made the namespace.
        with open("/proc/self/setgroups") as file:
            if {*groups} - {gid} or file.read().strip() != "deny":
                raise
