"""``-v`` and ``--mount``: read-only, propagation, what is mounted below, and mapped owners."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import command
from support.command import Runner

FILES = ["/etc/hostname", "/etc/hosts", "/etc/resolv.conf"]


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """A directory with a tmpfs mounted on ``sub``, itself a mount that is shared with its peers."""
    directory = tmp_path / "tree"
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "outer", directory], check=True)
    subprocess.run(["mount", "--make-shared", directory], check=True)
    (directory / "sub").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "inner", directory / "sub"], check=True)
    (directory / "sub/file").touch()
    yield directory
    subprocess.run(["umount", "--recursive", directory], check=True)


WRITE = "touch /t/x 2> /dev/null; echo $?; touch /t/sub/x 2> /dev/null; echo $?; test -e /t/sub/file; echo $?"


@pytest.mark.parametrize(
    ("flag", "value", "expected"),
    [
        ("-v", "{}:/t", "0 0 0"),
        ("-v", "{}:/t:ro,z", "1 1 0"),
        ("-v", "{}:/t:Z,rw", "0 0 0"),
        ("--mount", "type=bind,src={},dst=/t,readonly", "1 1 0"),
        ("--mount", "type=bind,src={},dst=/t,ro,bind-recursive=enabled", "1 1 0"),
        ("--mount", "type=bind,src={},dst=/t,ro,bind-recursive=writable", "1 0 0"),
        ("--mount", "type=bind,src={},dst=/t,ro,bind-recursive=readonly,bind-propagation=rprivate", "1 1 0"),
        ("--mount", "type=bind,src={},dst=/t,bind-recursive=disabled", "0 0 1"),
        ("--mount", "type=bind,src={},dst=/t,bind-nonrecursive", "0 0 1"),
        ("--mount", "type=bind,src={},dst=/t,bind-nonrecursive=false,consistency=cached", "0 0 0"),
    ],
)
def test_what_can_be_written(
    mydocker: Runner, image: str, tree: Path, flag: str, value: str, expected: str
) -> None:
    shown = mydocker("run", "--rm", flag, value.format(tree), image, "sh", "-c", WRITE, check=False).out
    assert " ".join(shown.split()) == expected


@pytest.mark.parametrize("form", ["-v", "--mount"])
@pytest.mark.parametrize("propagation", ["private", "rprivate", "shared", "rshared", "slave", "rslave"])
def test_propagation(mydocker: Runner, image: str, tree: Path, form: str, propagation: str) -> None:
    """A mount on the host appears in the container unless it is private, and back if it is shared."""
    flags = [form, f"{tree}:/t:{propagation}"]
    if form == "--mount":
        flags = [form, f"type=bind,src={tree},dst=/t,bind-propagation={propagation}"]
    (tree / "later").mkdir()
    container, pid = mydocker.start(image, *flags, "--privileged")
    assert mydocker.inspect(container)["Mounts"][0]["Propagation"] == propagation
    with open(f"/proc/{pid}/mountinfo") as lines:
        fields = next(line for line in lines if " /t " in line).split()
    tags = " ".join(fields[6 : fields.index("-")])
    kind = propagation.removeprefix("r")
    assert ("shared:" in tags, "master:" in tags) == (kind == "shared", kind == "slave")
    subprocess.run(["mount", "-t", "tmpfs", "late", tree / "later"], check=True)
    seen = mydocker("exec", container, "grep", "-c", " /t/later ", "/proc/mounts", check=False).line
    assert seen == ("0" if kind == "private" else "1")
    subprocess.run(["umount", tree / "later"], check=True)
    mydocker("exec", container, "mount", "-t", "tmpfs", "mine", "/t/later")
    with open("/proc/self/mounts") as mounts:
        assert any(str(tree / "later") in line for line in mounts) == (kind == "shared")
    mydocker("rm", "-f", container)


def test_propagation_of_what_is_private(mydocker: Runner, image: str, tmp_path: Path) -> None:
    """Nothing would ever be passed on, so that is refused as by docker."""
    private = tmp_path / "private"
    (private / "inner").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "private", private], check=True)
    subprocess.run(["mount", "--make-private", private], check=True)
    try:
        (private / "inner").mkdir()
        for wanted, what in (("rshared", "shared"), ("shared", "shared"), ("rslave", "shared or slave")):
            volume = f"{private}/inner:/t:{wanted}"
            refused = mydocker("run", "--rm", "-v", volume, image, "true", check=125).err
            message = f"path {private}/inner is mounted on {private} but it is not a {what} mount"
            assert message in refused
        assert mydocker("ps", "-aq").out == ""
        mydocker("run", "--rm", "-v", f"{private}/inner:/t:rprivate", image, "true")
    finally:
        subprocess.run(["umount", private], check=True)


@pytest.mark.parametrize(("sharing", "tag"), [("--make-shared", "master:"), ("--make-private", "")])
def test_the_engine_s_root(mydocker: Runner, image: str, sharing: str, tag: str) -> None:
    """A bind of it, of something in it or around it, is a slave, if what it is of can have one."""
    subprocess.run(["mount", "--bind", mydocker.root, mydocker.root], check=True)
    try:
        subprocess.run(["mount", sharing, mydocker.root], check=True)
        flags = ["-v", f"{mydocker.root}:/t", "--mount", "type=bind,src=/,dst=/around,readonly"]
        container, pid = mydocker.start(image, *flags, "-v", f"{mydocker.root}:/own:rprivate")
        mounts = {each["Destination"]: each["Propagation"] for each in mydocker.inspect(container)["Mounts"]}
        assert mounts == {"/t": "rslave", "/around": "rslave", "/own": "rprivate"}
        with open(f"/proc/{pid}/mountinfo") as lines:
            found = {fields[4]: fields[6] for fields in map(str.split, lines)}
        assert found["/t"].startswith(tag or "-")
        assert found["/own"] == "-"
        mydocker("rm", "-f", container)
    finally:
        subprocess.run(["umount", "--lazy", mydocker.root], check=True)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["-v", "{}:/t:ro,rw"], "invalid mode: ro,rw"),
        (["-v", "{}:/t:bogus"], "invalid mode: bogus"),
        (["-v", "data:/t:rshared"], "field BindOptions must not be specified"),
        (["-v", "{}:relative"], "mount path must be absolute"),
        (["-v", "a/b:/t"], "includes invalid characters for a local volume name"),
        (["--mount", "type=bind,src={}/none,dst=/t"], "bind source path does not exist: {}/none"),
        (["--mount", "type=bind,src=rel,dst=/t"], "invalid mount path: 'rel' mount path must be absolute"),
        (["--mount", "type=bind,src={},dst=/t,bind-propagation=odd"], "invalid propagation mode: odd"),
        (["--mount", "type=volume,dst=/t,ro"], "must not set ReadOnly mode when using anonymous volumes"),
        (["--mount", "type=volume,src=data,dst=/t,bind-propagation=shared"], "cannot mix 'bind-*' options"),
        (["--mount", "type=tmpfs,src=x,dst=/t"], "field Source must not be specified"),
        (["--mount", "type=odd,dst=/t"], "mount type unknown"),
        (["-v", "data:/t", "--mount", "src=data,dst=/t/"], "Duplicate mount point: /t"),
        (["-v", "data:/t:ro:x"], "mydocker: invalid spec: data:/t:ro:x: too many colons\n"),
        (["-v", ""], "mydocker: invalid empty volume spec\n"),
        (["-v", "data:/t:copy"], "invalid mode: copy"),
        (["--mount", "type=image,src=box,dst=/t,image-subpath=a"], "images cannot be mounted"),
        (["--mount", "src=data,dst=/t,image-subpath=a"], "cannot mix 'image-*' options with mount type"),
    ],
)
def test_refused(mydocker: Runner, image: str, tmp_path: Path, flags: list[str], message: str) -> None:
    given = [flag.format(tmp_path) for flag in flags]
    assert message.format(tmp_path) in mydocker("run", "--rm", *given, image, "true", check=125).err
    assert mydocker("volume", "ls", "-q").out == "", "nothing is made before all is read"


def test_bind_source_is_made_if_asked(mydocker: Runner, image: str, tmp_path: Path) -> None:
    mydocker("run", "--rm", "-v", f"{tmp_path}/one:/t", image, "true")
    mydocker("run", "--rm", "--mount", f"type=bind,src={tmp_path}/two,dst=/t,bind-create-src", image, "true")
    assert sorted(os.listdir(tmp_path)) == ["one", "two"]


def test_a_source_that_begins_with_a_dot(mydocker: Runner, image: str, tmp_path: Path) -> None:
    (tmp_path / ".hidden").write_text("seen\n")
    for flags in (["-v", ".hidden:/t"], ["--mount", "type=bind,src=.hidden,dst=/t"]):
        shown = mydocker("run", "--rm", *flags, image, "cat", "/t", cwd=str(tmp_path))
        assert shown.line == "seen"


def test_sources_and_mount_points_are_for_all(mydocker: Runner, image: str, tmp_path: Path) -> None:
    """Whatever the umask of the caller; also those that ``cp`` makes, of a container that never ran."""
    os.chmod(tmp_path, 0o755)
    umask = ["sh", "-c", 'umask 077; exec "$@"', "sh"]
    ran, copied = tmp_path / "new/deep", tmp_path / "other"
    flags = [
        "run",
        "--rm",
        "-v",
        f"{ran}:/d",
        "--user",
        "1000",
        image,
        "sh",
        "-c",
        f"ls /d && cat {' '.join(FILES)}",
    ]
    command.run([*umask, *mydocker.argv(*flags)], env=mydocker.env())
    container = mydocker("create", "-v", f"{copied}:/made/here", "--user", "1000", image, "ls", "/made").line
    (tmp_path / "file").touch()
    command.run(
        [*umask, *mydocker.argv("cp", f"{tmp_path}/file", f"{container}:/made/here")], env=mydocker.env()
    )
    assert os.listdir(copied) == ["file"]
    for made in (ran.parent, ran, copied):
        assert (made.stat().st_mode & 0o7777, made.stat().st_uid) == (0o755, 0)
    mydocker("start", "-a", container)


# -- the engine's files


@pytest.mark.parametrize(
    "flags",
    [
        ["-v", "settings:/etc"],
        ["-v", "/etc"],
        ["--tmpfs", "/etc"],
        ["--tmpfs", "/etc:ro"],
        ["-v", "{}:/etc"],
        ["-v", "settings:/etc:ro"],
    ],
    ids=str,
)
def test_a_mount_on_etc_is_below_the_engine_s_files(
    mydocker: Runner, image: str, tmp_path: Path, flags: list[str]
) -> None:
    script = (
        "awk '$5 ~ \"^/etc\" { print $5 }' /proc/self/mountinfo; cat /etc/hostname; "
        "touch /etc/x 2> /dev/null; echo $?"
    )
    given = ["--hostname", "here", *(flag.format(tmp_path) for flag in flags)]
    shown = mydocker("run", "--rm", *given, image, "sh", "-c", script)
    assert set(shown.out.split()) == {"/etc", *FILES, "here", "1" if ":ro" in flags[1] else "0"}
    container = mydocker("create", *given, image, "true").line
    with tarfile.open(fileobj=io.BytesIO(mydocker("cp", f"{container}:/etc/hostname", "-").stdout)) as tar:
        member = tar.extractfile("hostname")
        assert member is not None
        assert member.read() == b"here\n"
    mydocker("rm", "--volumes", container)
    mydocker("volume", "rm", "--force", "settings")


def test_a_read_only_mount_on_etc_without_the_files(mydocker: Runner, image: str, tmp_path: Path) -> None:
    flags = ["-v", f"{tmp_path}:/etc:ro", image, "true"]
    assert "on /etc/hostname: hostname: read-only file system" in mydocker("run", *flags, check=125).err
    container = mydocker("create", *flags).line
    said = mydocker("cp", f"{container}:/bin/sh", "-", check=1)
    assert said.err == "mydocker: /etc/hostname: read-only file system\n"
    assert os.listdir(tmp_path) == []


def test_the_user_s_own_hosts(mydocker: Runner, image: str, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("mine\n")
    flags = ["-v", "settings:/etc", "-v", f"{own}:/etc/hosts"]
    assert mydocker("run", "--rm", *flags, image, "cat", "/etc/hosts").line == "mine"
    container = mydocker("create", *flags, image, "true").line
    mydocker("cp", f"{container}:/etc/hosts", f"{tmp_path}/copy")
    assert (tmp_path / "copy").read_text() == "mine\n"
    mydocker("rm", container)
    mydocker("volume", "rm", "settings")


# -- tmpfs


@pytest.mark.parametrize(
    ("options", "of_the_mount", "of_the_file_system"),
    [
        ("defaults", "rw,nosuid,nodev,noexec,relatime", "rw"),
        ("dirsync", "rw,nosuid,nodev,noexec,relatime", "rw,dirsync"),
        ("sync,mand", "rw,nosuid,nodev,noexec,relatime", "rw,sync,mand"),
        ("mand,nomand", "rw,nosuid,nodev,noexec,relatime", "rw"),
        ("norelatime", "rw,nosuid,nodev,noexec,relatime", "rw"),
        ("strictatime,nodiratime", "rw,nosuid,nodev,noexec,nodiratime", "rw"),
        ("strictatime,nostrictatime", "rw,nosuid,nodev,noexec,relatime", "rw"),
        ("shared,exec", "rw,nosuid,nodev,relatime shared", "rw"),
        ("rprivate", "rw,nosuid,nodev,noexec,relatime", "rw"),
        ("slave", "rw,nosuid,nodev,noexec,relatime", "rw"),
    ],
)
def test_tmpfs_options(
    mydocker: Runner, image: str, options: str, of_the_mount: str, of_the_file_system: str
) -> None:
    lines = mydocker(
        "run", "--rm", "--tmpfs", f"/t:{options}", image, "cat", "/proc/self/mountinfo"
    ).out.splitlines()
    fields = next(line for line in lines if " /t " in line).split()
    tags = [tag.partition(":")[0] for tag in fields[6 : fields.index("-")]]
    assert " ".join([fields[5], *tags]) == of_the_mount
    assert [word for word in fields[-1].split(",") if word in ("rw", "dirsync", "sync", "mand")] == (
        of_the_file_system.split(",")
    )


# -- mapped owners


@pytest.fixture
def owned(tmp_path: Path) -> Path:
    """A directory of user 1234 and group 567, with files of hers, of root's and of somebody else's."""
    directory = tmp_path / "owned"
    directory.mkdir()
    for name, uid, gid in (("hers", 1234, 567), ("roots", 0, 0), ("other", 2000, 2000)):
        (directory / name).touch(0o644)
        os.chown(directory / name, uid, gid)
    os.chown(directory, 1234, 567)
    return directory


SHOW = "cd /t; stat -c '%n %u:%g' hers roots other; touch new; stat -c '%n %u:%g' new"


@pytest.mark.parametrize("value", ["idmap", "idmap=true", "idmap=owner"])
def test_idmap(mydocker: Runner, image: str, owned: Path, value: str) -> None:
    mount = f"type=bind,src={owned},dst=/t,{value}"
    shown = mydocker("run", "--rm", "--mount", mount, image, "sh", "-c", SHOW).out.splitlines()
    assert shown == ["hers 0:0", "roots 65534:65534", "other 2000:2000", "new 0:0"]
    made = os.stat(owned / "new")
    assert (made.st_uid, made.st_gid) == (1234, 567)
    assert os.stat(owned / "hers").st_uid == 1234, "on disk nothing has changed"
    os.chmod(owned, 0o777)
    refused = mydocker(
        "run",
        "--rm",
        "--user",
        "1234",
        "--mount",
        mount,
        image,
        "sh",
        "-c",
        "chmod 777 /t; touch /t/evil",
        check=1,
    )
    assert "Value too large" in refused.err
    assert not (owned / "evil").exists(), "nobody in there can make what is root's on the host"


def test_idmap_of_pairs(mydocker: Runner, image: str, owned: Path) -> None:
    mount = f"type=bind,src={owned},dst=/t,idmap=u:1234:1000;g:567:1000;2000:5000:2"
    os.chmod(owned, 0o777)
    shown = mydocker(
        "run", "--rm", "--user", "1000:1000", "--mount", mount, image, "sh", "-c", SHOW
    ).out.splitlines()
    assert shown == ["hers 1000:1000", "roots 65534:65534", "other 5000:5000", "new 1000:1000"]
    made = os.stat(owned / "new")
    assert (made.st_uid, made.st_gid) == (1234, 567)
    refused = mydocker("run", "--rm", "--mount", mount, image, "touch", "/t/roots-own", check=1)
    assert "Value too large" in refused.err, "root has no number here"


@pytest.mark.skipif(
    tuple(map(int, os.uname().release.split(".")[:2])) < (6, 3), reason="a tmpfs has no ids to map before 6.3"
)
def test_idmap_of_what_is_mounted_below(mydocker: Runner, image: str, owned: Path) -> None:
    (owned / "below").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "uid=1234,gid=567", "below", owned / "below"], check=True)
    mount = f"type=bind,src={owned},dst=/t,idmap"
    try:
        show = "touch /t/below/new; stat -c %u:%g /t/below"
        assert mydocker("run", "--rm", "--mount", mount, image, "sh", "-c", show).line == "0:0"
        assert (owned / "below/new").stat().st_uid == 1234
    finally:
        subprocess.run(["umount", owned / "below"], check=True)


def test_idmap_read_only_and_in_a_copy(mydocker: Runner, image: str, owned: Path) -> None:
    mount = f"type=bind,src={owned},dst=/t,idmap,readonly"
    refused = mydocker("run", "--rm", "--mount", mount, image, "touch", "/t/x", check=1)
    assert "Read-only file system" in refused.err
    stopped = mydocker("create", "--mount", f"type=bind,src={owned},dst=/t,idmap", image, "true").line
    subprocess.run(["touch", f"{owned}/local"], check=True)
    mydocker("cp", f"{owned}/local", f"{stopped}:/t/copied")
    assert os.stat(owned / "copied").st_uid == 1234
    mydocker("rm", stopped)
