"""Names of users and groups, looked up in the container's own passwd(5) and group(5).

Called by the process that is inside of the container's root already, so the files are the container's and
symbolic links cannot lead elsewhere. They are still not trusted: only regular files of a bounded size are
read, and lines that make no sense are passed over. Texts of errors are those that Docker's users know.
"""

from __future__ import annotations

import os
import stat

from mydocker.errors import InvalidArgument, NotFound

_LIMIT = 16 << 20
_LAST_ID = 2**31 - 1  # as Docker and runc have it


class Account:
    """Whom a process runs as."""

    __slots__ = ("gid", "groups", "home", "uid")

    def __init__(self, uid: int, gid: int, groups: list[int], home: str) -> None:
        self.uid = uid
        self.gid = gid
        self.groups = groups
        self.home = home


def look_up(name: str, root: str = "/") -> Account:
    """Return the account ``user``, ``uid``, ``user:group``, ``uid:gid`` … stands for.

    A number that no line names is itself; a name that no line names is ``NotFound``. The supplementary groups
    are those that list the user, unless a group is given; and always the first group, which a program of the
    container that gives it up by setgid(2) then still has (CVE-2022-36109: rights that only others have).
    """
    user, _, group = name.partition(":")
    uid, gid, home, login = 0, 0, "/", ""
    passwd = _lines(root, "etc/passwd", 7)
    for fields in passwd:
        if user in (fields[0], fields[2]) or (not user and fields[2] == "0"):
            login, uid, gid, home = fields[0], _id(fields[2]), _id(fields[3]), fields[5] or "/"
            break
    else:
        if (user and not user.isascii()) or (user and not user.isdigit()):
            raise NotFound(f"unable to find user {user}: no matching entries in passwd file")
        uid = _id(user or "0")
    if group:
        gid = group_id(group, root)
        return Account(uid, gid, [gid], home)
    groups = [gid]
    if login:
        rows = _lines(root, "etc/group", 4)
        groups += [_id(fields[2]) for fields in rows if login in fields[3].split(",")]
    return Account(uid, gid, groups, home)


def group_id(name: str, root: str = "/") -> int:
    """Return the id of the group ``name``, which may be a number that no line names."""
    for fields in _lines(root, "etc/group", 4):
        if name in (fields[0], fields[2]):
            return _id(fields[2])
    if not (name.isascii() and name.isdigit()):
        raise NotFound(f"unable to find group {name}: no matching entries in group file")
    return _id(name)


def home_of(uid: int, root: str = "/") -> str:
    """Return the home directory of the first line with ``uid``, or "/"."""
    for fields in _lines(root, "etc/passwd", 7):
        if fields[2] == str(uid):
            return fields[5] or "/"
    return "/"


def _lines(root: str, name: str, fields: int) -> list[list[str]]:
    """The lines of a table as lists of at least ``fields`` strings; none if there is no such file."""
    try:
        descriptor = os.open(os.path.join(root, name), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return []
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _LIMIT:
            raise InvalidArgument(f"/{name} of the container is not a file of a reasonable size")
        data = b""
        while chunk := os.read(descriptor, 1 << 16):
            data += chunk
    finally:
        os.close(descriptor)
    rows = []
    for line in data.decode(errors="surrogateescape").splitlines():
        row = line.strip().split(":")
        if not line.startswith("#") and len(row) >= 3 and row[2].isascii() and row[2].isdigit():
            rows.append(row + [""] * (fields - len(row)))
    return rows


def _id(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else 0
    if number > _LAST_ID:
        raise InvalidArgument(f"uids and gids must be in range 0-{_LAST_ID}: {text}")
    return number
