"""Writing one limit: the kernel's refusals in words that name the cgroup file, the value and the reason.

In scope: the translation of ``OSError``, done here once for all cgroup code of the runtime, and the record of
what was written, which ``--explain`` reads back. Out of scope: which limit goes to which file (``cgroup_v1``,
``cgroup_v2``).
"""

import errno
import os

from ..errors import Conflict, Error, Forbidden, InvalidArgument, NotFound, NotSupported, Unavailable
from ..linux.cgroup.directory import Directory


class Group(Directory):
    """A cgroup directory that remembers which of its files were set, in order."""

    __slots__ = ("written",)

    def __init__(self, directory: Directory):
        super().__init__(directory.hierarchy, directory.path)
        self.written: list[str] = []

    def set(self, file: str, *values: str) -> None:
        """Write the values one by one, or raise an Error that says which one the kernel refuses and why."""
        for value in values:
            try:
                self.write(file, value)
            except OSError as error:
                raise refusal(error, f"{self.path}/{file}", value) from error
        self.note(file)

    def note(self, file: str) -> None:
        if file not in self.written:
            self.written.append(file)

    def try_set(self, file: str, value: str, *forgiven: int) -> bool:
        """The same, but False when the refusal is one of ``forgiven`` (errno values)."""
        try:
            self.set(file, value)
        except Error as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno in forgiven:
                return False
            raise
        return True


def refusal(error: OSError, path: str, value: str | None = None) -> Error:
    """The Error for a cgroup file or directory that the kernel would not take."""
    reason = (os.strerror(error.errno) if error.errno else str(error)).lower()
    what = f"cannot use {path}" if value is None else f"cannot set {path} to {value!r}"
    if error.errno in (errno.EINVAL, errno.ERANGE, errno.E2BIG):
        return InvalidArgument(f"{what}: the kernel refuses the value ({reason})")
    if error.errno in (errno.ENOENT, errno.ENODEV) and not os.path.isdir(os.path.dirname(path)):
        return NotFound(f"no such cgroup: {os.path.dirname(path)} (its container has ended)")
    if error.errno == errno.ENOENT:
        return NotSupported(f"{what}: this kernel has no such cgroup file")
    if error.errno in (errno.EOPNOTSUPP, errno.ENODEV, errno.ENOSPC):
        return NotSupported(f"{what}: {reason}")
    if error.errno in (errno.EPERM, errno.EACCES, errno.EROFS):
        return Forbidden(f"{what}: {reason} (the cgroup file system has to be writable for this user)")
    if error.errno == errno.EBUSY:
        return Conflict(
            f"{what}: {reason} (what the cgroup uses now does not fit, or it has processes of its own)"
        )
    return Unavailable(f"{what}: {reason}")
