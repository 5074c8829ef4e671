"""What a container shares with its host or gets from it: devices, namespaces, capabilities, security options.

Where Docker's command line checks a value only after all flags are read, so does this, and raises
``InvalidArgument`` rather than ``ValueError``.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterable

from mydocker import errors
from mydocker.cli.flags import go
from mydocker.container.config import DeviceMapping, RestartPolicy

_PERMISSIONS = re.compile(r"(?!.*(.).*\1)[rwm]{1,3}")
_CGROUP_RULE = re.compile(r"[acb] ([0-9]+|\*):([0-9]+|\*) [rwm]{1,3}")
_STREAMS = ("stdin", "stdout", "stderr")


def parse_restart(text: str) -> RestartPolicy:
    """``no``, ``on-failure:5``. Whether there is such a policy is for the engine to say, as in Docker."""
    name, colon, count = text.partition(":")
    if colon and not name:
        raise errors.InvalidArgument("invalid restart policy format: no policy provided before colon")
    try:
        maximum = go.parse_int(count, base=10, function="Atoi") if count else 0
    except ValueError:
        raise errors.InvalidArgument(
            "invalid restart policy format: maximum retry count must be an integer"
        ) from None
    return RestartPolicy(name=name or "no", maximum_retry_count=maximum)


def parse_device(text: str) -> DeviceMapping:
    """``/dev/a``, ``/dev/a:/dev/b``, ``/dev/a:rw``, ``/dev/a:/dev/b:rwm``. Raises ``InvalidArgument``."""
    parts = text.split(":")
    source, target, permissions = parts[0], parts[0], "rwm"
    if len(parts) > 3 or not source:
        raise errors.InvalidArgument(f"bad format for path: {text}")
    if len(parts) == 3:
        target, permissions = parts[1], parts[2]
    elif len(parts) == 2:
        if _PERMISSIONS.fullmatch(parts[1]):
            permissions = parts[1]
        else:
            target = parts[1]
    if not target.startswith("/") or not source.startswith("/"):
        relative = target if source.startswith("/") else source
        raise errors.InvalidArgument(f"{relative} is not an absolute path")
    if not _PERMISSIONS.fullmatch(permissions):
        raise errors.InvalidArgument(f"bad mode specified: {permissions}")
    return DeviceMapping(path_on_host=source, path_in_container=target, cgroup_permissions=permissions)


def parse_device_rule(text: str) -> str:
    """``c 10:200 rwm``, as in the v1 file ``devices.allow``."""
    if not _CGROUP_RULE.fullmatch(text):
        raise ValueError(f"invalid device cgroup format '{text}'")
    return text


def parse_stream(text: str) -> str:
    if text.lower() not in _STREAMS:
        raise ValueError("valid streams are STDIN, STDOUT and STDERR")
    return text.lower()


def parse_extra_host(text: str) -> str:
    """``name:address`` or ``name=address``, an IPv6 address in brackets or bare."""
    name, equals, address = text.partition("=")
    if not equals or ":" in name:
        name, _, address = text.partition(":")
    if not name or not (equals or ":" in text):
        raise ValueError(f"bad format for add-host: {go.quote(text)}")
    if address != "host-gateway":
        address = address.removeprefix("[").removesuffix("]")
        try:
            ipaddress.ip_address(address)
        except ValueError as error:
            raise ValueError(f"invalid IP address in add-host: {go.quote(address)}") from error
    return f"{name}:{address}"


def parse_memory_swappiness(text: str) -> int:
    number = go.parse_int(text)
    if number != -1 and not 0 <= number <= 100:
        raise errors.InvalidArgument(f"invalid value: {number}. Valid memory swappiness range is 0-100")
    return number


def capabilities(names: Iterable[str]) -> list[str]:
    """``chown`` to ``CAP_CHOWN``; whether there is such a capability is the engine's to say."""
    found = []
    for name in names:
        upper = name.upper().strip()
        found.append("ALL" if upper in ("ALL", "CAP_ALL") else f"CAP_{upper.removeprefix('CAP_')}")
    return list(dict.fromkeys(found))


def exposed_ports(given: Iterable[str]) -> dict[str, dict[str, str]]:
    """``80``, ``80/udp``, ``90-92/tcp`` to the keys of ``ExposedPorts``."""
    ports: dict[str, dict[str, str]] = {}
    for text in given:
        if ":" in text:
            raise errors.InvalidArgument(f"invalid port format for --expose: {text}")
        numbers, _, protocol = text.partition("/")
        first, _, last = numbers.partition("-")
        try:
            low = go.parse_uint(first, bits=16)
            high = go.parse_uint(last, bits=16) if last else low
        except ValueError as error:
            raise errors.InvalidArgument(
                f"invalid range format for --expose: {text}, error: {error}"
            ) from error
        if high < low:
            raise errors.InvalidArgument(
                f"invalid range format for --expose: {text}, "
                f"error: invalid range specified for port: {numbers}"
            )
        for port in range(low, high + 1):
            ports[f"{port}/{(protocol or 'tcp').lower()}"] = {}
    return ports


def check_mode(flag: str, mode: str, label: str, *allowed: str, container: bool = False) -> str:
    """A namespace mode that is one of ``allowed``, empty, or (with ``container``) ``container:NAME``."""
    joins = container and mode.startswith("container:") and len(mode) > len("container:")
    if mode and mode not in allowed and not joins:
        raise errors.InvalidArgument(f"--{flag}: invalid {label} mode")
    return mode


class SecurityOptions:
    """``--security-opt``, with profiles read from their files; ``systempaths=unconfined`` set apart."""

    __slots__ = ("options", "system_paths_unconfined")

    def __init__(self, given: Iterable[str]) -> None:
        self.options: list[str] = []
        self.system_paths_unconfined = False
        for text in given:
            self._take(text)

    def _take(self, text: str) -> None:
        if text == "systempaths=unconfined":
            self.system_paths_unconfined = True
            return
        separator = "=" if "=" in text else ":"
        name, found, value = text.partition(separator)
        if name == "no-new-privileges":
            if found:
                _check_bool(text, value)
            self.options.append(text.replace(":", "=", 1))
        elif name == "seccomp" and found:
            self.options.append(f"seccomp={value if value in ('unconfined', 'builtin') else _profile(value)}")
        elif name in ("apparmor", "label") and found:
            self.options.append(f"{name}={value}")
        else:
            raise errors.InvalidArgument(f"Invalid --security-opt: {go.quote(text)}")


def _check_bool(option: str, value: str) -> None:
    try:
        go.parse_bool(value)
    except ValueError as error:
        raise errors.InvalidArgument(f"Invalid --security-opt: {go.quote(option)}") from error


def _profile(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except OSError as error:
        reason = (error.strerror or "failed").lower()
        raise errors.InvalidArgument(
            f"opening seccomp profile ({path}) failed: open {path}: {reason}"
        ) from error
    try:
        return json.dumps(json.loads(text), separators=(",", ":"))
    except ValueError as error:
        raise errors.InvalidArgument(
            f"compacting json for seccomp profile ({path}) failed: {error}"
        ) from error
