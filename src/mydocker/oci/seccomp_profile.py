"""Docker's seccomp profiles (``--security-opt seccomp=FILE``), turned into an OCI ``linux.seccomp`` section.

A profile is the section with conditions on its entries: ``includes`` and ``excludes`` by capability
(``caps``), architecture (``arches``, Go's names) and kernel (``minKernel``, ``"4.8"``), and with ``archMap``
in place of ``architectures``, of which the entry for this host is taken. An entry may have one ``name``, as
old profiles do, or ``names``. https://docs.docker.com/engine/security/seccomp/ and moby/profiles,
seccomp/seccomp_linux.go, whose rules are followed: all capabilities of ``includes`` are wanted, one of
``excludes`` is enough. Out of scope: reading JSON.
"""

from __future__ import annotations

from mydocker.errors import InvalidArgument
from mydocker.oci.seccomp import ARCHITECTURES as KNOWN_ARCHITECTURES
from mydocker.oci.seccomp import a_list, an_object, check, check_syscall, one_of
from mydocker.oci.seccomp_default import ARCHITECTURES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any

_WHERE = "seccomp profile"


def seccomp_from_profile(
    document: object, capabilities: Collection[str], kernel_version: tuple[int, int], arch: str
) -> dict[str, Any] | None:
    """The section that ``document`` means for a container with these ``capabilities`` (its bounding set).

    ``None`` for a profile that says nothing, ``{}`` for example: Docker runs such a container without a
    filter. Arguments as for ``default_seccomp``. Raises ``InvalidArgument`` naming the field of the profile.
    """
    profile = an_object(_WHERE, document)
    entries = a_list(f"{_WHERE}: syscalls", profile.get("syscalls"))
    if not profile.get("defaultAction") and not entries:
        return None
    host, _ = ARCHITECTURES.get(arch, (arch, ()))
    section: dict[str, Any] = {}
    for key in (
        "defaultAction",
        "defaultErrnoRet",
        "architectures",
        "flags",
        "listenerPath",
        "listenerMetadata",
    ):
        if profile.get(key) is not None:
            section[key] = profile[key]
    chosen = _from_arch_map(profile, arch)
    if chosen:
        section["architectures"] = chosen
    section["syscalls"] = []
    for index, value in enumerate(entries):
        here = f"{_WHERE}: syscalls[{index}]"
        entry = an_object(here, value)
        rule = {
            key: entry[key] for key in ("names", "action", "errnoRet", "args") if entry.get(key) is not None
        }
        if entry.get("name"):
            if rule.get("names"):
                raise InvalidArgument(f"{here}: has both name and names (keep names)")
            rule["names"] = [entry["name"]]
        check_syscall(here, rule)
        if _applies(here, entry, capabilities, kernel_version, host):
            section["syscalls"].append(rule)
    check(section, f"{_WHERE}: after its conditions")
    return section


def _from_arch_map(profile: dict[str, Any], arch: str) -> list[str]:
    field = f"{_WHERE}: archMap"
    rows = a_list(field, profile.get("archMap"))
    if rows and profile.get("architectures"):
        raise InvalidArgument(f"{_WHERE}: has both architectures and archMap (keep one of them)")
    native = ARCHITECTURES.get(arch, ("", ("",)))[1][0]
    chosen: list[str] = []
    for index, value in enumerate(rows):
        row = an_object(f"{field}[{index}]", value)
        one_of(f"{field}[{index}].architecture", row.get("architecture"), KNOWN_ARCHITECTURES)
        below = a_list(f"{field}[{index}].subArchitectures", row.get("subArchitectures"))
        for name in below:
            one_of(f"{field}[{index}].subArchitectures", name, KNOWN_ARCHITECTURES)
        if row["architecture"] == native and not chosen:
            chosen = [native, *below]
    return chosen


def _applies(
    here: str, entry: dict[str, Any], capabilities: Collection[str], kernel: tuple[int, int], host: str
) -> bool:
    excludes, includes = f"{here}.excludes", f"{here}.includes"
    caps, arches, minimum = _condition(excludes, entry.get("excludes"))
    if host in arches or any(name in capabilities for name in caps) or (minimum and kernel >= minimum):
        return False
    caps, arches, minimum = _condition(includes, entry.get("includes"))
    return (
        (not arches or host in arches)
        and all(name in capabilities for name in caps)
        and (not minimum or kernel >= minimum)
    )


def _condition(field: str, value: object) -> tuple[list[str], list[str], tuple[int, int] | None]:
    if value is None:
        return [], [], None
    condition = an_object(field, value)
    caps = a_list(f"{field}.caps", condition.get("caps"))
    arches = a_list(f"{field}.arches", condition.get("arches"))
    for key, names in (("caps", caps), ("arches", arches)):
        if not all(isinstance(name, str) for name in names):
            raise InvalidArgument(f"{field}.{key}: a list of names is wanted, not {names!r}")
    return caps, arches, _kernel(f"{field}.minKernel", condition.get("minKernel"))


def _kernel(field: str, value: object) -> tuple[int, int] | None:
    if value is None or value == "":
        return None
    parts = value.split(".") if isinstance(value, str) else []
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() for part in parts) or value == "0.0":
        raise InvalidArgument(f'{field}: a kernel version like "4.8" is wanted, not {value!r}')
    return int(parts[0]), int(parts[1])
