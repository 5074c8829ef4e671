"""The options of the driver ``local``: where a volume's files are, when not in its own directory.

    type=none   o=bind[,ro…]   device=DIRECTORY  a directory of the host (rbind: with what is mounted below)
    type=tmpfs  o=[OPTION,…]   device=tmpfs      a file system in memory; ``size`` is its limit
    type=TYPE   o=[OPTION,…]   device=DEVICE     any other file system that the kernel has

``o`` is what mount(8) takes as ``-o``; for a bind, what it says of a file system is without effect. It
becomes a mount that is attached nowhere, which whoever asked for it puts into a container: nothing of this is
ever in the host's mount table. Who shares it with whom is decided in ``container/volumes.py``.
Source of names and messages: moby, ``volume/local/local_unix.go``.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from .. import errors
from ..linux import mount
from ..linux.tree import opened_directory
from ..runtime.steps import options as mount_options

_KNOWN = ("type", "o", "device", "size")
_NEEDED = {"device": ("type",), "type": ("device",), "o": ("device", "type")}
_BINDS = frozenset(("bind", "rbind"))
_SIZE = r"(\d+(?:\.\d+)?) ?(?:([kmgtp])?i?b?)"
_UNITS = "bkmgtp"
_CIFS = ("cifs", "smb3")

Options = Mapping[str, str]


def check(name: str, options: Options) -> None:
    """Raise what Docker raises for options that cannot be: ``InvalidArgument``, and ``NotSupported`` for a
    file system that this kernel does not have."""
    for option in options:
        if option not in _KNOWN:
            raise errors.InvalidArgument(f'create {name}: invalid option: "{option}"')
    for option, needed in _NEEDED.items():
        for other in needed if options.get(option) else ():
            if not options.get(other):
                raise errors.InvalidArgument(f'create {name}: missing required option: "{other}"')
    if "size" in options:
        parse_size(name, options["size"])
        if options.get("type") != "tmpfs":
            raise errors.InvalidArgument(
                f"create {name}: quota size requested but no quota support (a tmpfs has a size: --opt "
                "type=tmpfs --opt device=tmpfs --opt size=SIZE)"
            )
    if not has_source(options):
        return
    parsed = _parsed(name, options)
    type, device = options["type"], options["device"]
    if is_bind(options):
        if not device.startswith("/"):
            raise errors.InvalidArgument(f"create {name}: a bind needs an absolute path: device={device}")
        return
    if type in _CIFS and _server(device)[1]:
        raise errors.InvalidArgument(
            f"create {name}: port not allowed in CIFS device URL, include 'port' in 'o='"
        )
    for key, _, value in (("device", "=", device), *(option.partition("=") for option in parsed.data)):
        if len(os.fsencode(value)) > mount.LONGEST_VALUE:
            raise errors.NotSupported(f"create {name}: {key} is longer than the 255 bytes of fsconfig(2)")
    try:
        os.close(mount.fsopen(type))
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise errors.Forbidden(f"create {name}: cannot mount {type}: {_reason(error)}") from error
        raise errors.NotSupported(
            f"create {name}: this kernel has no file system {type} (see /proc/filesystems; what is there may "
            "need a module: modprobe TYPE)"
        ) from None


def parse_size(name: str, text: str) -> int:
    """Bytes, from ``100m`` and the like (docker/go-units, ``RAMInBytes``)."""
    found = re.fullmatch(_SIZE, text, re.IGNORECASE)
    if found is None:
        raise errors.InvalidArgument(f"create {name}: invalid size: '{text}'")
    return int(float(found[1]) * 1024 ** _UNITS.index((found[2] or "b").lower()))


def has_source(options: Options) -> bool:
    """Whether the files are somewhere else than in the volume's own directory."""
    return bool(options.get("device"))


def is_bind(options: Options) -> bool:
    """Whether that is a directory of the host; otherwise a file system of its own."""
    return has_source(options) and not _BINDS.isdisjoint(options.get("o", "").split(","))


def is_recursive(options: Options) -> bool:
    """Of a bind: whether what is mounted below the directory comes along."""
    return "rbind" in options.get("o", "").split(",")


