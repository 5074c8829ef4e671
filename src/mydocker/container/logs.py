"""Log drivers: their options in Docker's words, and what they make a monitor write.

    json-file   files in the container's directory; here with rotation by default (10 MB, 3 files)
    local       the same with Docker's defaults for it (20 MB, 5 files, compressed)
    journald    systemd's journal
    syslog      a socket, UDP or TCP
    none        nothing

journald and syslog keep a copy here that ``logs`` reads, as in Docker (``cache-disabled=true``: none). What
the monitor does with the plan is in ``monitor/log_sink.py`` and below; reading is in ``monitor/log.py``.
"""

from __future__ import annotations

import json
import os
import re
from urllib.parse import urlsplit

from ..errors import Conflict, InvalidArgument, NotSupported, Unavailable
from ..monitor import client, log_file, log_remote
from ..monitor.plan import LogFiles, LogPlan, LogRemote
from ..monitor.protocol import ControlRequest
from .config import LogConfig
from .record import Record
from .store import Store

DRIVERS = ("json-file", "local", "journald", "syslog", "none")
_OF_DOCKER = ("awslogs", "fluentd", "gcplogs", "gelf", "splunk")

_EXTRA = {"labels", "labels-regex", "env", "env-regex", "tag"}
_FILES = {"max-size", "max-file", "compress"}
_CACHE = {"cache-disabled", "cache-max-size", "cache-max-file", "cache-compress"}
_SYSLOG = {"syslog-address", "syslog-facility", "syslog-format"}
_TLS = {"syslog-tls-ca-cert", "syslog-tls-cert", "syslog-tls-key", "syslog-tls-skip-verify"}
_OPTIONS = {
    "json-file": _FILES | _EXTRA,
    "local": _FILES,
    "journald": _EXTRA | _CACHE,
    "syslog": _EXTRA | _CACHE | _SYSLOG | _TLS,
    "none": set[str](),
}
_DEFAULTS = {"json-file": ("10m", "3", "false")}
_LOCAL = ("20m", "5", "true")
_BUFFER = 1 << 20
_JOURNAL = "/run/systemd/journal/socket"
_DEV_LOG = ("/dev/log", "/var/run/syslog", "/var/run/log")
_FORMATS = ("", "rfc3164", "rfc5424", "rfc5424micro")
_FACILITIES = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "-",
    "-", "-", "-", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
]  # fmt: skip
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kKmMgGtTpP]?)[iI]?[bB]?")
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}


def check(asked: LogConfig) -> None:
    """``InvalidArgument`` for a driver or an option that does not exist, or a value that it cannot have."""
    if asked.type in _OF_DOCKER:
        raise NotSupported(f"log driver {asked.type} is not built yet (use one of {', '.join(DRIVERS)})")
    if asked.type not in DRIVERS:
        raise InvalidArgument(
            f'error looking up logging plugin {asked.type}: plugin "{asked.type}" not found '
            f"(use one of {', '.join(DRIVERS)})"
        )
    options = asked.config
    for name in options:
        if name not in _OPTIONS[asked.type] | {"mode", "max-buffer-size"}:
            which = "log driver local" if asked.type == "local" else f"{asked.type} log driver"
            raise InvalidArgument(f"unknown log opt '{name}' for {which}")
        if name in _TLS:
            raise NotSupported(f"log opt '{name}' is not built yet: syslog is sent without TLS")
    mode = options.get("mode", "")
    if mode not in ("", "blocking", "non-blocking"):
        raise InvalidArgument(f"logger: logging mode not supported: {mode}")
    if "max-buffer-size" in options:
        if mode != "non-blocking":
            raise InvalidArgument("logger: max-buffer-size option is only supported with 'mode=non-blocking'")
        _size(options, "max-buffer-size", "1m", binary=True)
    _files(asked, "", "")
    if asked.type == "syslog":
        _address(options.get("syslog-address", ""))
        _facility(options.get("syslog-facility", ""))
        if options.get("syslog-format", "") not in _FORMATS:
            raise InvalidArgument("Invalid syslog format")
    for name in ("labels-regex", "env-regex"):
        try:
            re.compile(options.get(name, ""))
        except re.error as error:
            raise InvalidArgument(f"error parsing option {name}: {error}") from None
    _template(options.get("tag", ""), {})


