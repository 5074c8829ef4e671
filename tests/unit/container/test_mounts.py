"""``-v``, ``--mount``, ``--tmpfs`` and VOLUME as one list; Docker's checks and messages."""

from __future__ import annotations

from pathlib import Path

import pytest

from mydocker.container import document, mounts
from mydocker.container.config import (
    BindOptions,
    Config,
    HostConfig,
    Mount,
    TmpfsOptions,
    VolumeOptions,
)
from mydocker.container.record import MountPoint
from mydocker.errors import InvalidArgument, NotSupported


@pytest.mark.parametrize(
    ("text", "rw", "propagation"),
    [
        ("/a:/b", True, "rprivate"),
        ("/a:/b:ro", False, "rprivate"),
        ("/a:/b:rw,rshared", True, "rshared"),
        ("/a:/b:slave,ro,z", False, "slave"),
        ("/a/../c//d:/b/./e/", True, "rprivate"),
    ],
)
def test_bind(text: str, rw: bool, propagation: str) -> None:
    point = mounts.parse_bind(text)
    assert (point.type, point.rw, point.propagation) == ("bind", rw, propagation)


def test_bind_paths_are_cleaned() -> None:
    point = mounts.parse_bind("/a/../c//d:/b/./e/")
    assert (point.source, point.destination) == ("/c/d", "/b/e")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("/a:ro", "invalid volume specification: '/a:ro'"),
        ("a:/x", "create a: volume name is too short, names should be at least two alphanumeric characters"),
        ("rel/ative:/x", 'create rel/ative: "rel/ative" includes invalid characters for a local volume name'),
        ("data:/x:rshared", "field BindOptions must not be specified"),
        ("data:/x:copy,nocopy", "invalid mode: copy,nocopy"),
        ("data:/x:copy", "invalid mode: copy"),
        ("/a:/b:nocopy", 'invalid mount config for type "bind": field VolumeOptions must not be specified'),
        ("/a:relative", "mount path must be absolute"),
        ("/a:/", "destination can't be '/'"),
        ("/a:/b:bogus", "invalid mode: bogus"),
        ("/a:/b:ro,rw", "invalid mode: ro,rw"),
        ("/a:/b:shared,slave", "invalid mode: shared,slave"),
        ("/a:/b:ro:x", "invalid volume specification: '/a:/b:ro:x'"),
        ("/a::ro", "invalid volume specification: '/a::ro'"),
    ],
)
def test_bind_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        mounts.parse_bind(text)
    assert message in str(caught.value)


def test_mount_bind(tmp_path: Path) -> None:
    point = mounts.parse_mount(
        Mount(
            type="bind",
            source=str(tmp_path),
            target="/x",
            read_only=True,
            bind_options=BindOptions(propagation="rslave", non_recursive=True),
        )
    )
    assert (point.rw, point.propagation, point.recursive) == (False, "rslave", False)


