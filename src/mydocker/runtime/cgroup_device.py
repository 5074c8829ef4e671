"""Device rules: from the ordered list of an OCI document to what each cgroup version understands.

A rule allows or denies some of read, write and mknod (``rwm``) on the devices of a kind, major and minor
number, any of which may be "all". The list is worked through in order, a later rule overrules an earlier one;
before the first rule nothing is allowed. To the end of a list that does not allow everything come the devices
that the specification promises to each container (config-linux.md, "Default Devices"), as runc does it.

    v2  a BPF program that holds the list as it is (linux/bpf_device.py)
    v1  devices.deny and devices.allow, which know one default and exceptions from it. So the list is worked
        through here first, and what cannot be said that way ("all of major 1, but not 1:3") is refused, where
        the kernel would have ignored it in silence: Documentation/admin-guide/cgroup-v1/devices.rst
"""

from ..errors import InvalidArgument, NotSupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..linux.bpf_device import DeviceRule
    from ..linux.cgroup.directory import Directory
    from ..oci import runtime as oci

_ALL = "rwm"

# Every container may make any node (it can do nothing with those that it may not open), and use these:
# null, zero, full, random, urandom, tty, console, ptmx, the terminals of devpts.
DEFAULT_ALLOWED: "tuple[DeviceRule, ...]" = (
    (True, "c", None, None, "m"),
    (True, "b", None, None, "m"),
    (True, "c", 1, 3, _ALL),
    (True, "c", 1, 5, _ALL),
    (True, "c", 1, 7, _ALL),
    (True, "c", 1, 8, _ALL),
    (True, "c", 1, 9, _ALL),
    (True, "c", 5, 0, _ALL),
    (True, "c", 5, 1, _ALL),
    (True, "c", 5, 2, _ALL),
    (True, "c", 136, None, _ALL),
)


class Policy:
    """A rule list, cut down to what can still matter: a default, and the rules after it was last set."""

    __slots__ = ("default", "rules")

    def __init__(self, default: bool, rules: "tuple[DeviceRule, ...]"):
        self.default = default
        self.rules = rules

    @classmethod
    def of(cls, devices: "Sequence[oci.DeviceRule]") -> "Policy":
        """Read ``linux.resources.devices`` and add the default devices."""
        default = False
        rules: list[DeviceRule] = []
        for number, entry in enumerate(devices):
            kinds, rule = _parse(entry, f"linux.resources.devices[{number}]")
            allow, _, major, minor, access = rule
            if len(kinds) > 1 and major is None and minor is None and len(access) == len(_ALL):
                default, rules = allow, []
            else:
                rules += [(allow, kind, major, minor, access) for kind in kinds]
        if default:
            return cls(True, tuple(rules))
        return cls(False, tuple(rule for rule in rules if rule not in DEFAULT_ALLOWED) + DEFAULT_ALLOWED)

    def exceptions(self) -> "dict[tuple[str, int | None, int | None], str]":
        """The list as v1 sees it: ``{(kind, major, minor): access}`` for which the default does not hold."""
        found: dict[tuple[str, int | None, int | None], str] = {}
        for allow, kind, major, minor, access in self.rules:
            key = (kind, major, minor)
            if allow != self.default:
                found[key] = "".join(letter for letter in _ALL if letter in found.get(key, "") + access)
                continue
            for other in list(found):
                hit = set(found[other]) & set(access)
                if not hit or not _overlap(key, other):
                    continue
                if not _covers(key, other):
                    raise NotSupported(
                        f"device rule {_text(key, access)}: cgroup v1 cannot take it out of the rule "
                        f"{_text(other, found[other])} (list single devices, or use a host with cgroup v2)"
                    )
                rest = "".join(letter for letter in found[other] if letter not in access)
                if rest:
                    found[other] = rest
                else:
                    del found[other]
        return found


def apply_v1(directory: "Directory", policy: Policy, *, fresh: bool) -> None:
    """Write the list. A fresh cgroup has its parent's, which is taken for "everything" and costs no write
    then."""
    exceptions = [_text(key, access) for key, access in policy.exceptions().items()]
    if policy.default:
        if not fresh:
            directory.write("devices.allow", "a")
        if exceptions:
            directory.write("devices.deny", *exceptions)
        return
    if fresh:
        directory.write("devices.deny", "a")
        directory.write("devices.allow", *exceptions)
        return
    # On a running container no moment may be without the devices of before and after, so only the
    # differences are written: first what is new, then what goes.
    before = directory.read("devices.list").splitlines()
    if any(line.startswith("a ") for line in before):
        directory.write("devices.deny", "a")
        before = []
    directory.write("devices.allow", *(text for text in exceptions if text not in before))
    wanted = dict(text.rsplit(" ", 1) for text in exceptions)
    for line in before:
        place, access = line.rsplit(" ", 1)
        gone = "".join(letter for letter in access if letter not in wanted.get(place, ""))
        if gone:
            directory.write("devices.deny", f"{place} {gone}")


def apply_v2(cgroup: int, policy: Policy, *, fresh: bool) -> None:
    """Attach the program to the cgroup v2 directory behind the descriptor, in place of an older one."""
    from ..linux import bpf, bpf_device  # not on a host with v1

    program = None
    if policy.rules or not policy.default:
        program = bpf_device.program(policy.default, policy.rules)
    if program is not None or not fresh:
        bpf.put(cgroup, program)


def _parse(entry: "oci.DeviceRule", place: str) -> "tuple[str, DeviceRule]":
    """The kinds that a rule is for, and the rule (its own kind is to be filled in)."""
    kind = entry.get("type") or "a"
    access = entry.get("access") or _ALL
    if kind not in ("a", "b", "c", "u"):
        raise InvalidArgument(f"{place}.type {kind!r} is none of a, b, c, u")
    if not set(access) <= set(_ALL):
        raise InvalidArgument(f"{place}.access {access!r} has other letters than r, w, m")
    numbers = []
    for name, number in (("major", entry.get("major")), ("minor", entry.get("minor"))):
        if number is not None and not -1 <= number <= 0x7FFFFFFF:
            raise InvalidArgument(f"{place}.{name} {number} is not a device number (-1 stands for all)")
        numbers.append(None if number == -1 else number)
    kinds = {"a": "bc", "u": "c"}.get(kind, kind)
    return kinds, (
        bool(entry.get("allow")),
        kinds[0],
        numbers[0],
        numbers[1],
        "".join(a for a in _ALL if a in access),
    )


def _overlap(one: "tuple[str, int | None, int | None]", other: "tuple[str, int | None, int | None]") -> bool:
    return one[0] == other[0] and all(
        a is None or b is None or a == b for a, b in zip(one[1:], other[1:], strict=True)
    )


def _covers(one: "tuple[str, int | None, int | None]", other: "tuple[str, int | None, int | None]") -> bool:
    return one[0] == other[0] and all(a is None or a == b for a, b in zip(one[1:], other[1:], strict=True))


def _text(key: "tuple[str, int | None, int | None]", access: str) -> str:
    kind, major, minor = key
    return f"{kind} {'*' if major is None else major}:{'*' if minor is None else minor} {access}"
