"""Volumes: their commands, where their files are, who shares them, and when they go."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mydocker import errors
from mydocker.engine import Config, Engine, HostConfig
from support import command, probe, tree
from support.command import Runner

BEFORE_6_15 = tuple(map(int, os.uname().release.split(".")[:2])) < (6, 15)


@pytest.fixture(autouse=True)
def no_volumes_left(session_runner: Runner) -> Iterator[None]:
    """Containers are gone by then, and what they leave does not count volumes that were asked for."""
    yield
    session_runner.remove_all()
    if names := session_runner("volume", "ls", "-q").out.split():
        session_runner("volume", "rm", *names)
    place = Path(session_runner.root, "volume")
    assert not place.exists() or os.listdir(place) == []


@pytest.fixture(scope="module")
def filled(session_runner: Runner, image: str) -> str:
    """An image with files at ``/data``, an empty directory at ``/empty``, and a VOLUME of each."""
    script = (
        "mkdir -p /data/sub /empty && echo one > /data/one && ln /data/one /data/two && "
        "ln -s one /data/link && chown 1000:1000 /data/one && chmod 4751 /data/one && chown 7:8 /data && "
        "chmod 1770 /data"
    )
    container = session_runner("run", "-d", image, "sh", "-c", script).line
    session_runner("wait", container)
    session_runner("commit", "-c", "VOLUME /data", container, "filled:1")
    session_runner("rm", container)
    return "filled:1"


def test_life_of_a_volume(mydocker: Runner, image: str) -> None:
    assert mydocker("volume", "create", "--label", "a=b", "--label", "c", "one").line == "one"
    assert mydocker("volume", "create", "one").line == "one", "it is there already"
    document = mydocker("volume", "inspect", "one").json()[0]
    assert document.pop("CreatedAt").endswith("Z")
    assert document == {
        "Driver": "local",
        "Labels": {"a": "b", "c": ""},
        "Mountpoint": f"{mydocker.root}/volume/one/_data",
        "Name": "one",
        "Options": None,
        "Scope": "local",
    }
    assert mydocker.inspect("one")["Name"] == "one"
    mydocker("run", "--rm", "-v", "one:/v", image, "sh", "-c", "echo kept > /v/file")
    assert mydocker("run", "--rm", "-v", "one:/v:ro", image, "cat", "/v/file").line == "kept"
    container = mydocker("create", "-v", "one:/v", image, "true").line
    busy = mydocker("volume", "rm", "one", check=1)
    assert busy.err == f"mydocker: remove one: volume is in use - [{container}]\n"
    mydocker("rm", "-v", container)
    assert mydocker("volume", "ls", "-q").line == "one", "rm -v removes only what nobody has named"
    assert mydocker("volume", "rm", "one").line == "one"
    assert mydocker("volume", "rm", "one", check=1).err == "mydocker: get one: no such volume\n"
    assert mydocker("volume", "rm", "--force", "one").line == "one"
    missing = mydocker("volume", "inspect", "one", check=1)
    assert (missing.out, missing.err) == ("[]\n", "mydocker: get one: no such volume\n")


def test_list(mydocker: Runner, image: str) -> None:
    for name, label in (("web-1", "tier=web"), ("web-2", "tier=db"), ("other", "x=y")):
        mydocker("volume", "create", "--label", label, name)
    mydocker("create", "-v", "web-1:/v", image, "true")

    def listed(*filters: str) -> list[str]:
        flags = [word for each in filters for word in ("--filter", each)]
        return mydocker("volume", "ls", "-q", *flags).out.split()

    assert mydocker("volume", "ls").out == (
        "DRIVER    VOLUME NAME\nlocal     other\nlocal     web-1\nlocal     web-2\n"
    )
    assert listed("dangling=true") == ["other", "web-2"]
    assert listed("dangling=false") == ["web-1"]
    assert listed("name=web", "label=tier=db") == ["web-2"]
    assert listed("name=web-1", "name=oth") == ["other", "web-1"]
    assert listed("driver=local", "label=tier", "label=tier=web") == ["web-1"]
    assert listed("driver=other") == []
    shown = mydocker("volume", "ls", "--filter", "name=web-1", "--format", "json").json()
    assert shown == {
        "Availability": "N/A", "Driver": "local", "Group": "N/A", "Labels": "tier=web", "Links": "N/A",
        "Mountpoint": f"{mydocker.root}/volume/web-1/_data", "Name": "web-1", "Scope": "local", "Size": "N/A",
        "Status": "N/A",
    }  # fmt: skip
    table = mydocker("volume", "list", "-f", "name=oth", "--format", 'table {{.Name}}\t{{.Label "x"}}').out
    assert table == "VOLUME NAME   x\nother         y\n"
    assert mydocker("volume", "ls", "-f", "bogus=1", check=1).err == "mydocker: invalid filter 'bogus'\n"
    assert "invalid filter 'dangling=x'" in mydocker("volume", "ls", "-f", "dangling=x", check=1).err


def test_prune(mydocker: Runner, image: str) -> None:
    anonymous = mydocker("volume", "create").line
    assert len(anonymous) == 64
    mydocker("volume", "create", "--label", "keep=1", "kept")
    mydocker("volume", "create", "--label", "go=1", "gone")
    mydocker("create", "-v", "used:/v", "-v", "/anonymous", image, "true")
    mydocker("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "elsewhere")
    began = command.run(["date", "+%s.%N"]).line
    asked = mydocker("volume", "prune", stdin=b"n\n").out
    assert asked.startswith(
        "WARNING! This will remove anonymous local volumes not used by at least one container.\n"
    )
    assert mydocker("volume", "prune", "-f").out.splitlines()[:2] == ["Deleted Volumes:", anonymous]
    assert "all local volumes" in mydocker("volume", "prune", "-a", stdin=b"n\n").out
    said = mydocker("volume", "prune", "-a", "-f", "--filter", "label!=keep").out
    assert said.startswith("Deleted Volumes:\ngone\n\nTotal reclaimed space: ")
    assert mydocker("volume", "prune", "-f", "--filter", "all=1", "--filter", "label=keep").out.startswith(
        "Deleted Volumes:\nkept\n"
    )
    left = mydocker("volume", "ls", "-q").out.split()
    assert len(left) == 3
    assert {"used", "elsewhere"} < set(left), "no room would be won with one that has options"
    ended = command.run(["date", "+%s.%N"]).line
    told = mydocker(
        "events", "--since", began, "--until", ended, "--filter", "event=prune", "--format", "json"
    ).out.splitlines()
    for event in map(json.loads, told):
        assert (event["Type"], event["Actor"]["ID"]) == ("volume", "")
        assert int(event["Actor"]["Attributes"]["reclaimed"]) > 0
    assert len(told) == 3
    both = mydocker("volume", "prune", "-a", "--filter", "all=1", check=1)
    assert "conflicting options: cannot specify both --all and --filter all=1" in both.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a"], "create a: volume name is too short, names should be at least two alphanumeric characters"),
        (
            ["a/b"],
            'create a/b: "a/b" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute '
            "path",
        ),
        (["-o", "bogus=1", "vol"], 'create vol: invalid option: "bogus"'),
        (["-o", "type=tmpfs", "vol"], 'create vol: missing required option: "device"'),
        (["-o", "o=size=1m", "vol"], 'create vol: missing required option: "device"'),
        (["-o", "size=1m", "vol"], "create vol: quota size requested but no quota support"),
        (
            ["-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "size=lots", "vol"],
            "create vol: invalid size: 'lots'",
        ),
        (
            ["-o", "type=nosuchfs", "-o", "device=x", "vol"],
            "create vol: this kernel has no file system nosuchfs",
        ),
        (
            ["-d", "other", "vol"],
            'create vol: error looking up volume plugin other: plugin "other" not found',
        ),
        (["--name", "x", "vol"], "conflicting options: cannot specify a volume name through both --name"),
    ],
)
def test_create_refused(mydocker: Runner, arguments: list[str], message: str) -> None:
    assert mydocker("volume", "create", *arguments, check=1).err.startswith(f"mydocker: {message}")


def test_labels_that_are_not_text(mydocker: Runner, image: str) -> None:
    said = mydocker("volume", "create", "--label", "a=\udcff", "vol", check=1)
    assert "create vol: a label or an option is not UTF-8: b'\\xff'" in said.err
    mount = "src=vol,dst=/v,volume-label=a=\udcff"
    said = mydocker("run", "--rm", "--mount", mount, image, "true", check=125)
    assert "label or option of a volume is not UTF-8" in said.err
    assert mydocker("volume", "ls", "-q").out == ""


def test_nfs(mydocker: Runner) -> None:
    """Refused where the kernel lacks it; where it has it, the volume can be made and says what it is."""
    with open("/proc/filesystems") as file:
        has = any(line.split()[-1] == "nfs" for line in file)
    flags = ("-o", "type=nfs", "-o", "o=addr=127.0.0.1", "-o", "device=:/exported")
    done = mydocker("volume", "create", *flags, "net", check=0 if has else 1)
    if not has:
        assert "create net: this kernel has no file system nfs" in done.err


def test_events(mydocker: Runner, image: str) -> None:
    started = command.run(["date", "+%s.%N"]).line
    mydocker("run", "--rm", "-v", "told:/v", "-v", "/anonymous", image, "true")
    mydocker("volume", "rm", "told")
    ended = command.run(["date", "+%s.%N"]).line
    lines = mydocker(
        "events", "--since", started, "--until", ended, "--filter", "type=volume", "--format", "json"
    ).out.splitlines()
    told = [json.loads(line) for line in lines]
    named = [each["Action"] for each in told if each["Actor"]["ID"] == "told"]
    assert named == ["create", "mount", "unmount", "destroy"]
    assert [each["Action"] for each in told if each["Actor"]["ID"] != "told"] == named
    mounted = next(each for each in told if each["Action"] == "mount")
    assert mounted["Actor"]["Attributes"]["destination"] in ("/v", "/anonymous")


# -- the image's content


def test_the_image_s_content_is_copied_at_first_use(mydocker: Runner, filled: str, image: str) -> None:
    mydocker("run", "--rm", "-v", "first:/data", filled, "true")
    mydocker("volume", "create", "second")
    mydocker("run", "--rm", "--mount", "type=volume,src=second,dst=/data", filled, "rm", "/data/sub", "-r")
    looks = "stat -c '%n %a %u:%g %h' /data /data/one /data/two; readlink /data/link"
    for name in ("first", "second"):
        shown = mydocker("run", "--rm", "-v", f"{name}:/data", image, "sh", "-c", looks).out
        assert (
            shown
            == "/data 1770 7:8 2\n".replace(" 2\n", " 3\n" if name == "first" else " 2\n")
            + "/data/one 4751 1000:1000 2\n/data/two 4751 1000:1000 2\none\n"
        )
    assert mydocker("run", "--rm", "-v", "second:/data", filled, "ls", "/data").out.split() == [
        "link", "one", "two",
    ]  # fmt: skip


@pytest.mark.parametrize("flags", [["-v", "none:/data:nocopy"],
                                   ["--mount", "type=volume,src=none,dst=/data,volume-nocopy"]])  # fmt: skip
def test_nocopy(mydocker: Runner, filled: str, flags: list[str]) -> None:
    assert mydocker("run", "--rm", *flags, filled, "ls", "/data").out == ""


def test_volumes_from(mydocker: Runner, filled: str, image: str, tmp_path: Path) -> None:
    giver = mydocker(
        "create", "-v", "given:/named", "-v", f"{tmp_path}:/bound:ro", "--tmpfs", "/scratch", filled, "true"
    ).line
    script = "ls /data; touch /named/x /data/y; test -e /scratch; echo $?; touch /bound/z 2>&1"
    shown = mydocker("run", "--rm", "--volumes-from", giver, image, "sh", "-c", script, check=1).out
    assert shown.splitlines() == [
        "link", "one", "sub", "two", "1", "touch: /bound/z: Read-only file system",
    ]  # fmt: skip
    refused = mydocker("run", "--rm", "--volumes-from", f"{giver}:ro", image, "touch", "/named/y", check=1)
    assert "Read-only file system" in refused.err
    mydocker("run", "--rm", "--volumes-from", f"{giver}:z", image, "touch", "/named/y")
    taker = mydocker("create", "--volumes-from", giver, "--name", "taker", "-v", "/named", image, "true").line
    mounts = {each["Destination"]: each for each in mydocker.inspect(taker)["Mounts"]}
    assert set(mounts) == {"/named", "/bound", "/data"}
    assert mydocker.inspect(taker)["HostConfig"]["VolumesFrom"] == [giver]
    anonymous = mounts["/data"]["Name"]
    mydocker("rm", "-v", giver)
    assert anonymous in mydocker("volume", "ls", "-q").out.split(), "another container has it"
    mydocker("rm", "-v", taker)
    assert anonymous not in mydocker("volume", "ls", "-q").out.split()
    for given, message in (
        ("nobody", "No such container: nobody"),
        ("x:bogus", "invalid mode: bogus"),
        ("x:rshared", "invalid mode: rshared"),
        ("x:nocopy", "invalid mode: nocopy"),
        ("", "volumes-from specification cannot be an empty string"),
    ):
        said = mydocker("run", "--rm", "--volumes-from", given, image, "true", check=125)
        assert message in said.err


def test_volume_driver(mydocker: Runner, image: str) -> None:
    mydocker("run", "--rm", "--volume-driver", "local", "-v", "driven:/v", image, "true")
    for flags in (["-v", "driven:/v"], ["-v", "/v"], ["--mount", "src=driven,dst=/v,volume-driver=odd"]):
        said = mydocker("run", "--rm", "--volume-driver", "odd", *flags, image, "true", check=125)
        assert 'error looking up volume plugin odd: plugin "odd" not found' in said.err
    mount = "type=volume,dst=/v,src=labelled,volume-driver=local,volume-label=a=b,volume-label=c=d"
    mydocker("run", "--rm", "--mount", mount, image, "true")
    assert mydocker("volume", "inspect", "labelled").json()[0]["Labels"] == {"a": "b", "c": "d"}


# -- options of the driver


def test_tmpfs_is_shared_while_somebody_has_it(mydocker: Runner, image: str) -> None:
    mydocker(
        "volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=uid=1000,noexec", "-o",
        "size=2m", "memory",
    )  # fmt: skip
    show = "awk '$2 == \"/v\" { print $3, $4 }' /proc/mounts"
    first, _ = mydocker.start(image, "-v", "memory:/v:ro")
    second, _ = mydocker.start(image, "--mount", "src=memory,dst=/v")
    assert "tmpfs ro,noexec" in mydocker("exec", first, "sh", "-c", show).out
    shown = mydocker("exec", second, "sh", "-c", show).out
    assert "tmpfs rw,noexec" in shown
    assert "size=2048k,uid=1000" in shown
    mydocker("exec", second, "sh", "-c", "echo shared > /v/file")
    assert mydocker("exec", first, "cat", "/v/file").line == "shared"
    full = mydocker("exec", second, "dd", "if=/dev/zero", "of=/v/big", "bs=1M", "count=3", check=1)
    assert "No space left on device" in full.err
    mydocker("rm", "-f", first)
    assert mydocker("run", "--rm", "-v", "memory:/a", image, "cat", "/a/file").line == "shared"
    mydocker("rm", "-f", second)
    assert mydocker("run", "--rm", "-v", "memory:/a", image, "ls", "/a").out == "", "it has ended"
    assert mydocker("volume", "inspect", "memory").json()[0]["Options"] == {
        "device": "tmpfs", "o": "uid=1000,noexec", "size": "2m", "type": "tmpfs",
    }  # fmt: skip


def test_many_begin_with_one_tmpfs_at_once(mydocker: Runner, image: str) -> None:
    mydocker("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "memory")
    running = [mydocker.popen("run", "-d", "-v", "memory:/v", image, "sleep", "1000") for _ in range(5)]
    containers = [process.communicate()[0].decode().strip() for process in running]
    assert all(process.returncode == 0 for process in running)
    for number, container in enumerate(containers):
        mydocker("exec", container, "touch", f"/v/{number}")
    for container in containers:
        assert mydocker("exec", container, "ls", "/v").out.split() == ["0", "1", "2", "3", "4"]


def test_a_container_cannot_lend_something_else(mydocker: Runner, image: str) -> None:
    mydocker("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "memory")
    liar, _ = mydocker.start(image, "--privileged", "-v", "memory:/v")
    script = "umount /v && mount -t tmpfs other /v && touch /v/planted"
    mydocker("exec", liar, "sh", "-c", script)
    assert mydocker("run", "--rm", "-v", "memory:/v", image, "ls", "/v").out == ""
    honest, _ = mydocker.start(image, "-v", "memory:/v")
    mydocker("exec", honest, "touch", "/v/true")
    assert mydocker("run", "--rm", "-v", "memory:/v", image, "ls", "/v").out == "true\n"


def test_a_tmpfs_at_two_places(mydocker: Runner, image: str) -> None:
    mydocker("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "memory")
    flags = ("-v", "memory:/a", "-v", "memory:/b:ro")
    done = mydocker("run", "--rm", *flags, image, "sh", "-c", "echo x > /a/f; cat /b/f", check=False)
    if BEFORE_6_15:
        assert "kernels before 6.15 cannot mount a part of its file system" in done.err
    else:
        assert done.line == "x"


def test_a_tmpfs_of_one_that_is_restarted(mydocker: Runner, image: str) -> None:
    mydocker("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "memory")
    script = "echo turn >> /v/turns; exit 1"
    alone = mydocker(
        "run", "-d", "--restart", "on-failure:1", "-v", "memory:/v", image, "sh", "-c", script
    ).line
    mydocker.wait_for_exit(alone)
    keeper, _ = mydocker.start(image, "-v", "memory:/v")
    assert mydocker("exec", keeper, "ls", "/v").out == "", "nobody had it between the two"
    again = mydocker(
        "run", "-d", "--restart", "on-failure:1", "-v", "memory:/v", image, "sh", "-c", script
    ).line
    mydocker.wait_for_exit(again)
    assert mydocker("exec", keeper, "cat", "/v/turns").out == "turn\nturn\n"


@pytest.mark.parametrize("state", ["created", "running"])
def test_cp_sees_volumes_with_options(mydocker: Runner, image: str, tmp_path: Path, state: str) -> None:
    mydocker("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "memory")
    mydocker("run", "--rm", "-v", "plain:/v", image, "sh", "-c", "mkdir /v/sub; echo deep > /v/sub/f")
    keeper, _ = mydocker.start(image, "-v", "memory:/v")
    flags = ("-v", "memory:/m", "--mount", "src=plain,dst=/p,volume-subpath=sub,readonly")
    container = mydocker("create", *flags, image, "sleep", "1000").line
    if state == "running":
        mydocker("start", container)
    (tmp_path / "f").write_text("copied")
    mydocker("cp", str(tmp_path / "f"), f"{container}:/m/f")
    assert mydocker("exec", keeper, "cat", "/v/f").out == "copied"
    assert b"deep" in mydocker("cp", f"{container}:/p/f", "-").stdout
    assert "marked read-only" in mydocker("cp", str(tmp_path / "f"), f"{container}:/p/", check=1).err


def test_options_with_mount(mydocker: Runner, image: str) -> None:
    mount = (
        'type=volume,src=made,dst=/v,volume-opt=type=tmpfs,volume-opt=device=tmpfs,"volume-opt=o=size=1m,ro"'
    )
    refused = mydocker("run", "--rm", "--mount", mount, image, "touch", "/v/x", check=1)
    assert "Read-only file system" in refused.err
    assert mydocker("volume", "inspect", "made").json()[0]["Options"]["o"] == "size=1m,ro"


def test_bind(mydocker: Runner, filled: str, image: str, tmp_path: Path) -> None:
    place = tmp_path / "elsewhere"
    place.mkdir()
    flags = ("-o", "type=none", "-o", f"device={place}")
    mydocker("volume", "create", *flags, "-o", "o=bind,uid=1000", "bound")
    mydocker("run", "--rm", "-v", "bound:/data", filled, "true")
    assert sorted(os.listdir(place)) == ["link", "one", "sub", "two"]
    mydocker("volume", "create", *flags, "-o", "o=bind,ro", "readonly")
    refused = mydocker("run", "--rm", "-v", "readonly:/v", image, "touch", "/v/x", check=1)
    assert "Read-only file system" in refused.err
    (place / "sub/inner").write_text("inner")
    sub = "dst=/v,volume-subpath=sub"
    assert mydocker("run", "--rm", "--mount", f"src=bound,{sub}", image, "cat", "/v/inner").line == "inner"
    refused = mydocker("run", "--rm", "--mount", f"src=readonly,{sub}", image, "touch", "/v/x", check=1)
    assert "Read-only file system" in refused.err, "a part of it has its options"
    mydocker("volume", "rm", "bound", "readonly")
    assert (place / "one").exists(), "it was never the volume's own"
    mydocker("volume", "create", "-o", "type=none", "-o", "device=/no/such", "-o", "o=bind", "lost")
    said = mydocker("run", "--rm", "-v", "lost:/v", image, "true", check=125)
    mountpoint = f"{mydocker.root}/volume/lost/_data"
    assert said.err.startswith(
        f"mydocker: error while mounting volume '{mountpoint}': failed to mount local volume: mount "
        f"/no/such:{mountpoint}: no such file or directory\n"
    )


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[str]:
    """A loop device with an ext4 file system."""
    missing = probe.missing_programs("mkfs.ext4", "losetup")
    if missing:
        pytest.skip(missing)
    image = tmp_path / "disk"
    with open(image, "wb") as file:
        file.truncate(16 << 20)
    command.run(["mkfs.ext4", "-q", str(image)])
    made = subprocess.run(
        ["losetup", "--find", "--show", str(image)], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"no loop devices here: {made.stderr.strip()}")
    device = made.stdout.strip()
    yield device
    command.run(["losetup", "--detach", device])


def test_a_device(mydocker: Runner, filled: str, image: str, disk: str) -> None:
    mydocker("volume", "create", "-o", "type=ext4", "-o", f"device={disk}", "-o", "o=noatime", "disk")
    mydocker("run", "--rm", "-v", "disk:/data:nocopy", filled, "rmdir", "/data/lost+found")
    assert "sub" in mydocker("run", "--rm", "-v", "disk:/data", filled, "ls", "/data").out.split()
    container, _ = mydocker.start(image, "-v", "disk:/v")
    mydocker("exec", container, "touch", "/v/new")
    shown = mydocker(
        "exec", container, "sh", "-c", "awk '$2 == \"/v\" { print $1, $3, $4 }' /proc/mounts"
    ).out
    assert shown.startswith(f"{disk} ext4 rw,noatime")
    mydocker("rm", "-f", container)
    assert "new" in mydocker("run", "--rm", "-v", "disk:/v", image, "ls", "/v").out.split()
    stopped = mydocker("create", "-v", "disk:/v", image, "true").line
    assert b"new" in mydocker("cp", f"{stopped}:/v", "-").stdout
    flags = ("--mount", "src=disk,dst=/part,volume-subpath=sub", "-v", "disk:/whole")
    done = mydocker("run", "--rm", *flags, image, "touch", "/part/there", check=125 if BEFORE_6_15 else 0)
    if BEFORE_6_15:
        assert "kernels before 6.15 cannot mount a part of its file system" in done.err
        return
    assert mydocker("run", "--rm", *flags, image, "ls", "/whole/sub").out.split() == ["there"]


# -- parts


def test_subpath(mydocker: Runner, image: str) -> None:
    script = "mkdir -p /v/a/b && echo deep > /v/a/b/f && ln -s ../../../../etc /v/out && ln -s a/b /v/in"
    mydocker("run", "--rm", "-v", "parts:/v", image, "sh", "-c", script)

    def run(subpath: str, *words: str, **options: int) -> command.Result:
        mount = f"src=parts,dst=/p,volume-subpath={subpath}"
        return mydocker("run", "--rm", "--mount", mount, image, *words, **options)  # type: ignore[arg-type]

    assert run("a/b", "cat", "/p/f").line == "deep"
    assert run("in", "cat", "/p/f").line == "deep"
    assert run("a/b/f", "cat", "/p").line == "deep"
    assert "no such file or directory" in run("none", "true", check=125).err
    assert "path escapes from the volume" in run("out", "true", check=125).err
    assert "subpath must be a relative path within the volume" in run("../x", "true", check=125).err
    read = mydocker("run", "--rm", "--mount", "src=parts,dst=/p,ro,volume-subpath=a", image, "touch", "/p/x",
                    check=1)  # fmt: skip
    assert "Read-only file system" in read.err


def test_however_deep_its_directories_are(mydocker: Runner, image: str) -> None:
    """Deeper than Python calls itself, or has descriptors: everything goes all the same."""
    script = "for n in $(seq 1800); do mkdir d && cd d || exit; done"
    mydocker("run", "--rm", "-v", "deep:/v", "-w", "/v", image, "sh", "-c", script)
    container = mydocker("run", "-d", "-w", "/tmp", image, "sh", "-c", script).line
    assert mydocker("wait", container).line == "0"
    assert mydocker("ps", "-as", "--filter", f"id={container}").out.count("\n") == 2
    assert mydocker("diff", container).out.splitlines()[-1] == "A /tmp" + "/d" * 1800
    mydocker("volume", "clone", "deep", "deeper")
    mydocker("rm", container)
    mydocker("run", "--rm", "-w", "/tmp", image, "sh", "-c", script)
    assert mydocker("ps", "-aq").out == ""
    assert mydocker("volume", "rm", "deep", "deeper").out == "deep\ndeeper\n"
    assert [name for name in os.listdir(f"{mydocker.root}/volume") if name.startswith(".")] == []


def test_a_container_whose_record_cannot_be_read_may_have_any(mydocker: Runner, image: str) -> None:
    container = mydocker("create", "-v", "theirs:/v", image, "true").line
    other = mydocker("create", "-v", "/anonymous", image, "true").line
    record = Path(mydocker.root, "container", container, "config.json")
    document = record.read_bytes()
    record.write_text("{")
    try:
        for words in (("volume", "rm", "theirs"), ("volume", "prune", "--all", "--force")):
            assert f"{container}/config.json: " in mydocker(*words, check=1).err
        mydocker("rm", "-v", other)
        assert len(mydocker("volume", "ls", "-q").out.split()) == 2
    finally:
        record.write_bytes(document)
    assert "volume is in use" in mydocker("volume", "rm", "theirs", check=1).err


# -- beyond docker


def test_rename(mydocker: Runner, image: str) -> None:
    mydocker("run", "--rm", "-v", "old:/v", image, "touch", "/v/file")
    mydocker("volume", "create", "taken")
    container = mydocker("create", "-v", "old:/v", image, "true").line
    assert (
        f"rename old: volume is in use - [{container}]"
        in mydocker("volume", "rename", "old", "new", check=1).err
    )
    mydocker("rm", container)
    assert "exists already" in mydocker("volume", "rename", "old", "taken", check=1).err
    mydocker("volume", "rename", "old", "new")
    assert mydocker("volume", "inspect", "new", "-f", "{{.Name}} {{.Mountpoint}}").line == (
        f"new {mydocker.root}/volume/new/_data"
    )
    assert mydocker("run", "--rm", "-v", "new:/v", image, "ls", "/v").line == "file"
    assert mydocker("volume", "ls", "-q").out.split() == ["new", "taken"]


def make_files(mydocker: Runner, name: str, image: str) -> tree.Tree:
    """A volume with one of everything; what it looks like."""
    script = (
        "cd /v; mkdir -p d/e; echo text > d/file; ln d/file hard; ln -s d/file soft; mkfifo fifo; "
        "mknod null c 1 3; mknod white c 0 0; dd if=/dev/zero of=sparse bs=1 count=1 seek=20M 2> /dev/null; "
        "chown 1000:1001 d/file; chmod 2750 d; chown 5:6 .; chmod 1700 ."
    )
    mydocker("run", "--rm", "-v", f"{name}:/v", image, "sh", "-c", script)
    data = f"{mydocker.root}/volume/{name}/_data"
    os.setxattr(f"{data}/d/file", "user.color", b"green")
    return tree.from_directory(data)


def test_clone(mydocker: Runner, image: str) -> None:
    made = make_files(mydocker, "origin", image)
    assert mydocker("volume", "clone", "--label", "copy=1", "origin", "copy").line == "copy"
    data = f"{mydocker.root}/volume/copy/_data"
    assert tree.from_directory(data) == made
    top = os.stat(data)
    assert (top.st_uid, top.st_gid, top.st_mode & 0o7777) == (5, 6, 0o1700)
    assert os.stat(f"{data}/sparse").st_blocks < 100
    assert mydocker("volume", "inspect", "copy").json()[0]["Labels"] == {"copy": "1"}
    assert "exists already" in mydocker("volume", "clone", "origin", "copy", check=1).err
    assert "no such volume" in mydocker("volume", "clone", "nobody", "other", check=1).err


def test_clone_of_a_tmpfs_in_use(mydocker: Runner, image: str) -> None:
    mydocker("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "memory")
    container, _ = mydocker.start(image, "-v", "memory:/v")
    mydocker("exec", container, "sh", "-c", "echo saved > /v/file")
    mydocker("volume", "clone", "memory", "disk")
    assert mydocker("run", "--rm", "-v", "disk:/v", image, "cat", "/v/file").line == "saved"
    assert mydocker("volume", "inspect", "disk").json()[0]["Options"] is None


def test_an_export_that_nobody_reads_yet_holds_nobody_up(mydocker: Runner, image: str) -> None:
    mydocker("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "memory")
    container, _ = mydocker.start(image, "-v", "memory:/v")
    mydocker("exec", container, "dd", "if=/dev/zero", "of=/v/file", "bs=1M", "count=4")
    with mydocker.popen("volume", "export", "memory", stdout=subprocess.PIPE) as exporting:
        assert exporting.stdout is not None
        begun = exporting.stdout.read(512)
        assert mydocker("run", "--rm", "-v", "memory:/v", image, "ls", "/v").line == "file"
        assert len(begun + exporting.stdout.read()) > 4 << 20
    assert exporting.returncode == 0


def test_a_cp_that_nobody_reads_yet_holds_nobody_up(mydocker: Runner, image: str) -> None:
    mydocker("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "memory")
    container, _ = mydocker.start(image, "-v", "memory:/v")
    mydocker("exec", container, "dd", "if=/dev/zero", "of=/v/file", "bs=1M", "count=4")
    stopped = mydocker("create", "-v", "memory:/v", image, "true").line
    with mydocker.popen("cp", f"{stopped}:/v", "-", stdout=subprocess.PIPE) as copying:
        assert copying.stdout is not None
        begun = copying.stdout.read(512)
        assert mydocker("run", "--rm", "-v", "memory:/v", image, "ls", "/v").line == "file"
        assert len(begun + copying.stdout.read()) > 4 << 20
    assert copying.returncode == 0


def test_export_and_import(mydocker: Runner, image: str, tmp_path: Path) -> None:
    made = make_files(mydocker, "origin", image)
    archive = tmp_path / "volume.tar"
    mydocker("volume", "export", "-o", str(archive), "origin")
    assert archive.stat().st_size < 1 << 20, "holes stay holes"
    assert mydocker("volume", "import", "--label", "x=y", "copy", str(archive)).line == "copy"
    data = f"{mydocker.root}/volume/copy/_data"
    assert tree.from_directory(data) == made
    assert os.stat(data).st_mode & 0o7777 == 0o1700
    stream = mydocker("volume", "export", "origin").stdout
    assert stream == archive.read_bytes()
    mydocker("volume", "import", "other", "-", stdin=subprocess.run(
        ["gzip"], input=stream, capture_output=True, check=True).stdout)  # fmt: skip
    assert tree.from_directory(f"{mydocker.root}/volume/other/_data") == made
    Path(data, "more").touch()
    Path(data, "d/file").write_text("changed")
    mydocker("volume", "import", "copy", str(archive))
    assert Path(data, "more").exists()
    assert Path(data, "d/file").read_text() == "text\n"
    for broken in (stream[: len(stream) // 2], b"no archive" * 100):
        mydocker("volume", "import", "broken", stdin=broken, check=1)
        assert "no such volume" in mydocker("volume", "inspect", "broken", check=1).err
    again = mydocker("volume", "import", "--label", "z=z", "copy", str(archive), check=1)
    assert "exists already, and has its labels" in again.err


# -- beside each other


def test_runs_beside_prunes(mydocker: Runner, filled: str) -> None:
    """A volume may go between two containers, and never under one: each finds the image's files in it."""
    stop = threading.Event()
    problems: list[str] = []

    def prune() -> None:
        while not stop.is_set():
            mydocker("volume", "prune", "--all", "--force")

    def run() -> None:
        for _ in range(8):
            done = mydocker("run", "--rm", "-v", "shared:/data", filled, "cat", "/data/one", check=False)
            if done.code or done.line != "one":
                problems.append(str(done))

    pruner = threading.Thread(target=prune)
    runners = [threading.Thread(target=run) for _ in range(3)]
    pruner.start()
    for thread in runners:
        thread.start()
    for thread in runners:
        thread.join()
    stop.set()
    pruner.join()
    assert problems == []


