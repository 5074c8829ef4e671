"""The vocabulary of the ``linux.seccomp`` section, and the check that a section keeps to it.

OCI runtime specification, config-linux.md, "Seccomp". Docker's profiles have the same entries with conditions
around them (``oci/seccomp_profile.py``), so both are checked here. Out of scope: the numbers behind the
names, and whether this kernel or libseccomp has them (``runtime/seccomp.py``).
"""

from __future__ import annotations

from mydocker.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from typing import Any

ACTIONS = (
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_TRAP",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
)
ACTIONS_WITH_ERRNO = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
OPERATORS = (
    "SCMP_CMP_NE",
    "SCMP_CMP_LT",
    "SCMP_CMP_LE",
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_MASKED_EQ",
)
"""in the order of libseccomp's ``enum scmp_compare``, which begins with 1"""

FLAGS = (
    "SECCOMP_FILTER_FLAG_TSYNC",
    "SECCOMP_FILTER_FLAG_LOG",
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
)
_MACHINES = """
    X86 X86_64 X32 ARM AARCH64 LOONGARCH64 M68K MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64 MIPSEL64N32 PARISC
    PARISC64 PPC PPC64 PPC64LE RISCV64 S390 S390X SH SHEB"""
ARCHITECTURES = tuple(f"SCMP_ARCH_{name}" for name in _MACHINES.split())
ARGUMENTS = 6
"""how many arguments a system call has at most"""


def check(section: Mapping[str, Any], where: str = "linux.seccomp") -> None:
    """Raise ``InvalidArgument``, naming the field below ``where``, if ``section`` cannot be meant."""
    action = section.get("defaultAction")
    one_of(f"{where}.defaultAction", action, ACTIONS)
    if action == "SCMP_ACT_NOTIFY":
        raise InvalidArgument(f"{where}.defaultAction: SCMP_ACT_NOTIFY cannot be the default action")
    check_errno(f"{where}.defaultErrnoRet", section.get("defaultErrnoRet"), action)
    for index, name in enumerate(a_list(f"{where}.architectures", section.get("architectures"))):
        one_of(f"{where}.architectures[{index}]", name, ARCHITECTURES)
    for index, name in enumerate(a_list(f"{where}.flags", section.get("flags"))):
        one_of(f"{where}.flags[{index}]", name, FLAGS)
    for index, call in enumerate(a_list(f"{where}.syscalls", section.get("syscalls"))):
        check_syscall(f"{where}.syscalls[{index}]", call)
    check_listener(section, where)


def check_syscall(here: str, call: object) -> None:
    """One entry of ``syscalls``; ``here`` is its name in messages."""
    entry = an_object(here, call)
    names = a_list(f"{here}.names", entry.get("names"))
    if not names:
        raise InvalidArgument(f"{here}.names: at least one system call is wanted")
    for name in names:
        if not isinstance(name, str) or not name or "\0" in name:
            raise InvalidArgument(f"{here}.names: the name of a system call is wanted, not {name!r}")
    action = entry.get("action")
    one_of(f"{here}.action", action, ACTIONS)
    if action == "SCMP_ACT_NOTIFY" and "write" in names:
        # With write(2) the process that has just loaded the filter tells its parent so.
        raise InvalidArgument(f"{here}.action: SCMP_ACT_NOTIFY cannot be used for write")
    check_errno(f"{here}.errnoRet", entry.get("errnoRet"), action)
    for position, arg in enumerate(a_list(f"{here}.args", entry.get("args"))):
        at = f"{here}.args[{position}]"
        condition = an_object(at, arg)
        a_number(f"{at}.index", condition.get("index"), ARGUMENTS)
        a_number(f"{at}.value", condition.get("value"), 1 << 64)
        a_number(f"{at}.valueTwo", condition.get("valueTwo", 0), 1 << 64)
        one_of(f"{at}.op", condition.get("op"), OPERATORS)


def check_listener(section: Mapping[str, Any], where: str) -> None:
    for field in ("listenerPath", "listenerMetadata"):
        value = section.get(field)
        if value is not None and not isinstance(value, str):
            raise InvalidArgument(f"{where}.{field}: a text is wanted, not {value!r}")
    if section.get("listenerMetadata") and not section.get("listenerPath"):
        raise InvalidArgument(f"{where}.listenerMetadata: is of no use without listenerPath")
    if notifies(section):
        if not section.get("listenerPath"):
            raise InvalidArgument(f"{where}.listenerPath: missing, but a rule has SCMP_ACT_NOTIFY")
    elif "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" in (section.get("flags") or ()):
        raise InvalidArgument(
            f"{where}.flags: SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV wants a rule with SCMP_ACT_NOTIFY"
        )


def notifies(section: Mapping[str, Any]) -> bool:
    return any(call.get("action") == "SCMP_ACT_NOTIFY" for call in section.get("syscalls") or ())


def check_errno(field: str, number: object, action: object) -> None:
    if number is None:
        return
    a_number(field, number, 1 << 16)
    if action not in ACTIONS_WITH_ERRNO:
        raise InvalidArgument(f"{field}: {action} returns no errno")


def one_of(field: str, value: object, known: Collection[str]) -> None:
    if value not in known:
        raise InvalidArgument(f"{field}: unknown value {value!r} (one of {', '.join(known)})")


def a_list(field: str, value: object) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidArgument(f"{field}: a list is wanted, not {value!r}")
    return value


def an_object(field: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidArgument(f"{field}: an object is wanted, not {value!r}")
    return value


def a_number(field: str, value: object, limit: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < limit:
        raise InvalidArgument(f"{field}: a number from 0 to {limit - 1} is wanted, not {value!r}")
