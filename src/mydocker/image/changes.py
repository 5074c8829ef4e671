"""Dockerfile instructions that change an image's configuration and nothing else (``import --change``).

    CMD, ENTRYPOINT, VOLUME    JSON array, or text (for the first two: a shell command)
    ENV, LABEL                 key=value ..., with quotes and backslashes; or: key rest-of-line
    EXPOSE                     port[-port][/tcp|udp|sctp] ...
    HEALTHCHECK                NONE, or options and CMD with a JSON array or a shell command
    USER, WORKDIR, STOPSIGNAL, ONBUILD    the rest of the line

Syntax as in the Dockerfile reference. Out of scope: variables, which have no values here.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Collection

import msgspec

from .. import errors
from ..oci.go import parse_duration, quote
from ..oci.signals import signal_number
from .documents import Healthcheck, RunConfig

_SHELL = ["/bin/sh", "-c"]
_PROTOCOLS = ("tcp", "udp", "sctp")
_TIMES = ("interval", "timeout", "start-period", "start-interval")
_LEAST = 1_000_000
"""nanoseconds; container.MinimumDuration of moby"""


def apply_changes(changes: Collection[str], base: RunConfig | None = None) -> RunConfig:
    """``base`` with every line of ``changes`` applied, in order. InvalidArgument names the line."""
    config = base or RunConfig()
    for line in changes:
        if not line.strip():
            raise errors.InvalidArgument("file with no instructions: an empty change")
        keyword, _, rest = line.strip().partition(" ")
        instruction = _INSTRUCTIONS.get(keyword.upper())
        if instruction is None:
            raise errors.InvalidArgument(f"{keyword.upper()} is not a valid change command: {line!r}")
        rest = rest.strip()
        if not rest:
            raise errors.InvalidArgument(f"{keyword.upper()} requires at least one argument: {line!r}")
        try:
            config = instruction(config, rest)
        except (ValueError, errors.InvalidArgument) as error:
            raise errors.InvalidArgument(f"malformed change {line!r}: {error}") from error
    return config


def _array(text: str) -> list[str] | None:
    """A JSON array of strings; None if ``text`` is something else, which is then a command or a word."""
    if not text.startswith("["):
        return None
    try:
        return msgspec.json.decode(text.encode(), type=list[str])
    except msgspec.DecodeError:
        return None


def _command(text: str) -> list[str]:
    found = _array(text)
    return [*_SHELL, text] if found is None else found


def _words(text: str) -> list[str]:
    """Split at blanks; quotes group, a backslash takes the next character as it is (not in single quotes)."""
    words: list[str] = []
    current: str | None = None
    quote = ""
    escaped = False
    for character in text:
        if escaped:
            current = (current or "") + character
            escaped = False
        elif character == "\\" and quote != "'":
            escaped = True
        elif quote:
            if character == quote:
                quote = ""
            else:
                current = (current or "") + character
        elif character in "'\"":
            quote = character
            current = current or ""
        elif character.isspace():
            if current is not None:
                words.append(current)
            current = None
        else:
            current = (current or "") + character
    if quote or escaped:
        raise ValueError("unterminated quote" if quote else "a backslash at the end")
    return words if current is None else [*words, current]


def _pairs(text: str) -> list[tuple[str, str]]:
    first = text.split(maxsplit=1)
    if "=" not in first[0]:  # the old form: the rest of the line is the value
        if len(first) != 2:
            raise ValueError("must have a value")
        return [(first[0], first[1])]
    pairs = []
    for word in _words(text):
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise ValueError(f"can't find = in {word!r}; must be of the form: name=value")
        pairs.append((key, value))
    return pairs


def _cmd(config: RunConfig, rest: str) -> RunConfig:
    return msgspec.structs.replace(config, cmd=_command(rest))


def _entrypoint(config: RunConfig, rest: str) -> RunConfig:
    return msgspec.structs.replace(config, entrypoint=_command(rest))


def _env(config: RunConfig, rest: str) -> RunConfig:
    env = {item.partition("=")[0]: item for item in config.env or []}
    env.update((key, f"{key}={value}") for key, value in _pairs(rest))
    return msgspec.structs.replace(config, env=list(env.values()))


def _label(config: RunConfig, rest: str) -> RunConfig:
    return msgspec.structs.replace(config, labels={**(config.labels or {}), **dict(_pairs(rest))})


def _expose(config: RunConfig, rest: str) -> RunConfig:
    ports = dict(config.exposed_ports or {})
    for word in _words(rest):
        numbers, _, protocol = word.partition("/")
        protocol = (protocol or "tcp").lower()
        first, dash, last = numbers.partition("-")
        if protocol not in _PROTOCOLS or not first.isdigit() or (dash and not last.isdigit()):
            raise ValueError(f"invalid containerPort: {word}")
        low, high = int(first), int(last or first)
        if not 0 < low <= high < 65536:
            raise ValueError(f"invalid containerPort: {word}")
        ports.update((f"{port}/{protocol}", {}) for port in range(low, high + 1))
    return msgspec.structs.replace(config, exposed_ports=ports)


def _volume(config: RunConfig, rest: str) -> RunConfig:
    paths = _array(rest) or _words(rest)
    if not all(path.strip() for path in paths):
        raise ValueError("VOLUME specified can not be an empty string")
    volumes: dict[str, object] = {path.strip(): {} for path in paths}
    return msgspec.structs.replace(config, volumes={**(config.volumes or {}), **volumes})


def _workdir(config: RunConfig, rest: str) -> RunConfig:
    path = posixpath.normpath(posixpath.join("/", config.working_dir, _words(rest)[0]))
    return msgspec.structs.replace(config, working_dir=path)


def _user(config: RunConfig, rest: str) -> RunConfig:
    return msgspec.structs.replace(config, user=rest)


def _stop_signal(config: RunConfig, rest: str) -> RunConfig:
    signal_number(rest)
    return msgspec.structs.replace(config, stop_signal=rest)


def _healthcheck(config: RunConfig, rest: str) -> RunConfig:
    options, rest = _options(rest, (*_TIMES, "retries"))
    kind, _, command = rest.partition(" ")
    command = command.strip()
    if kind.upper() == "NONE":
        if command or options:
            raise ValueError("HEALTHCHECK NONE takes no arguments")
        return msgspec.structs.replace(config, healthcheck=Healthcheck(test=["NONE"]))
    if kind.upper() != "CMD":
        raise ValueError(f"unknown type {quote(kind.upper())} in HEALTHCHECK (try CMD)")
    array = _array(command)
    test = ["CMD-SHELL", command] if array is None else ["CMD", *array]
    if not test[1:] or not test[1]:
        raise ValueError("missing command after HEALTHCHECK CMD")
    numbers = {name.replace("-", "_"): _time(name, options[name]) for name in _TIMES if name in options}
    if "retries" in options:
        if not options["retries"].isdecimal():
            raise ValueError(f"--retries must be a number that is not negative: {options['retries']}")
        numbers["retries"] = int(options["retries"])
    return msgspec.structs.replace(config, healthcheck=Healthcheck(test=test, **numbers))


def _options(text: str, known: Collection[str]) -> tuple[dict[str, str], str]:
    """The ``--name=value`` that come first, and the rest."""
    options: dict[str, str] = {}
    while text.startswith("--"):
        word, _, text = text.partition(" ")
        name, _, value = word[2:].partition("=")
        if name not in known:
            raise ValueError(f"unknown flag: {name}")
        if not value or name in options:
            raise ValueError(f"{'duplicate flag specified' if value else 'missing a value on flag'}: {name}")
        options[name] = value
        text = text.lstrip()
    return options, text


def _time(name: str, text: str) -> int:
    nanoseconds = parse_duration(text)
    if nanoseconds < _LEAST:
        raise ValueError(f"interval {quote(name)} cannot be less than 1ms")
    return nanoseconds


def _on_build(config: RunConfig, rest: str) -> RunConfig:
    if rest.split()[0].upper() in ("ONBUILD", "FROM", "MAINTAINER"):
        raise ValueError(f"{rest.split()[0].upper()} isn't allowed as an ONBUILD trigger")
    return msgspec.structs.replace(config, on_build=[*(config.on_build or []), rest])


_INSTRUCTIONS: dict[str, Callable[[RunConfig, str], RunConfig]] = {
    "CMD": _cmd,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "ONBUILD": _on_build,
    "STOPSIGNAL": _stop_signal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