@pytest.mark.parametrize(
    ("mount", "message"),
    [
        (Mount(type="bind", source="/no/such", target="/x"), "bind source path does not exist: /no/such"),
        (
            Mount(type="bind", source="rel", target="/x"),
            "invalid mount path: 'rel' mount path must be absolute",
        ),
        (Mount(type="bind", target="/x"), "field Source must not be empty"),
        (Mount(type="bind", source="/", target=""), "field Target must not be empty"),
        (Mount(type="bind", source="/", target="x"), "invalid mount path: 'x' mount path must be absolute"),
        (
            Mount(type="bind", source="/", target="/x", bind_options=BindOptions(propagation="odd")),
            "invalid propagation mode: odd",
        ),
        (
            Mount(type="bind", source="/", target="/x", volume_options=VolumeOptions()),
            "field VolumeOptions must not be specified",
        ),
        (Mount(type="tmpfs", source="/a", target="/x"), "field Source must not be specified"),
        (
            Mount(type="tmpfs", target="/x", bind_options=BindOptions()),
            "field BindOptions must not be specified",
        ),
        (
            Mount(type="volume", target="/x", read_only=True),
            "must not set ReadOnly mode when using anonymous volumes",
        ),
        (
            Mount(type="volume", target="/x", volume_options=VolumeOptions(subpath="a")),
            "must not set Subpath when using anonymous volumes",
        ),
        (
            Mount(type="volume", source="data", target="/x", volume_options=VolumeOptions(subpath="a/../..")),
            "subpath must be a relative path within the volume",
        ),
        (Mount(type="npipe", target="/x"), "mount type unknown"),
    ],
)
def test_mount_refused(mount: Mount, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        mounts.parse_mount(mount)
    assert str(caught.value).startswith(f'invalid mount config for type "{mount.type}": {message}')


def test_mount_tmpfs() -> None:
    point = mounts.parse_mount(
        Mount(type="tmpfs", target="/t", tmpfs_options=TmpfsOptions(size_bytes=4096, mode=0o700))
    )
    assert point.options == ["noexec", "nosuid", "nodev", "size=4096", "mode=700"]


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("", ["noexec", "nosuid", "nodev"]),
        ("exec,size=64m", ["nosuid", "nodev", "exec", "size=64m"]),
        ("ro,mode=755", ["noexec", "nosuid", "nodev", "ro", "mode=755"]),
        ("size=1m,size=2m", ["noexec", "nosuid", "nodev", "size=2m"]),
        ("nodev", ["noexec", "nosuid", "nodev"]),
        ("defaults", ["noexec", "nosuid", "nodev"]),
        ("dirsync,mand,nomand", ["noexec", "nosuid", "nodev", "dirsync", "nomand"]),
        ("strictatime,nostrictatime,relatime,norelatime", ["noexec", "nosuid", "nodev"]),
        ("shared,rslave", ["noexec", "nosuid", "nodev", "rslave"]),
    ],
)
def test_tmpfs_options(text: str, options: list[str]) -> None:
    assert mounts.tmpfs_options(text) == options


@pytest.mark.parametrize("text", ["bogus", "size", "x=1", "rw=1"])
def test_tmpfs_options_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid tmpfs option"):
        mounts.tmpfs_options(text)


@pytest.mark.parametrize(
    ("config", "host"),
    [
        (Config(), HostConfig(binds=["/a:/x", "/b:/x/"])),
        (Config(), HostConfig(binds=["/a:/x"], tmpfs={"/x": ""})),
        (Config(), HostConfig(tmpfs={"/x": ""}, mounts=[Mount(type="tmpfs", target="//x")])),
    ],
)
def test_duplicates(config: Config, host: HostConfig) -> None:
    with pytest.raises(InvalidArgument, match=r"^Duplicate mount point: /x$"):
        mounts.mount_points(config, host)


def test_a_bind_takes_the_place_of_the_image_s_volume() -> None:
    points = mounts.mount_points(Config(volumes={"/data": {}, "/v": {}}), HostConfig(binds=["/a:/data"]))
    assert {point.destination: point.type for point in points} == {"/data": "bind", "/v": "volume"}


def test_a_volume_of_mount_is_labelled_as_docker_s() -> None:
    assert mounts.parse_mount(Mount(type="volume", target="/x")).mode == "z"


def test_no_mounts_of_images() -> None:
    with pytest.raises(NotSupported, match=r'^invalid mount config for type "image": images cannot be'):
        mounts.parse_mount(Mount(type="image", source="busybox", target="/x"))


def destinations(points: list[MountPoint], host: HostConfig | None = None) -> list[str]:
    files = {"/etc/hosts": "/c/hosts"}
    made = document.oci_mounts(points, files, host=host or HostConfig(), shm=None)
    return [mount["destination"] for mount in made]


def test_order_of_the_document() -> None:
    points = mounts.mount_points(Config(), HostConfig(binds=["/a:/x/y/z", "/b:/x", "/c:/x/y"]))
    found = destinations(points)
    assert found[-4:] == ["/x", "/etc/hosts", "/x/y", "/x/y/z"], "a mount on /etc is below the file in it"
    assert found.index("/dev") < found.index("/dev/pts")


def test_what_the_user_mounts_replaces_ours() -> None:
    points = mounts.mount_points(Config(), HostConfig(binds=["/h:/etc/hosts"], tmpfs={"/dev/shm": ""}))
    found = destinations(points)
    assert found.count("/etc/hosts") == 1
    assert found.count("/dev/shm") == 1
    over_dev = mounts.mount_points(Config(), HostConfig(binds=["/dev:/dev"]))
    assert [name for name in destinations(over_dev) if name.startswith("/dev")] == ["/dev"]


def test_ipc_none_has_no_shared_memory() -> None:
    assert "/dev/shm" not in destinations([], HostConfig(ipc_mode="none"))
