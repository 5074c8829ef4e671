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
from mydocker.container.config import BindOptions, Mount, TmpfsOptions, VolumeOptions

_VOLUME_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_SWITCHES = ("readonly", "ro", "volume-nocopy", "bind-nonrecursive")


def parse_volume(text: str) -> str:
    """``-v``: a source that begins with ``.`` is relative to the current directory; all else stays."""
    source, colon, rest = text.partition(":")
    if colon and rest and (source in (".", "..") or source.startswith(("./", "../"))):
        return os.path.abspath(source) + colon + rest
    return text


def split_volumes(given: list[str]) -> tuple[list[str], list[str]]:
    """``-v`` values as ``(binds, anonymous volumes)``. Raises ``InvalidArgument``, ``NotSupported``."""
    binds, anonymous = [], []
    for text in given:
        source, colon, rest = text.partition(":")
        if not colon:
            anonymous.append(text)
            continue
        if not source or not rest or text.count(":") > 2:
            raise errors.InvalidArgument(f"invalid volume specification: '{text}'")
        if not source.startswith("/"):
            if not _VOLUME_NAME.fullmatch(source):
                raise errors.InvalidArgument(
                    f'create {source}: "{source}" includes invalid characters for a local volume name, only '
                    '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. '
                    "If you intended to pass a host directory, use absolute path"
                )
            raise errors.NotSupported(
                f"invalid volume specification: '{text}': the source must be an absolute path "
                "(named volumes are not built yet)"
            )
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
                f"invalid value for {key}: {error.args[0] if name == 'mode' else value}"
            ) from error
        if name == "volume_labels":
            parsed = {**values.get(name, {}), **parsed}
        values[name] = parsed
    return _build(values)


def _build(values: dict[str, Any]) -> Mount:
    kind = values.get("type") or "volume"
    if kind == "volume" and values.get("source"):
        raise errors.NotSupported(
            f"named volumes are not built yet: {values['source']} (use type=bind, or no source)"
        )
    if not values.get("target"):
        raise ValueError("target is required")
    groups = {
        "volume": ("volume_no_copy", "volume_labels"),
        "bind": ("propagation", "non_recursive", "create_mountpoint"),
        "tmpfs": ("size_bytes", "mode"),
    }
    for group, names in groups.items():
        if kind != group and any(name in values for name in names):
            raise ValueError(f"cannot mix '{group}-*' options with mount type '{kind}'")
    bind = {name: values[name] for name in groups["bind"] if name in values}
    tmpfs = {name: values[name] for name in groups["tmpfs"] if name in values}
    volume = {name.removeprefix("volume_"): values[name] for name in groups["volume"] if name in values}
    return Mount(
        type=kind,
        source=values.get("source", ""),
        target=values["target"],
        read_only=values.get("read_only", False),
        consistency=values.get("consistency", ""),
        bind_options=BindOptions(**bind) if bind else None,
        tmpfs_options=TmpfsOptions(**tmpfs) if tmpfs else None,
        volume_options=VolumeOptions(**volume) if volume else None,
    )


def _source(text: str) -> str:
    relative = text in (".", "..") or text.startswith(("./", "../"))
    return os.path.abspath(text) if relative else text


def _mode(text: str) -> int:
    if not re.fullmatch(r"[0-7]+", text):
        raise ValueError(text)
    return int(text, 8)


def _recursive(text: str) -> bool:
    """``bind-recursive``: whether submounts stay out."""
    if text == "enabled":
        return False
    if text == "disabled":
        return True
    raise ValueError(text)


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
    "bind-recursive": ("non_recursive", _recursive),
    "bind-create-src": ("create_mountpoint", go.parse_bool),
    "volume-nocopy": ("volume_no_copy", go.parse_bool),
    "volume-label": ("volume_labels", _label),
    "tmpfs-size": ("size_bytes", parse_size),
    "tmpfs-mode": ("mode", _mode),
}
