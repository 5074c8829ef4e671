"""Options of the driver ``local``: what can be, and where the files are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mydocker import errors
from mydocker.volume import local

TMPFS = {"type": "tmpfs", "device": "tmpfs"}


@pytest.mark.parametrize(
    ("options", "source", "bind", "lasting"),
    [
        ({}, False, False, True),
        (TMPFS, True, False, False),
        ({"type": "none", "o": "bind", "device": "/a"}, True, True, True),
        ({"type": "none", "o": "ro,rbind", "device": "/a"}, True, True, True),
        ({"type": "ext4", "o": "noatime", "device": "/dev/x"}, True, False, True),
    ],
)
def test_where_the_files_are(options: dict[str, str], source: bool, bind: bool, lasting: bool) -> None:
    found = local.has_source(options), local.is_bind(options), local.is_lasting(options)
    assert found == (source, bind, lasting)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"odd": "1"}, 'create v: invalid option: "odd"'),
        ({"type": "tmpfs"}, 'create v: missing required option: "device"'),
        ({"device": "/x"}, 'create v: missing required option: "type"'),
        ({"o": "ro", "device": "/x"}, 'create v: missing required option: "type"'),
        ({"size": "1g"}, "create v: quota size requested but no quota support"),
        ({**TMPFS, "size": "-1"}, "create v: invalid size: '-1'"),
        ({**TMPFS, "size": "1x"}, "create v: invalid size: '1x'"),
        (
            {"type": "none", "o": "bind", "device": "./data"},
            "create v: a bind needs an absolute path: device=./data",
        ),
        ({"type": "cifs", "device": "//nas:445/share"}, "create v: port not allowed in CIFS device URL"),
    ],
)
def test_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(errors.InvalidArgument) as caught:
        local.check("v", options)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "size"), [("10", 10), ("1k", 1024), ("1.5M", 3 << 19), ("2gb", 2 << 30), ("3 MiB", 3 << 20)]
)
def test_sizes(text: str, size: int) -> None:
    assert local.parse_size("v", text) == size


@pytest.mark.root
def test_opened() -> None:
    options = {**TMPFS, "size": "1m", "o": "mode=700,noexec,nr_inodes=100"}
    local.check("v", options)
    with local.opened(options, "/v/_data") as directory:
        room = os.statvfs(directory)
        assert room.f_blocks * room.f_frsize == 1 << 20
        assert room.f_files == 100
        assert room.f_flag & os.ST_NOEXEC
        assert os.stat(directory).st_mode & 0o7777 == 0o700
        os.mkdir("made", dir_fd=directory)
    with local.opened(options, "/v/_data") as directory:
        assert os.listdir(directory) == [], "another one"


@pytest.mark.root
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({**TMPFS, "o": "nonsense=1"}, errors.InvalidArgument, "mount tmpfs:/v/_data: invalid argument"),
        ({"type": "ext4", "device": "/no/such"}, errors.NotFound, "mount /no/such:/v/_data: no such file"),
        ({"type": "none", "o": "bind", "device": "/no/such"}, errors.NotFound, "no such file or directory"),
    ],
)
def test_not_mounted(options: dict[str, str], error: type[errors.Error], message: str) -> None:
    with pytest.raises(error) as caught, local.opened(options, "/v/_data"):
        pass
    assert str(caught.value).startswith(
        "error while mounting volume '/v/_data': failed to mount local volume: "
    )
    assert message in str(caught.value)


@pytest.mark.root
def test_a_bind_has_no_options_of_a_file_system(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    options = {"type": "none", "o": "bind,uid=1000,sync,noexec", "device": str(tmp_path)}
    local.check("v", options)
    with local.opened(options, "/v/_data") as path:
        assert os.listdir(path) == ["file"]
        assert os.statvfs(path).f_flag & os.ST_NOEXEC


def test_values_that_the_kernel_would_not_read() -> None:
    options = {"type": "overlay", "device": "overlay", "o": f"lowerdir={'/a:' * 100}/b"}
    with pytest.raises(errors.NotSupported, match=r"^create v: lowerdir is longer than the 255 bytes"):
        local.check("v", options)


@pytest.mark.parametrize(
    ("device", "o", "data"),
    [
        ("//127.0.0.2/share", "user=me", ["user=me", "addr=127.0.0.2"]),
        ("//[::1]/share", "user=me", ["user=me", "addr=::1"]),
        ("//nas.invalid/share", "addr=127.0.0.2", ["addr=127.0.0.2"]),
        ("//nas.invalid/share", "ip=127.0.0.2", ["ip=127.0.0.2"]),
    ],
)
def test_the_server_of_a_share(device: str, o: str, data: list[str]) -> None:
    options = {"type": "cifs", "device": device, "o": o}
    assert local._data(options, local._parsed("", options)) == data


def test_the_name_of_the_server_of_a_share() -> None:
    options = {"type": "cifs", "device": "//localhost/share"}
    assert local._data(options, local._parsed("", options)) in (["addr=127.0.0.1"], ["addr=::1"])


def test_addresses_of_servers() -> None:
    """The kernel wants an address where a person may give a name."""
    assert local._resolved("addr=localhost") in ("addr=127.0.0.1", "addr=::1")
    assert local._resolved("rw") == "rw"
    with pytest.raises(errors.NotFound, match="error resolving passed in network volume address"):
        local._resolved("addr=no such name")
