"""Two file trees, one read from a tar archive and one from a directory, made comparable.

    difference(from_tar("export.tar"), from_directory("/proc/123/root")) == []

Names are bytes decoded with surrogateescape, relative, without a leading ``./``. Hard links compare as the
group of names that share a file, whichever of them an archive happens to store first.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

XATTR_PREFIX = "SCHILY.xattr."


@dataclass(frozen=True)
class Entry:
    """What a name stands for. ``links``: all names of the same file, sorted; ``mtime`` in nanoseconds."""

    kind: str
    mode: int
    uid: int
    gid: int
    size: int = 0
    digest: str = ""
    target: str = ""
    device: tuple[int, int] = (0, 0)
    xattrs: tuple[tuple[str, bytes], ...] = ()
    links: tuple[str, ...] = ()
    mtime: int = 0


Tree = dict[str, Entry]

_TAR_KINDS = {
    tarfile.REGTYPE: "file",
    tarfile.AREGTYPE: "file",
    tarfile.GNUTYPE_SPARSE: "file",
    tarfile.DIRTYPE: "directory",
    tarfile.SYMTYPE: "symlink",
    tarfile.CHRTYPE: "character device",
    tarfile.BLKTYPE: "block device",
    tarfile.FIFOTYPE: "fifo",
}
_STAT_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}


def from_tar(path: str) -> Tree:
    found: Tree = {}
    groups: dict[str, list[str]] = {}
    with tarfile.open(path, encoding="utf-8", errors="surrogateescape") as archive:
        for member in archive:
            name = _normal(member.name)
            if not name:
                continue
            if member.islnk():
                first = _normal(member.linkname)
                groups.setdefault(first, [first]).append(name)
                continue
            found[name] = _from_member(archive, member)
    for first, names in groups.items():
        group = tuple(sorted(names))
        for name in names:
            found[name] = replace(found[first], links=group)
    return found


def _from_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Entry:
    kind = _TAR_KINDS[member.type]
    seconds, _, fraction = member.pax_headers.get("mtime", str(int(member.mtime))).partition(".")
    digest = ""
    if kind == "file":
        content = archive.extractfile(member)
        assert content is not None
        digest = hashlib.file_digest(content, "sha256").hexdigest()  # type: ignore[arg-type]
    return Entry(
        kind=kind,
        mode=0o777 if kind == "symlink" else stat.S_IMODE(member.mode),
        uid=member.uid,
        gid=member.gid,
        size=member.size if kind == "file" else 0,
        digest=digest,
        target=member.linkname if kind == "symlink" else "",
        device=(member.devmajor, member.devminor) if kind.endswith("device") else (0, 0),
        xattrs=tuple(
            sorted(
                (key.removeprefix(XATTR_PREFIX), value.encode("utf-8", "surrogateescape"))
                for key, value in member.pax_headers.items()
                if key.startswith(XATTR_PREFIX)
            )
        ),
        mtime=int(seconds) * 10**9 + int(fraction.ljust(9, "0")[:9]),
    )


def from_directory(top: str, skip: tuple[str, ...] = ()) -> Tree:
    """``skip``: names relative to ``top`` that are left out with everything below them."""
    found: Tree = {}
    same: dict[tuple[int, int], list[str]] = {}
    for path in _walk(os.path.join(top, ""), skip):
        name = os.path.relpath(path, top)
        status = os.lstat(path)
        found[name] = _from_status(path, status)
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            same.setdefault((status.st_dev, status.st_ino), []).append(name)
    for names in same.values():
        if len(names) > 1:
            for name in names:
                found[name] = replace(found[name], links=tuple(sorted(names)))
    return found


def _from_status(path: str, status: os.stat_result) -> Entry:
    kind = _STAT_KINDS[stat.S_IFMT(status.st_mode)]
    digest = ""
    if kind == "file":
        with open(path, "rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
    device = os.major(status.st_rdev), os.minor(status.st_rdev)
    return Entry(
        kind=kind,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        size=status.st_size if kind == "file" else 0,
        digest=digest,
        target=os.readlink(path) if kind == "symlink" else "",
        device=device if kind.endswith("device") else (0, 0),
        xattrs=tuple(
            sorted(
                (key, os.getxattr(path, key, follow_symlinks=False))
                for key in os.listxattr(path, follow_symlinks=False)
            )
        ),
        mtime=status.st_mtime_ns,
    )


def _walk(top: str, skip: tuple[str, ...]) -> Iterator[str]:
    with os.scandir(top) as entries:
        names = sorted(entries, key=lambda entry: entry.name)
    for entry in names:
        if os.path.relpath(entry.path, top) in skip:
            continue
        yield entry.path
        if entry.is_dir(follow_symlinks=False):
            inner = tuple(
                os.path.relpath(name, entry.name) for name in skip if name.startswith(entry.name + "/")
            )
            yield from _walk(os.path.join(entry.path, ""), inner)


def without(tree: Tree, *names: str) -> Tree:
    """The tree without these names, what is below them, and their other names as hard links."""
    return {
        name: entry
        for name, entry in tree.items()
        if not any(name == gone or name.startswith(gone + "/") for gone in names)
    }


def whole_seconds(tree: Tree) -> Tree:
    """Docker's archives truncate times to seconds (moby pkg/archive, FileInfoHeaderNoLookups)."""
    return {name: replace(entry, mtime=entry.mtime // 10**9 * 10**9) for name, entry in tree.items()}


def difference(expected: Tree, found: Tree, *, ignore: tuple[str, ...] = ()) -> list[str]:
    """One line for each name that is missing, unexpected or not alike; ``ignore``: fields of Entry."""
    lines = [f"missing: {name!r}" for name in sorted(expected.keys() - found.keys())]
    lines += [f"unexpected: {name!r}" for name in sorted(found.keys() - expected.keys())]
    for name in sorted(expected.keys() & found.keys()):
        for field in fields(Entry):
            if field.name not in ignore:
                one, other = getattr(expected[name], field.name), getattr(found[name], field.name)
                if one != other:
                    lines.append(f"{name!r}: {field.name} {one!r} expected, {other!r} found")
    return lines


def _normal(name: str) -> str:
    return os.path.normpath(name).lstrip("/").removeprefix("./") if name.strip("./") else ""