def is_lasting(options: Options) -> bool:
    """Whether what is written to it is there when the last container that has it is gone."""
    return is_bind(options) or options.get("type") not in ("tmpfs", "ramfs", "hugetlbfs")


def open_tree(options: Options, mountpoint: str) -> int:
    """A descriptor of a new mount, attached nowhere. Raises in Docker's words, with the kernel's reason."""
    device = options["device"]
    parsed = _parsed("", options)
    try:
        if is_bind(options):
            tree = mount.open_tree(
                device, mount.OPEN_TREE_CLONE | (mount.AT_RECURSIVE if parsed.recursive else 0)
            )
        else:
            from ..runtime.steps.mounts import filesystem

            tree = filesystem(options["type"], device, _data(options, parsed))
    except OSError as error:
        raise failed(mountpoint, f"mount {device}:{mountpoint}: {_reason(error)}", error) from error
    try:
        parsed.apply_attributes(tree)
    except OSError as error:
        os.close(tree)
        raise failed(mountpoint, f"mount {device}:{mountpoint}: {_reason(error)}", error) from error
    return tree


def apply_attributes(options: Options, tree: int) -> None:
    """Give a mount of the same file system that somebody else has had the attributes of ``options``."""
    _parsed("", options).apply_attributes(tree)


def failed(mountpoint: str, what: str, error: OSError) -> errors.Error:
    text = f"error while mounting volume '{mountpoint}': failed to mount local volume: {what}"
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return errors.NotFound(text)
    if error.errno in (errno.EPERM, errno.EACCES):
        return errors.Forbidden(text)
    return errors.InvalidArgument(text)


@contextmanager
def opened(options: Options, mountpoint: str) -> Iterator[int]:
    """The same, for work on its files: a descriptor of their directory."""
    tree = open_tree(options, mountpoint)
    try:
        with opened_directory(".", dir_fd=tree) as directory:
            yield directory
    finally:
        os.close(tree)


def _parsed(name: str, options: Options) -> mount_options.Options:
    given = [option for option in options.get("o", "").split(",") if option]
    try:
        parsed = mount_options.parse([each for each in given if each not in _BINDS], options["device"])
    except (errors.InvalidArgument, errors.NotSupported) as error:
        raise type(error)(f"create {name}: {error}" if name else str(error)) from None
    if is_bind(options):
        parsed.recursive = "rbind" in given
        parsed.data.clear()  # as mount(2) does with MS_BIND
    return parsed


def _data(options: Options, parsed: mount_options.Options) -> list[str]:
    data = [_resolved(option) for option in parsed.data]
    if options["type"] in _CIFS and not any(option.startswith(("addr=", "ip=")) for option in data):
        server, _ = _server(options["device"])
        data += [_resolved(f"addr={server}")] if server else []
    if parsed.set & mount.MOUNT_ATTR_RDONLY:
        data.append("ro")  # of the file system too, as mount(2) does with MS_RDONLY
    if options.get("size"):
        data.append(f"size={parse_size('', options['size'])}")
    return data


def _server(device: str) -> tuple[str, str]:
    """Of ``//SERVER[:PORT]/SHARE``, an IPv6 address in brackets: the server and the port, either may be
    empty."""
    found = re.match(r"//(?:\[([^]/]*)\]|([^:/]*))(?::([^/]*))?", device)
    return (found[1] or found[2], found[3] or "") if found else ("", "")


def _resolved(option: str) -> str:
    """``addr=NAME`` of network file systems with an address, for the kernel asks no name server."""
    import socket

    key, _, value = option.partition("=")
    if key != "addr":
        return option
    try:
        return f"addr={socket.getaddrinfo(value, None, type=socket.SOCK_STREAM)[0][4][0]}"
    except OSError as error:
        raise errors.NotFound(f"error resolving passed in network volume address: {error}") from error


def _reason(error: OSError) -> str:
    detail = f" ({error.filename})" if error.filename and "(" in str(error.filename) else ""
    return (error.strerror or str(error)).lower() + detail
