"""Mount options as the runtime specification spells them, sorted by the call that each becomes.

Attributes of the one mount (``ro``, ``nosuid``, …) go to mount_setattr(2), their recursive forms (``rro``)
too, with AT_RECURSIVE; propagation is a call of its own; the rest belongs to the file system and goes to
fsconfig(2), which a bind mount has not got: there it is refused.
"""

from __future__ import annotations

from mydocker.errors import InvalidArgument, NotSupported
from mydocker.linux import mount
from mydocker.runtime.rootfs import PROPAGATION

# name: (attributes to set, attributes to clear)
_ATTRIBUTES: dict[str, tuple[int, int]] = {
    "ro": (mount.MOUNT_ATTR_RDONLY, 0),
    "rw": (0, mount.MOUNT_ATTR_RDONLY),
    "nosuid": (mount.MOUNT_ATTR_NOSUID, 0),
    "suid": (0, mount.MOUNT_ATTR_NOSUID),
    "nodev": (mount.MOUNT_ATTR_NODEV, 0),
    "dev": (0, mount.MOUNT_ATTR_NODEV),
    "noexec": (mount.MOUNT_ATTR_NOEXEC, 0),
    "exec": (0, mount.MOUNT_ATTR_NOEXEC),
    "nodiratime": (mount.MOUNT_ATTR_NODIRATIME, 0),
    "diratime": (0, mount.MOUNT_ATTR_NODIRATIME),
    "nosymfollow": (mount.MOUNT_ATTR_NOSYMFOLLOW, 0),
    "symfollow": (0, mount.MOUNT_ATTR_NOSYMFOLLOW),
    # The three ways to keep access times are one field, which is cleared as a whole before one is set.
    "relatime": (mount.MOUNT_ATTR_RELATIME, mount.MOUNT_ATTR__ATIME),
    "norelatime": (mount.MOUNT_ATTR_STRICTATIME, mount.MOUNT_ATTR__ATIME),
    "noatime": (mount.MOUNT_ATTR_NOATIME, mount.MOUNT_ATTR__ATIME),
    "atime": (mount.MOUNT_ATTR_RELATIME, mount.MOUNT_ATTR__ATIME),
    "strictatime": (mount.MOUNT_ATTR_STRICTATIME, mount.MOUNT_ATTR__ATIME),
    "nostrictatime": (mount.MOUNT_ATTR_RELATIME, mount.MOUNT_ATTR__ATIME),
}
_WITHOUT_EFFECT = ("defaults", "async", "nomand", "nolazytime", "noiversion", "loud", "silent")
"""The default, said aloud; and what the kernel has to say of a mount goes to its maker, loud or silent."""
_FILESYSTEM = ("sync", "dirsync", "mand", "lazytime")
"""handed on to the file system as others are, but the same for all kinds"""
_UNBUILT = ("copy-symlink", "iversion")
_FLAGS = {
    "remount": "remount",
    "tmpcopyup": "copy_up",
    "src-nofollow": "source_nofollow",
    "dest-nofollow": "destination_nofollow",
}


class Options:
    """The options of one mount."""

    __slots__ = (
        "bind",
        "clear",
        "copy_up",
        "data",
        "destination_nofollow",
        "idmap",
        "propagation",
        "recursive",
        "recursive_clear",
        "recursive_set",
        "remount",
        "set",
        "source_nofollow",
    )

    def __init__(self) -> None:
        self.bind = False
        self.recursive = False
        self.remount = self.copy_up = self.source_nofollow = self.destination_nofollow = False
        self.idmap = ""  # idmap or ridmap
        self.set = self.clear = 0
        self.recursive_set = self.recursive_clear = 0
        self.propagation: list[str] = []
        self.data: list[str] = []

    def refuse_data(self, what: str) -> None:
        """For a mount that makes no file system, and would drop what is said of one."""
        if self.data:
            raise InvalidArgument(f"{what} has no file system of its own for the option {self.data[0]}")

    def apply_attributes(self, tree: int, *, default_propagation: str = "") -> None:
        """Give the detached or attached mount ``tree`` what the options say about mounts."""
        if self.recursive_set or self.recursive_clear:
            mount.mount_setattr(tree, self.recursive_set, self.recursive_clear, recursive=True)
        changes = [PROPAGATION[name] for name in self.propagation or filter(None, (default_propagation,))]
        first = changes.pop(0) if changes and not changes[0] & mount.MS_REC else 0
        if self.set or self.clear or first:
            mount.mount_setattr(tree, self.set, self.clear, propagation=first)
        for change in changes:
            mount.mount_setattr(
                tree, propagation=change & ~mount.MS_REC, recursive=bool(change & mount.MS_REC)
            )


def parse(options: list[str], destination: str) -> Options:
    """Sort the options of the mount on ``destination``; ``NotSupported`` for those that are not built."""
    result = Options()
    for option in options:
        if option in ("bind", "rbind"):
            result.bind = True
            result.recursive = result.recursive or option == "rbind"
        elif option in _ATTRIBUTES:
            added, cleared = _ATTRIBUTES[option]
            result.clear |= cleared | (added & mount.MOUNT_ATTR__ATIME and mount.MOUNT_ATTR__ATIME)
            result.set = result.set & ~cleared | added
            result.clear = result.clear & ~(added & ~mount.MOUNT_ATTR__ATIME)
        elif option[:1] == "r" and option[1:] in _ATTRIBUTES:
            added, cleared = _ATTRIBUTES[option[1:]]
            result.recursive_set = result.recursive_set & ~cleared | added
            result.recursive_clear = result.recursive_clear & ~(added & ~mount.MOUNT_ATTR__ATIME) | cleared
        elif option in PROPAGATION:
            result.propagation.append(option)
        elif option in _FLAGS:
            setattr(result, _FLAGS[option], True)
        elif option in ("idmap", "ridmap"):
            result.idmap = option
        elif option in _UNBUILT or option.startswith(("idmap=", "ridmap=")):
            raise NotSupported(f"mount option {option} on {destination} is not supported")
        elif option in _WITHOUT_EFFECT:
            continue
        elif not option or "\0" in option:
            raise InvalidArgument(f"invalid mount option {option!r} on {destination}")
        else:
            result.data.append(option)
    if result.bind:
        result.refuse_data(f"the bind mount on {destination}")
    return result


NAMES = frozenset(
    (
        *_ATTRIBUTES,
        *(f"r{name}" for name in _ATTRIBUTES),
        *PROPAGATION,
        *_WITHOUT_EFFECT,
        *_FILESYSTEM,
        *_FLAGS,
        *("bind", "rbind", "idmap", "ridmap"),
    )
)
"""every option that does not belong to one kind of file system"""