def test_from_python(engine: Engine, image: str) -> None:
    made = engine.volumes.create("api", labels={"a": "b"})
    assert engine.volumes.create("api").document == made.document
    with pytest.raises(errors.InvalidArgument, match="invalid option"):
        engine.volumes.create("other", options={"odd": "1"})
    host = HostConfig(binds=["api:/v"])
    container = engine.containers.create(Config(image=image, cmd=["touch", "/v/x"]), host)
    container.start()
    container.wait()
    assert os.listdir(made.mountpoint) == ["x"]
    assert made.containers() == [container.id]
    with pytest.raises(errors.Conflict, match="remove api: volume is in use"):
        made.remove()
    container.remove()
    made.rename("renamed")
    assert made.name == "renamed"
    copy = made.clone("copy")
    pieces: list[bytes] = []
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as stream:
        copy.export(writer)
        os.close(writer)
        pieces.append(stream.read())
    taken = engine.volumes.import_("taken", pieces)
    assert os.listdir(taken.mountpoint) == ["x"]
    with pytest.raises(errors.Conflict):
        engine.volumes.import_("taken", pieces)
    assert [volume.name for volume in engine.volumes.list({"label": ["a"]})] == ["copy", "renamed"]
    assert list(engine.volumes.prune({"all": ["true"]}).names) == ["copy", "renamed", "taken"]
    with pytest.raises(errors.NotFound, match="get taken: no such volume"):
        engine.volumes.get("taken")
