"""The image that the peers build: several layers with everything that a layer can hold.

``write_context`` makes the directory for ``docker build``: a Dockerfile and two tar archives. The archives
bring what RUN cannot make (device nodes with odd numbers, names that are not UTF-8, file capabilities), the
RUN lines what only an overlay can show (whiteouts, opaque directories, copies from a lower layer).
"""

from __future__ import annotations

import io
import os
import struct
import tarfile

NAME = "peers/everything:1.0"

DOCKERFILE = """\
FROM scratch
ADD base.tar /
ADD second.tar /
RUN rm /lower/deleted && rm -r /lower/deleted-directory && rm /odd/fifo
RUN rm -r /opaque && mkdir /opaque && echo second > /opaque/new
RUN echo appended >> /lower/appended && chmod 4711 /lower/became-setuid && chown 12:34 /lower/changed-owner
RUN ln /lower/hard-one /lower/hard-three && ln -s /nowhere/at/all /lower/dangling
RUN mkfifo -m 0640 /odd/second-fifo && touch -d '2001-02-03 04:05:06' /lower/touched
RUN mv /lower/renamed-directory /lower/new-name-of-directory
RUN cd /lower && rm file-then-directory && mkdir file-then-directory && echo in > file-then-directory/in
RUN cd /lower && rm -r directory-then-symlink && ln -s kept directory-then-symlink
ENV GREETING="hello world" PATH=/bin:/usr/bin
LABEL org.example.purpose="everything" org.example.quote="a \\"quoted\\" value"
EXPOSE 80/tcp 53/udp
VOLUME /data
WORKDIR /made/by/workdir
USER alice
STOPSIGNAL SIGUSR1
ENTRYPOINT ["/bin/echo", "entry"]
CMD ["command", "two words"]
"""

# struct vfs_cap_data (linux/capability.h), revision 2: cap_net_raw in the permitted set, effective bit set
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)
MTIME = 1_000_000_000
LONG = "long/" + "/".join(letter * 60 for letter in "abcde") + "/" + "f" * 255


def write_context(directory: str, rootfs: str) -> str:
    """Fill ``directory`` with Dockerfile, base.tar and second.tar, and return it."""
    with open(os.path.join(directory, "Dockerfile"), "w") as handle:
        handle.write(DOCKERFILE)
    with _archive(os.path.join(directory, "base.tar")) as tar:
        for name in sorted(os.listdir(rootfs)):
            tar.add(os.path.join(rootfs, name), arcname=name)
        _lower(tar)
        _odd(tar)
    with _archive(os.path.join(directory, "second.tar")) as tar:
        _directory(tar, "lower")
        _file(tar, "lower/replaced", b"by the second layer\n")
        _file(tar, "lower/second-only", b"second\n", mode=0o600, uid=1000, gid=1000)
        _directory(tar, "second/empty", mode=0o2775, gid=50)
    return directory


def _lower(tar: tarfile.TarFile) -> None:
    _directory(tar, "lower")
    for name in (
        "kept",
        "deleted",
        "appended",
        "became-setuid",
        "changed-owner",
        "replaced",
        "touched",
        "hard-one",
        "file-then-directory",
    ):
        _file(tar, f"lower/{name}", f"{name} of the first layer\n".encode())
    _link(tar, "lower/hard-two", "lower/hard-one")
    for name in ("deleted-directory", "renamed-directory", "directory-then-symlink"):
        _directory(tar, f"lower/{name}")
        _file(tar, f"lower/{name}/inside", b"inside\n")
    _directory(tar, "opaque")
    _file(tar, "opaque/old", b"old\n")
    _directory(tar, "opaque/below")
    _file(tar, "opaque/below/older", b"older\n")


def _odd(tar: tarfile.TarFile) -> None:
    _directory(tar, "odd", mode=0o1777)
    _file(tar, "odd/setuid", b"x", mode=0o4755)
    _file(tar, "odd/setgid", b"x", mode=0o2755, uid=65534, gid=65534)
    _file(tar, "odd/high-owner", b"x", uid=2**31, gid=2**31 + 1)
    _file(tar, "odd/mode-zero", b"x", mode=0)
    _file(tar, "odd/capability", b"x", mode=0o755, xattrs={"security.capability": CAPABILITY})
    _file(tar, "odd/caf\udce9-latin-1", b"not utf-8\n")
    _file(tar, "odd/\u540d\u524d", b"utf-8\n")
    _file(tar, "odd/new\nline\tand space ", b"x")
    _file(tar, "odd/.wh", b"not a whiteout: there is no dot after it\n")
    _file(tar, "odd/hole", b"begin" + bytes(4 << 20) + b"end")
    _file(tar, "odd/empty", b"")
    _file(tar, LONG, b"long\n")
    _symlink(tar, "odd/symlink", "../lower/kept")
    _symlink(tar, "odd/long-symlink", "/" + "t" * 300)
    _symlink(tar, "odd/directory-symlink", "/lower")
    _node(tar, "odd/fifo", tarfile.FIFOTYPE)
    _node(tar, "odd/character", tarfile.CHRTYPE, device=(1, 3))
    _node(tar, "odd/block", tarfile.BLKTYPE, device=(259, 70000))
    _node(tar, "odd/other-fifo", tarfile.FIFOTYPE)


def _archive(path: str) -> tarfile.TarFile:
    return tarfile.open(path, "w", format=tarfile.PAX_FORMAT, errors="surrogateescape")


def _member(name: str, kind: bytes, mode: int, uid: int = 0, gid: int = 0) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.mode, member.uid, member.gid, member.mtime = kind, mode, uid, gid, MTIME
    return member


def _file(
    tar: tarfile.TarFile,
    name: str,
    content: bytes,
    *,
    mode: int = 0o644,
    uid: int = 0,
    gid: int = 0,
    xattrs: dict[str, bytes] | None = None,
) -> None:
    member = _member(name, tarfile.REGTYPE, mode, uid, gid)
    member.size = len(content)
    for key, value in (xattrs or {}).items():
        member.pax_headers = {
            **member.pax_headers,
            f"SCHILY.xattr.{key}": value.decode("utf-8", "surrogateescape"),
        }
    tar.addfile(member, io.BytesIO(content))


def _directory(tar: tarfile.TarFile, name: str, *, mode: int = 0o755, gid: int = 0) -> None:
    tar.addfile(_member(name, tarfile.DIRTYPE, mode, gid=gid))


def _symlink(tar: tarfile.TarFile, name: str, target: str) -> None:
    member = _member(name, tarfile.SYMTYPE, 0o777)
    member.linkname = target
    tar.addfile(member)


def _link(tar: tarfile.TarFile, name: str, first: str) -> None:
    member = _member(name, tarfile.LNKTYPE, 0o644)
    member.linkname = first
    tar.addfile(member)


def _node(tar: tarfile.TarFile, name: str, kind: bytes, *, device: tuple[int, int] = (0, 0)) -> None:
    member = _member(name, kind, 0o640)
    member.devmajor, member.devminor = device
    tar.addfile(member)
