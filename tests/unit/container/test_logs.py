"""Options of log drivers: Docker's names, values and refusals, and what is made of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mydocker.container import logs
from mydocker.container.config import Config, HostConfig, LogConfig
from mydocker.container.record import Record
from mydocker.container.store import Store
from mydocker.errors import Conflict, Error, InvalidArgument, NotSupported, Unavailable
from mydocker.monitor.plan import LogFiles, LogPlan

STORE = Store("/root-of-it", "/state-of-it")


def record(driver: str = "json-file", **options: str) -> Record:
    return Record(
        id="0123456789ab" + "0" * 52,
        created="",
        path="sleep",
        args=["9"],
        name="web",
        image="sha256:" + "f" * 64,
        config=Config(image="busybox", labels={"a": "1", "b": "2"}, env=["E=e", "F=f"]),
        host_config=HostConfig(
            log_config=LogConfig(
                type=driver, config={name.replace("_", "-"): value for name, value in options.items()}
            )
        ),
    )


def files(driver: str = "json-file", **options: str) -> LogFiles:
    asked = record(driver, **options)
    logs.check(asked.host_config.log_config)
    made = logs.plan(STORE, asked)
    assert made is not None
    assert made.files is not None
    return made.files


def test_rotation_is_on_by_default() -> None:
    found = files()
    assert (found.size, found.count, found.compress) == (10_000_000, 3, False)
    assert found.path == f"/root-of-it/container/{record().id}/log"
    local = files("local")
    assert (local.size, local.count, local.compress) == (20_000_000, 5, True)
    assert logs.plan(STORE, record("none")) is None


def test_sizes_and_numbers() -> None:
    found = files(max_size="1.5k", max_file="7", compress="true")
    assert (found.size, found.count, found.compress) == (1500, 7, True)
    assert files(max_size="-1").size == -1
    assert not files("local", max_file="1").compress


def test_what_goes_with_each_line() -> None:
    assert files(labels="a,none", env="F").attributes == '{"a":"1","F":"f"}'
    assert files(labels_regex="^[b-z]$").attributes == '{"b":"2"}'
    assert files(env_regex="E|F").attributes == '{"E":"e","F":"f"}'
    assert files(tag="{{.Name}}/{{ .ID }}").attributes == '{"tag":"web/0123456789ab"}'
    assert files(tag="{{.ImageName}} {{.Command}}").attributes == '{"tag":"busybox sleep 9"}'


def test_a_process_of_its_own_where_somebody_may_have_to_be_waited_for() -> None:
    plan = logs.plan(STORE, record(mode="non-blocking", max_buffer_size="64k"))
    assert isinstance(plan, LogPlan)
    assert (plan.pumped, plan.buffer) == (True, 65536)
    plan = logs.plan(STORE, record(mode="non-blocking"))
    assert isinstance(plan, LogPlan)
    assert plan.buffer == 1 << 20
    plan = logs.plan(STORE, record(mode="blocking"))
    assert isinstance(plan, LogPlan)
    assert not plan.pumped


@pytest.mark.parametrize(
    ("driver", "options", "error", "message"),
    [
        ("fluentd", {}, NotSupported, "log driver fluentd is not built yet (use one of json-file, "),
        ("odd", {}, InvalidArgument, 'error looking up logging plugin odd: plugin "odd" not found'),
        ("json-file", {"x": "1"}, InvalidArgument, "unknown log opt 'x' for json-file log driver"),
        ("local", {"tag": "x"}, InvalidArgument, "unknown log opt 'tag' for log driver local"),
        ("none", {"max-size": "1m"}, InvalidArgument, "unknown log opt 'max-size' for none log driver"),
        ("json-file", {"mode": "odd"}, InvalidArgument, "logger: logging mode not supported: odd"),
        (
            "json-file",
            {"max-buffer-size": "1m"},
            InvalidArgument,
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
        ),
        ("json-file", {"max-size": "big"}, InvalidArgument, "invalid size: 'big'"),
        ("json-file", {"max-size": "0"}, InvalidArgument, "max-size must be a positive number"),
        ("json-file", {"max-file": "0"}, InvalidArgument, "max-file cannot be less than 1"),
        ("json-file", {"max-file": "x"}, InvalidArgument, "invalid value for max-file: x"),
        (
            "json-file",
            {"max-file": "1", "compress": "true"},
            InvalidArgument,
            "compress cannot be true when max-file is less than 2 or max-size is not set",
        ),
        ("json-file", {"compress": "maybe"}, InvalidArgument, "invalid value for compress: maybe"),
        ("json-file", {"tag": "{{.Nope}}"}, InvalidArgument, "invalid log tag '{{.Nope}}'"),
        ("json-file", {"tag": "{{.ID}} {{"}, InvalidArgument, "invalid log tag '{{.ID}} {{': unclosed"),
        ("json-file", {"labels-regex": "("}, InvalidArgument, "error parsing option labels-regex"),
        ("syslog", {"syslog-address": "http://x"}, InvalidArgument, "unsupported scheme: 'http'"),
        ("syslog", {"syslog-address": "x"}, InvalidArgument, "should be in form proto://address, got x"),
        ("syslog", {"syslog-address": "tcp+tls://x"}, NotSupported, "syslog is sent without TLS"),
        ("syslog", {"syslog-tls-key": "x"}, NotSupported, "syslog is sent without TLS"),
        ("syslog", {"syslog-facility": "odd"}, InvalidArgument, "invalid syslog facility"),
        ("syslog", {"syslog-format": "odd"}, InvalidArgument, "Invalid syslog format"),
    ],
)
def test_refusals(driver: str, options: dict[str, str], error: type[Error], message: str) -> None:
    with pytest.raises(error) as caught:
        logs.check(LogConfig(type=driver, config=options))
    assert message in str(caught.value)


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"failed to initialize logging driver: /.*: no such file"):
        logs.plan(STORE, record("syslog", syslog_address=f"unix://{tmp_path}/none"))


def test_what_cannot_be_read() -> None:
    for asked in (record("none"), record("syslog", cache_disabled="true")):
        with pytest.raises(Conflict, match="configured logging driver does not support reading"):
            logs.path(STORE, asked)
    assert logs.path(STORE, record("journald")).endswith("/log")
