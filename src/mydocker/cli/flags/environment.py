"""Environment variables and labels: ``-e``, ``--env-file``, ``-l``, ``--label-file``.

A file has one ``KEY=value`` per line; the value is taken as it stands, without quotes or escapes. Blanks
before the key, empty lines and lines that begin with ``#`` are passed over. ``KEY`` alone means the value
that it has here: as a flag it stays ``KEY`` when it has none (which removes the image's), in a file the
line is dropped.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from mydocker import errors

_BLANKS = " \t"
_BOM = "\ufeff"


def parse_env(text: str) -> str:
    name, equals, _ = text.partition("=")
    if not name:
        raise ValueError(f"invalid environment variable: {text}")
    if not equals and name in os.environ:
        return f"{name}={os.environ[name]}"
    return text


def parse_label(text: str) -> str:
    if not text.partition("=")[0]:
        raise ValueError(f"invalid label '{text}': empty name")
    return text


def read_env_files(paths: Iterable[str]) -> list[str]:
    return [line for path in paths for line in _read(path, "env")]


def read_label_files(paths: Iterable[str]) -> list[str]:
    return [line for path in paths for line in _read(path, "label")]


def to_map(pairs: Iterable[str]) -> dict[str, str]:
    """``["a=b", "c"]`` to ``{"a": "b", "c": ""}``; the last one of a name counts."""
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


def _read(path: str, kind: str) -> Iterator[str]:
    try:
        with open(path, "rb") as file:
            lines = file.read().split(b"\n")
    except OSError as error:
        raise errors.InvalidArgument(f"open {path}: {(error.strerror or 'failed').lower()}") from error
    for number, raw in enumerate(lines, start=1):
        try:
            line = raw.removesuffix(b"\r").decode()
        except UnicodeDecodeError as error:
            raise errors.InvalidArgument(
                f"invalid {kind} file ({path}): invalid utf8 bytes at line {number}"
            ) from error
        if number == 1:
            line = line.removeprefix(_BOM)
        line = line.lstrip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not name:
            raise errors.InvalidArgument(f"invalid {kind} file ({path}): no variable name on line '{line}'")
        if any(blank in name for blank in _BLANKS):
            raise errors.InvalidArgument(
                f"invalid {kind} file ({path}): variable '{name}' contains whitespaces"
            )
        if equals:
            yield f"{name}={value}"
        elif kind == "label":
            yield name
        elif name in os.environ:
            yield f"{name}={os.environ[name]}"