def plan(store: Store, record: Record) -> LogPlan | None:
    """What the monitor is to do; ``Unavailable`` if who is to get the lines is not there."""
    asked = record.host_config.log_config
    if asked.type == "none":
        return None
    attributes = _attributes(record)
    files = _files(
        asked,
        f"{store.directory(record.id)}/log",
        json.dumps(attributes, separators=(",", ":")) if attributes and asked.type == "json-file" else "",
    )
    remote = _remote(record, attributes) if asked.type in ("journald", "syslog") else None
    if remote is not None:
        try:
            log_remote.connect(remote).close()
        except OSError as error:
            if remote.journal:
                raise Unavailable(
                    "failed to initialize logging driver: journald is not enabled on this host"
                ) from error
            reason = (error.strerror or str(error)).lower()
            raise Unavailable(f"failed to initialize logging driver: {remote.address}: {reason}") from error
    waits = asked.config.get("mode") != "non-blocking"
    buffer = 0 if waits else _size(asked.config, "max-buffer-size", str(_BUFFER), binary=True)
    return LogPlan(files=files, remote=remote, buffer=buffer, pumped=remote is not None or not waits)


def path(store: Store, record: Record) -> str:
    """Where its lines can be read; ``Conflict`` if they are kept nowhere."""
    asked = record.host_config.log_config
    if asked.type == "none" or _files(asked, "", "") is None:
        raise Conflict("configured logging driver does not support reading")
    return f"{store.directory(record.id)}/log"


def clear(store: Store, record: Record) -> None:
    """Forget what it has written so far: its monitor does that, or if there is none, this process."""
    place = path(store, record)
    try:
        with client.connect(store.run_directory(record.id)) as connection:
            client.control(connection, ControlRequest(clear=True))
        return
    except Unavailable:
        lock = store.lock(record.id)
    if lock is None:
        raise Conflict(f"container {record.id} is being started or removed by somebody else")
    log_file.clear(place)
    store.release(record.id, lock)


# -- options


def _files(asked: LogConfig, where: str, attributes: str) -> LogFiles | None:
    """The files of a driver, or of the copy that it keeps; None if it keeps none."""
    prefix = "cache-" if asked.type in ("journald", "syslog") else ""
    if asked.type == "none" or (prefix and _boolean(asked.config, "cache-disabled", "false")):
        return None
    size, count, compress = _DEFAULTS.get(asked.type, _LOCAL)
    if asked.config.get(f"{prefix}max-size") == "-1":
        limit = -1
    else:
        limit = _size(asked.config, f"{prefix}max-size", size)
    number = asked.config.get(f"{prefix}max-file", count)
    if not number.removeprefix("-").isdecimal():
        raise InvalidArgument(f"invalid value for {prefix}max-file: {number}")
    if int(number) < 1:
        raise InvalidArgument("max-file cannot be less than 1")
    packed = _boolean(asked.config, f"{prefix}compress", compress)
    if f"{prefix}compress" in asked.config and packed and (int(number) < 2 or limit == -1):
        raise InvalidArgument("compress cannot be true when max-file is less than 2 or max-size is not set")
    return LogFiles(
        path=where, size=limit, count=int(number), compress=packed and int(number) > 1, attributes=attributes
    )


def _boolean(options: dict[str, str], name: str, default: str) -> bool:
    value = options.get(name, default)
    if value.lower() not in ("true", "false", "1", "0", "t", "f"):
        raise InvalidArgument(f"invalid value for {name}: {value}")
    return value.lower() in ("true", "1", "t")


def _size(options: dict[str, str], name: str, default: str, *, binary: bool = False) -> int:
    """docker/go-units: thousands for files (``FromHumanSize``), 1024s for memory (``RAMInBytes``)."""
    text = options.get(name, default)
    match = _SIZE.fullmatch(text)
    if match is None:
        raise InvalidArgument(f"error parsing option {name}: invalid size: '{text}'")
    size = int(float(match[1]) * (1024 if binary else 1000) ** _POWERS[match[2].lower()])
    if size <= 0:
        raise InvalidArgument(f"{name} must be a positive number")
    return size


