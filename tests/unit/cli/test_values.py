"""The syntax of each flag's value, and Docker's words for what is wrong with it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mydocker import errors
from mydocker.cli.flags import environment, filter, go, host, keys, limit, mount, network, size, timestamp
from mydocker.cli.flags.network import Attachment
from mydocker.container.config import (
    BindOptions,
    DeviceMapping,
    Mount,
    ThrottleDevice,
    TmpfsOptions,
    Ulimit,
    WeightDevice,
)

GOOD: list[tuple[Callable[[str], Any], str, Any]] = [
    (size.parse_size, "64m", 64 << 20),
    (size.parse_size, "64M", 64 << 20),
    (size.parse_size, "1.5g", 3 << 29),
    (size.parse_size, ".5k", 512),
    (size.parse_size, "5.k", 5120),
    (size.parse_size, "5 m", 5 << 20),
    (size.parse_size, "5kib", 5120),
    (size.parse_size, "5KB", 5120),
    (size.parse_size, "5b", 5),
    (size.parse_size, "1e3", 1000),
    (size.parse_size, "1p", 1 << 50),
    (size.parse_size, "0", 0),
    (size.parse_swap, "-1", -1),
    (size.parse_swap, "1g", 1 << 30),
    (size.parse_cpus, "0.5", 500_000_000),
    (size.parse_cpus, "3/2", 1_500_000_000),
    (size.parse_cpus, ".25", 250_000_000),
    (size.parse_cpus, "2", 2_000_000_000),
    (size.parse_cpus, "0.0001", 100_000),
    (go.parse_int, "0x10", 16),
    (go.parse_int, "010", 8),
    (go.parse_int, "0b11", 3),
    (go.parse_int, "1_000", 1000),
    (go.parse_int, "-5", -5),
    (go.parse_duration, "1h30m", 5400 * 10**9),
    (go.parse_duration, "1.5s", 1_500_000_000),
    (go.parse_duration, "-2ms", -2_000_000),
    (go.parse_duration, "0", 0),
    (environment.parse_env, "A=b=c", "A=b=c"),
    (environment.parse_env, "A=", "A="),
    (environment.parse_label, "a", "a"),
    (limit.parse_ulimit, "nofile=5", Ulimit(name="nofile", soft=5, hard=5)),
    (limit.parse_ulimit, "nproc=1:2", Ulimit(name="nproc", soft=1, hard=2)),
    (limit.parse_ulimit, "core=-1", Ulimit(name="core", soft=-1, hard=-1)),
    (limit.parse_ulimit, "core=5:-1", Ulimit(name="core", soft=5, hard=-1)),
    (limit.parse_sysctl, "net.ipv4.ip_forward=1", "net.ipv4.ip_forward=1"),
    (limit.parse_sysctl, "kernel.shmmax=1", "kernel.shmmax=1"),
    (limit.parse_weight_device, "/dev/sda:300", WeightDevice(path="/dev/sda", weight=300)),
    (limit.parse_throttle_bps, "/dev/sda:1mb", ThrottleDevice(path="/dev/sda", rate=1 << 20)),
    (limit.parse_throttle_iops, "/dev/sda:10", ThrottleDevice(path="/dev/sda", rate=10)),
    (host.parse_device, "/dev/a", DeviceMapping(path_on_host="/dev/a", path_in_container="/dev/a")),
    (host.parse_device, "/dev/a:/b", DeviceMapping(path_on_host="/dev/a", path_in_container="/b")),
    (host.parse_device, "/dev/a:rw",
     DeviceMapping(path_on_host="/dev/a", path_in_container="/dev/a", cgroup_permissions="rw")),
    (host.parse_device, "/dev/a:/b:m",
     DeviceMapping(path_on_host="/dev/a", path_in_container="/b", cgroup_permissions="m")),
    (host.parse_device_rule, "c 1:2 rwm", "c 1:2 rwm"),
    (host.parse_device_rule, "a *:* r", "a *:* r"),
    (host.parse_stream, "STDIN", "stdin"),
    (host.parse_extra_host, "a:1.2.3.4", "a:1.2.3.4"),
    (host.parse_extra_host, "b=::1", "b:::1"),
    (host.parse_extra_host, "c:::1", "c:::1"),
    (host.parse_extra_host, "d=[::1]", "d:::1"),
    (host.parse_extra_host, "e:host-gateway", "e:host-gateway"),
    (network.parse_network, "none", Attachment("none")),
    (network.parse_network, "name=host", Attachment("host")),
    (network.parse_network, "container:x", Attachment("container:x")),
    (network.parse_network, "name=a,alias=b,alias=c,ip=10.0.0.2,ip6=fd00::2,mac-address=02:00:00:00:00:01",
     Attachment("a", ("b", "c"), "10.0.0.2", "fd00::2", "02:00:00:00:00:01")),
    (network.parse_address, "0010::1", "10::1"),
    (mount.parse_tmpfs, "/a:size=5", ("/a", "size=5")),
    (mount.parse_tmpfs, "/b", ("/b", "")),
    (mount.parse_mount, "type=bind,src=/a,dst=/b,ro",
     Mount(type="bind", source="/a", target="/b", read_only=True)),
    (mount.parse_mount, "type=BIND,source=/a,destination=/x,readonly=0",
     Mount(type="bind", source="/a", target="/x")),
    (mount.parse_mount, 'type=bind,"source=/a,b",target=/x', Mount(type="bind", source="/a,b", target="/x")),
    (mount.parse_mount, "type=tmpfs,target=/b,tmpfs-size=1m,tmpfs-mode=1770",
     Mount(type="tmpfs", target="/b", tmpfs_options=TmpfsOptions(size_bytes=1 << 20, mode=0o1770))),
    (keys.parse_keys, "", b"\x10\x11"),
    (keys.parse_keys, "ctrl-p,ctrl-q", b"\x10\x11"),
    (keys.parse_keys, "a,ctrl-@,ctrl-],ctrl-_", b"a\x00\x1d\x1f"),
    (filter.parse_filter, "label=a=b", ("label", "a=b")),
]  # fmt: skip

BAD: list[tuple[Callable[[str], Any], str, str]] = [
    (size.parse_size, "4bogus", "invalid suffix: 'bogus'"),
    (size.parse_size, "bogus", "invalid size: 'bogus'"),
    (size.parse_size, "", "invalid size: ''"),
    (size.parse_size, "-5", "invalid size: '-5'"),
    (size.parse_size, "5ib", "invalid suffix: 'ib'"),
    (size.parse_size, "1.2.3m", "invalid size: '1.2.3m'"),
    (size.parse_swap, "-2", "invalid size: '-2'"),
    (size.parse_cpus, "a", "failed to parse a as a rational number"),
    (size.parse_cpus, "1/0", "failed to parse 1/0 as a rational number"),
    (size.parse_cpus, "1/3", "value is too precise"),
    (size.parse_cpus, "0.0000000001", "value is too precise"),
    (go.parse_int, "1__0", 'strconv.ParseInt: parsing "1__0": invalid syntax'),
    (go.parse_int, "99999999999999999999",
     'strconv.ParseInt: parsing "99999999999999999999": value out of range'),
    (go.parse_uint, "-1", 'strconv.ParseUint: parsing "-1": invalid syntax'),
    (go.parse_duration, "", 'time: invalid duration ""'),
    (go.parse_duration, "5", 'time: missing unit in duration "5"'),
    (go.parse_duration, "5y", 'time: unknown unit "y" in duration "5y"'),
    (environment.parse_env, "=x", "invalid environment variable: =x"),
    (environment.parse_env, "", "invalid environment variable: "),
    (environment.parse_label, "=x", "invalid label '=x': empty name"),
    (limit.parse_ulimit, "x", "invalid ulimit argument: x"),
    (limit.parse_ulimit, "foo=5", "invalid ulimit type: foo"),
    (limit.parse_ulimit, "nofile=a", 'strconv.ParseInt: parsing "a": invalid syntax'),
    (limit.parse_ulimit, "nofile=5:3", "ulimit soft limit must be less than or equal to hard limit: 5 > 3"),
    (limit.parse_ulimit, "nofile=-1:5",
     "ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), hard: 5"),
    (limit.parse_ulimit, "nofile=1:2:3",
     "too many limit value arguments - 1:2:3, can only have up to two, `soft[:hard]`"),
    (limit.parse_sysctl, "kernel.hostname=x", "sysctl 'kernel.hostname=x' is not allowed"),
    (limit.parse_sysctl, "kernel.shmmax", "sysctl 'kernel.shmmax' is not allowed"),
    (limit.parse_weight_device, "x", "bad format: x"),
    (limit.parse_weight_device, "sda:500", "bad format for device path: sda:500"),
    (limit.parse_weight_device, "/dev/sda:5", "invalid weight for device: /dev/sda:5"),
    (limit.parse_throttle_bps, "/dev/sda:x",
     "invalid rate for device: /dev/sda:x. The correct format is <device-path>:<number>[<unit>]. "
     "Number must be a positive integer. Unit is optional and can be kb, mb, or gb"),
    (limit.parse_throttle_iops, "/dev/sda:-1",
     "invalid rate for device: /dev/sda:-1. The correct format is <device-path>:<number>. "
     "Number must be a positive integer"),
    (host.parse_device_rule, "d *:* r", "invalid device cgroup format 'd *:* r'"),
    (host.parse_stream, "foo", "valid streams are STDIN, STDOUT and STDERR"),
    (host.parse_extra_host, "x", 'bad format for add-host: "x"'),
    (host.parse_extra_host, "a:b", 'invalid IP address in add-host: "b"'),
    (network.parse_network, "foo=a", "invalid field key foo"),
    (network.parse_network, "alias=a", "network name/id is not specified"),
    (network.parse_network, "", "network name is required"),
    (network.parse_network, "name=a,b", "invalid field b"),
    (network.parse_address, "1.2.3", "IP address is not correctly formatted: 1.2.3"),
    (mount.parse_mount, "x", "invalid field 'x' must be a key=value pair"),
    (mount.parse_mount, "type=bind", "target is required"),
    (mount.parse_mount, "type=,target=/x", "type is required"),
    (mount.parse_mount, "type=bind,foo=b", "unexpected key 'foo' in 'foo=b'"),
    (mount.parse_mount, "type=bind,source=a,target=/x,readonly=foo", "invalid value for readonly: foo"),
    (mount.parse_mount, "type=tmpfs,target=/b,tmpfs-mode=9", "invalid value for tmpfs-mode: 9"),
    (mount.parse_mount, "type=bind,source=/a,target=/x,volume-nocopy",
     "cannot mix 'volume-*' options with mount type 'bind'"),
    (mount.parse_mount, "type=tmpfs,target=/b,bind-propagation=shared",
     "cannot mix 'bind-*' options with mount type 'tmpfs'"),
    (filter.parse_filter, "foo", "bad format of filter (expected name=value)"),
]  # fmt: skip


def _name(value: object) -> str | None:
    return getattr(value, "__name__", None) or (value if isinstance(value, str) else None)


@pytest.mark.parametrize(("parse", "text", "value"), GOOD, ids=_name)
def test_taken(parse: Callable[[str], Any], text: str, value: Any) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(("parse", "text", "message"), BAD, ids=_name)
def test_refused(parse: Callable[[str], Any], text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        parse(text)


@pytest.mark.parametrize(
    ("parse", "text", "message"),
    [
        (host.parse_device, "/dev/a:/b:c:d", "bad format for path: /dev/a:/b:c:d"),
        (host.parse_device, "/dev/a:/b:x", "bad mode specified: x"),
        (host.parse_device, "/dev/a:/b:rr", "bad mode specified: rr"),
        (host.parse_memory_swappiness, "200", "invalid value: 200. Valid memory swappiness range is 0-100"),
        (keys.parse_keys, "foo", "invalid detach keys (foo) provided: unknown character: 'foo'"),
        (keys.parse_keys, "ctrl-P", "invalid detach keys (ctrl-P) provided: unknown character: 'ctrl-P'"),
    ],
)
def test_refused_after_all_flags_are_read(parse: Callable[[str], Any], text: str, message: str) -> None:
    with pytest.raises(errors.InvalidArgument) as error:
        parse(text)
    assert str(error.value) == message


def test_environment_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYDOCKER_TEST_VALUE", "here")
    monkeypatch.delenv("MYDOCKER_TEST_ABSENT", raising=False)
    assert environment.parse_env("MYDOCKER_TEST_VALUE") == "MYDOCKER_TEST_VALUE=here"
    assert environment.parse_env("MYDOCKER_TEST_ABSENT") == "MYDOCKER_TEST_ABSENT"


def test_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYDOCKER_TEST_VALUE", "here")
    file = tmp_path / "env"
    file.write_bytes(
        b'\xef\xbb\xbfA=1\n# no\n\n  B= 2 \nMYDOCKER_TEST_VALUE\nMYDOCKER_TEST_ABSENT\nC="q"\r\nD='
    )
    assert environment.read_env_files([str(file)]) == [
        "A=1", "B= 2 ", "MYDOCKER_TEST_VALUE=here", 'C="q"', "D=",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"A B=c\n", "variable 'A B' contains whitespaces"),
        (b"=x\n", "no variable name on line '=x'"),
        (b"ok=1\n\xff=x\n", "invalid utf8 bytes at line 2"),
    ],
)
def test_bad_env_file(tmp_path: Path, content: bytes, complaint: str) -> None:
    file = tmp_path / "env"
    file.write_bytes(content)
    with pytest.raises(errors.InvalidArgument) as error:
        environment.read_env_files([str(file)])
    assert str(error.value) == f"invalid env file ({file}): {complaint}"


def test_absent_files_are_named() -> None:
    for read in (environment.read_env_files, environment.read_label_files):
        with pytest.raises(errors.InvalidArgument, match="open /no/such: no such file or directory"):
            read(["/no/such"])
    with pytest.raises(
        errors.InvalidArgument, match=r"opening seccomp profile \(/no/such\) failed: open /no/such: no"
    ):
        host.SecurityOptions(["seccomp=/no/such"])


def test_volumes() -> None:
    relative = mount.parse_volume("./a:/x")
    assert relative == f"{os.getcwd()}/a:/x"
    assert mount.split_volumes(["/a:/b:ro", "/c"]) == (["/a:/b:ro"], ["/c"])
    assert mount.split_volumes(["name:/x"]) == (["name:/x"], [])
    assert mount.split_volumes(["a:/x", "a:/x", "b:/x"]) == (["a:/x", "b:/x"], [])
    for malformed in (":/x", "/a:", "/a::ro"):
        with pytest.raises(errors.InvalidArgument, match=f"^invalid spec: {malformed}: empty section"):
            mount.split_volumes([malformed])
    with pytest.raises(errors.InvalidArgument, match=r"^invalid spec: /a:/b:c:d: too many colons$"):
        mount.split_volumes(["/a:/b:c:d"])
    with pytest.raises(errors.InvalidArgument, match=r"^invalid empty volume spec$"):
        mount.split_volumes([""])
    for hidden in (".", ".cache", ".env", "..a", "..", "./b/../c"):
        assert mount.parse_volume(f"{hidden}:/x:ro") == f"{os.path.abspath(hidden)}:/x:ro"
        assert mount.parse_mount(f"type=bind,src={hidden},dst=/x").source == os.path.abspath(hidden)
    assert mount.parse_mount("source=name,target=/x").source == "name"


def test_mount_options_of_volumes() -> None:
    parsed = mount.parse_mount(
        "src=a,dst=/v,volume-nocopy,volume-label=x=y,volume-opt=type=tmpfs,volume-opt=device=tmpfs,"
        "volume-driver=local,volume-subpath=sub"
    )
    assert parsed.volume_options is not None
    assert (parsed.volume_options.no_copy, parsed.volume_options.subpath) == (True, "sub")
    assert parsed.volume_options.labels == {"x": "y"}
    assert parsed.volume_options.driver_config is not None
    assert parsed.volume_options.driver_config.name == "local"
    assert parsed.volume_options.driver_config.options == {"type": "tmpfs", "device": "tmpfs"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "bind-recursive=odd",
            'odd .must be "enabled", "disabled", "writable", or "readonly"',
        ),
        ("bind-recursive=writable", "'bind-recursive=writable' requires 'readonly' to be specified"),
        ("ro,bind-recursive=readonly", "requires 'bind-propagation=rprivate' to be specified"),
        ("idmap=1000", "invalid value for idmap: invalid idmap: '1000'"),
        ("idmap=u:1:2", "it has no group ids"),
        ("idmap=0:0:10;5:20", "ranges of user ids overlap"),
        ("idmap=0:0:4294967296", "ids are in the range 0-4294967294"),
        ("volume-subpath=x", "cannot mix 'volume-[*]' options with mount type 'bind'"),
    ],
)
def test_mount_options_of_binds_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mount.parse_mount(f"type=bind,src=/a,dst=/b,{text}")


def test_mount_options_of_binds() -> None:
    def options(text: str) -> BindOptions | None:
        return mount.parse_mount(f"type=bind,src=/a,dst=/b,{text}").bind_options

    assert options("bind-recursive=enabled") is None
    assert options("bind-recursive=disabled") == BindOptions(non_recursive=True)
    assert options("ro,bind-recursive=writable") == BindOptions(read_only_non_recursive=True)
    assert options("ro,bind-recursive=readonly,bind-propagation=rprivate") == BindOptions(
        propagation="rprivate", read_only_force_recursive=True
    )
    assert options("idmap") == options("idmap=true") == options("idmap=owner") == BindOptions(id_map="owner")
    assert options("idmap=1000:0;u:5:5:2") == BindOptions(id_map="1000:0;u:5:5:2")


def test_security_options(tmp_path: Path) -> None:
    profile = tmp_path / "profile.json"
    profile.write_text('{ "defaultAction": "SCMP_ACT_ALLOW" }\n')
    options = host.SecurityOptions(
        ["no-new-privileges:true", f"seccomp={profile}", "systempaths=unconfined", "seccomp=unconfined"]
    )
    assert options.options == [
        "no-new-privileges=true",
        'seccomp={"defaultAction":"SCMP_ACT_ALLOW"}',
        "seccomp=unconfined",
    ]
    assert options.system_paths_unconfined
    for bad in ("foo", "no-new-privileges:maybe"):
        with pytest.raises(errors.InvalidArgument, match="Invalid --security-opt"):
            host.SecurityOptions([bad])
    profile.write_text("not json")
    with pytest.raises(errors.InvalidArgument, match="compacting json for seccomp profile"):
        host.SecurityOptions([f"seccomp={profile}"])


def test_exposed_ports() -> None:
    assert list(host.exposed_ports(["80", "90-91/udp"])) == ["80/tcp", "90/udp", "91/udp"]
    for bad in ("foo", "90-80", "1:2"):
        with pytest.raises(errors.InvalidArgument, match="--expose"):
            host.exposed_ports([bad])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("42m", 1000 - 42 * 60),
        ("0", 0),
        ("1357133017.5", 1357133017.5),
        ("2013-01-02T13:23:37Z", 1357133017),
        ("2013-01-02T13:23:37.25Z", 1357133017.25),
        ("2013-01-02T14:23:37+01:00", 1357133017),
    ],
)
def test_points_in_time(text: str, expected: float | None) -> None:
    assert timestamp.parse_timestamp("since", text, 1000) == expected


@pytest.mark.parametrize("text", ["yesterday", "2013-13-40T00:00:00Z"])
def test_no_points_in_time(text: str) -> None:
    with pytest.raises(errors.InvalidArgument, match='invalid value for "since"'):
        timestamp.parse_timestamp("since", text, 1000)
