"""Mounts: ``-v source:target:options``, ``--mount key=value,…`` and ``--tmpfs target:options``.

``--mount`` is one line of CSV (RFC 4180), so a path with a comma is written ``"source=/a,b"``. Its keys are
those of Docker's reference page of ``docker run``. What the paths refer to is not looked at here.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable
from typing import Any

from mydocker import errors
from mydocker.cli.flags import go
from mydocker.cli.flags.size import parse_size
from mydocker.container.config import BindOptions, Driver, Mount, TmpfsOptions, VolumeOptions
from mydocker.container.mounts import parse_idmap

_MAPS = ("volume_labels", "volume_options")
_EXPLAINED = ("mode", "recursive", "id_map")
_SWITCHES = ("readonly", "ro", "volume-nocopy", "bind-nonrecursive", "bind-create-src", "idmap")


def parse_volume(text: str) -> str:
    """``-v``: a source that begins with ``.`` is relative to the current directory; all else stays."""
    source, colon, rest = text.partition(":")
    return _source(source) + colon + rest if colon and rest else text


def split_volumes(given: list[str]) -> tuple[list[str], list[str]]:
    """``-v`` values as ``(binds, anonymous volumes)``. Raises ``InvalidArgument`` in the words of docker/cli
    (``internal/volumespec``)."""
    binds, anonymous = [], []
    for text in dict.fromkeys(given):
        if not text:
            raise errors.InvalidArgument("invalid empty volume spec")
        sections = text.split(":")
        if len(sections) == 1:
            anonymous.append(text)
            continue
        if not all(sections[:3]):
            raise errors.InvalidArgument(f"invalid spec: {text}: empty section between colons")
        if len(sections) > 3:
            raise errors.InvalidArgument(f"invalid spec: {text}: too many colons")
        binds.append(text)
    return binds, anonymous


def parse_tmpfs(text: str) -> tuple[str, str]:
    target, _, options = text.partition(":")
    return target, options


def parse_mount(text: str) -> Mount:
    values: dict[str, Any] = {}
    if not text:
        raise ValueError("value is empty")
    try:
        fields = next(csv.reader([text], strict=True))
    except (csv.Error, StopIteration) as error:
        raise ValueError(f"parse error on line 1: {error}") from error
    for field in fields:
        key, equals, value = field.partition("=")
        key = key.lower()
        if not equals:
            if key not in _SWITCHES:
                raise ValueError(f"invalid field '{field}' must be a key=value pair")
            value = "true"
        setter = _KEYS.get(key)
        if setter is None:
            raise ValueError(f"unexpected key '{key}' in '{field}'")
        name, parse = setter
        try:
            parsed = parse(value)
        except ValueError as error:
            raise ValueError(
                f"invalid value for {key}: {error.args[0] if name in _EXPLAINED else value}"
            ) from error
        if name in _MAPS:
            parsed = {**values.get(name, {}), **parsed}
        values[name] = parsed
    return _build(values)


def _build(values: dict[str, Any]) -> Mount:
    kind = values.get("type", "volume")
    if not kind:
        raise ValueError("type is required")
    if not values.get("target"):
        raise ValueError("target is required")
    groups = {
        "volume": (
            "volume_no_copy",
            "volume_labels",
            "volume_subpath",
            "volume_driver",
            "volume_options",
        ),
        "bind": ("propagation", "recursive", "non_recursive", "create_mountpoint", "id_map"),
        "tmpfs": ("size_bytes", "mode"),
        "image": ("image_subpath",),
    }
    for group, names in groups.items():
        if kind != group and any(name in values for name in names):
            raise ValueError(f"cannot mix '{group}-*' options with mount type '{kind}'")
    bind = _bind_options(values)
    tmpfs = {name: values[name] for name in groups["tmpfs"] if name in values}
    volume = _volume_options(values)
    return Mount(
        type=kind,
        source=values.get("source", ""),
        target=values["target"],
        read_only=values.get("read_only", False),
        consistency=values.get("consistency", ""),
        bind_options=bind,
        tmpfs_options=TmpfsOptions(**tmpfs) if tmpfs else None,
        volume_options=volume,
    )


def _bind_options(values: dict[str, Any]) -> BindOptions | None:
    names = ("propagation", "non_recursive", "create_mountpoint", "id_map")
    given = {name: values[name] for name in names if name in values}
    recursive = values.get("recursive", "enabled")
    if recursive == "disabled":
        given["non_recursive"] = True
    elif recursive != "enabled":
        if not values.get("read_only"):
            raise ValueError(
                f"option 'bind-recursive={recursive}' requires 'readonly' to be specified in conjunction"
            )
        if recursive == "readonly" and values.get("propagation") != "rprivate":
            raise ValueError(
                "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in "
                "conjunction"
            )
        given[f"read_only_{'non' if recursive == 'writable' else 'force'}_recursive"] = True
    return BindOptions(**given) if given else None


def _volume_options(values: dict[str, Any]) -> VolumeOptions | None:
    given: dict[str, Any] = {
        name: values[f"volume_{name}"]
        for name in ("no_copy", "labels", "subpath")
        if f"volume_{name}" in values
    }
    if "volume_driver" in values or "volume_options" in values:
        given["driver_config"] = Driver(
            name=values.get("volume_driver", ""), options=values.get("volume_options")
        )
    return VolumeOptions(**given) if given else None


def _source(text: str) -> str:
    return os.path.abspath(text) if text.startswith(".") else text


def _mode(text: str) -> int:
    if not re.fullmatch(r"[0-7]+", text):
        raise ValueError(text)
    return int(text, 8)


def _recursive(text: str) -> str:
    if text not in ("enabled", "disabled", "writable", "readonly"):
        raise ValueError(f'{text} (must be "enabled", "disabled", "writable", or "readonly")')
    return text


def _id_map(text: str) -> str:
    """``owner`` when it is said alone, or true."""
    if text in ("true", "owner"):
        return "owner"
    try:
        parse_idmap(text)
    except errors.InvalidArgument as error:
        raise ValueError(str(error)) from None
    return text


def _label(text: str) -> dict[str, str]:
    name, _, value = text.partition("=")
    return {name: value}


_KEYS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "type": ("type", str.lower),
    "source": ("source", _source),
    "src": ("source", _source),
    "target": ("target", str),
    "dst": ("target", str),
    "destination": ("target", str),
    "readonly": ("read_only", go.parse_bool),
    "ro": ("read_only", go.parse_bool),
    "consistency": ("consistency", str.lower),
    "bind-propagation": ("propagation", str.lower),
    "bind-nonrecursive": ("non_recursive", go.parse_bool),
    "bind-recursive": ("recursive", _recursive),
    "idmap": ("id_map", _id_map),
    "bind-create-src": ("create_mountpoint", go.parse_bool),
    "volume-nocopy": ("volume_no_copy", go.parse_bool),
    "volume-label": ("volume_labels", _label),
    "volume-subpath": ("volume_subpath", str),
    "volume-driver": ("volume_driver", str),
    "volume-opt": ("volume_options", _label),
    "image-subpath": ("image_subpath", str),
    "tmpfs-size": ("size_bytes", parse_size),
    "tmpfs-mode": ("mode", _mode),
}