def _address(text: str) -> tuple[str, int, bool]:
    """Where to, port (0: a path), whether it is a stream. Docker's forms of ``syslog-address``."""
    if not text:
        return next((each for each in _DEV_LOG if os.path.exists(each)), _DEV_LOG[0]), 0, False
    if "://" not in text:
        raise InvalidArgument(f"syslog-address should be in form proto://address, got {text}")
    found = urlsplit(text)
    if found.scheme in ("unix", "unixgram"):
        if not found.path:
            raise InvalidArgument(f"syslog-address has no path: {text}")
        return found.path, 0, found.scheme == "unix"
    if found.scheme == "tcp+tls":
        raise NotSupported("syslog-address tcp+tls is not built yet: syslog is sent without TLS")
    if found.scheme not in ("udp", "tcp"):
        raise InvalidArgument(f"unsupported scheme: '{found.scheme}'")
    try:
        return found.hostname or "localhost", found.port or 514, found.scheme == "tcp"
    except ValueError as error:
        raise InvalidArgument(f"syslog-address {text}: {error}") from None


def _facility(text: str) -> int:
    if not text:
        return _FACILITIES.index("daemon")
    if text in _FACILITIES and text != "-":
        return _FACILITIES.index(text)
    if text.isdecimal() and int(text) < len(_FACILITIES):
        return int(text)
    raise InvalidArgument("invalid syslog facility")


# -- what goes with each line


def _attributes(record: Record) -> dict[str, str]:
    """Labels and variables that were asked for, and the tag if one was."""
    options, config = record.host_config.log_config.config, record.config
    variables = dict(each.split("=", 1) for each in config.env or () if "=" in each)
    found: dict[str, str] = {}
    for kind, known in (("labels", config.labels or {}), ("env", variables)):
        names = {name for name in options.get(kind, "").split(",") if name}
        pattern = options.get(f"{kind}-regex", "")
        for name in known:
            if name in names or (pattern and re.search(pattern, name)):
                found[name] = known[name]
    if options.get("tag"):
        found["tag"] = _tag(record, "")
    return found


def _tag(record: Record, default: str) -> str:
    return _template(
        record.host_config.log_config.config.get("tag") or default,
        {
            "ID": record.short_id,
            "FullID": record.id,
            "Name": record.name,
            "FullName": f"/{record.name}",
            "ImageID": record.image.removeprefix("sha256:")[:12],
            "ImageFullID": record.image,
            "ImageName": record.config.image,
            "Command": " ".join((record.path, *record.args)),
            "DaemonName": "mydocker",
            "Hostname": os.uname().nodename,
        },
    )


_TAG_FIELDS = frozenset(
    ("ID", "FullID", "Name", "FullName", "ImageID", "ImageFullID", "ImageName", "Command", "DaemonName",
     "Hostname")
)  # fmt: skip


def _template(text: str, values: dict[str, str]) -> str:
    """A tag with fields like ``{{.Name}}``; nothing else of Go's templates has a place in one."""

    def field(match: re.Match[str]) -> str:
        name = match[1].strip().removeprefix(".")
        if name not in _TAG_FIELDS or not match[1].strip().startswith("."):
            raise InvalidArgument(
                f"invalid log tag '{text}': {match[0]} is none of "
                + ", ".join(f"{{{{.{each}}}}}" for each in sorted(_TAG_FIELDS))
            )
        return values.get(name, "")

    written = re.sub(r"\{\{(.*?)\}\}", field, text)
    if "{{" in re.sub(r"\{\{.*?\}\}", "", text):
        raise InvalidArgument(f"invalid log tag '{text}': unclosed action")
    return written


def _remote(record: Record, attributes: dict[str, str]) -> LogRemote:
    options = record.host_config.log_config.config
    tag = _tag(record, "{{.ID}}")
    if record.host_config.log_config.type == "journald":
        fields = {
            "CONTAINER_ID": record.short_id,
            "CONTAINER_ID_FULL": record.id,
            "CONTAINER_NAME": record.name,
            "CONTAINER_TAG": tag,
            "IMAGE_NAME": record.config.image,
            "SYSLOG_IDENTIFIER": tag,
        }
        for name, value in attributes.items():
            if name != "tag":
                fields[re.sub(r"[^A-Z0-9]", "_", name.upper()).lstrip("_")] = value
        return LogRemote(address=_JOURNAL, journal=True, fields=fields)
    address, port, stream = _address(options.get("syslog-address", ""))
    return LogRemote(
        address=address,
        port=port,
        stream=stream,
        either=not options.get("syslog-address"),
        facility=_facility(options.get("syslog-facility", "")),
        format=options.get("syslog-format", ""),
        tag=tag,
    )
