"""Mount tables and membership files as different hosts have them."""

from __future__ import annotations

import pytest

from mydocker.linux.cgroup import hierarchy
from mydocker.linux.cgroup.directory import parse_flat, parse_nested, parse_number

SYSTEMD_V1 = """\
23 28 0:21 / /sys rw,nosuid - sysfs sysfs rw
30 23 0:25 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs tmpfs ro,mode=755
31 30 0:26 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw,nsdelegate
32 30 0:27 / /sys/fs/cgroup/systemd rw shared:11 - cgroup cgroup rw,xattr,name=systemd
36 30 0:31 / /sys/fs/cgroup/cpu,cpuacct rw shared:16 - cgroup cgroup rw,cpu,cpuacct
37 30 0:32 / /sys/fs/cgroup/net_cls,net_prio rw shared:17 - cgroup cgroup rw,seclabel,net_cls,net_prio
38 30 0:33 / /sys/fs/cgroup/cpuset rw shared:18 - cgroup cgroup rw,cpuset,clone_children,release_agent=/x
"""
BOUND = """\
50 49 0:33 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory
51 49 0:34 / /mnt/a\\040b rw - cgroup2 none rw
"""


def test_a_hybrid_host() -> None:
    found = [(h.name, h.mount, h.unified, device) for h, device in hierarchy.parse_mountinfo(SYSTEMD_V1)]
    assert found == [
        ("unified", "/sys/fs/cgroup/unified", True, "0:26"),
        ("name=systemd", "/sys/fs/cgroup/systemd", False, "0:27"),
        ("cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct", False, "0:31"),
        ("net_cls,net_prio", "/sys/fs/cgroup/net_cls,net_prio", False, "0:32"),
        ("cpuset", "/sys/fs/cgroup/cpuset", False, "0:33"),
    ]


def test_a_bound_hierarchy_shows_what_is_below_its_root() -> None:
    memory, unified = (h for h, _ in hierarchy.parse_mountinfo(BOUND))
    assert memory.directory("/docker/abc/x") == "/sys/fs/cgroup/memory/x"
    assert memory.directory("/docker/abc") == "/sys/fs/cgroup/memory"
    with pytest.raises(FileNotFoundError):
        memory.directory("/docker/abcd")
    assert unified.mount == "/mnt/a b"
    assert unified.directory("/") == "/mnt/a b"
    assert unified.directory("/user.slice") == "/mnt/a b/user.slice"


def test_a_mount_from_outside_of_the_cgroup_namespace() -> None:
    (outside, _), *_ = hierarchy.parse_mountinfo("50 49 0:33 /../.. /c rw - cgroup2 none rw\n")
    assert outside.directory("/") == "/c"
    with pytest.raises(FileNotFoundError):
        outside.directory("/a")


def test_a_mount_that_another_one_covers_is_not_found(tmp_path: object) -> None:
    table = f"{tmp_path}/mountinfo"
    with open(table, "w") as handle:
        handle.write(
            "31 30 255:26 / /sys rw - cgroup2 cgroup2 rw\n32 30 0:1 / /nowhere rw - cgroup x rw,memory\n"
        )
    assert hierarchy.discover(table) == []


def test_membership() -> None:
    text = "9:name=systemd:/init.scope\n4:cpu,cpuacct:/a:b\n3:pids:/gone (deleted)\n0::/user.slice\n"
    member = hierarchy.parse_membership(text)
    assert member == {
        "name=systemd": "/init.scope",
        "cpu": "/a:b",
        "cpuacct": "/a:b",
        "pids": "/gone",
        "unified": "/user.slice",
    }
    both = hierarchy.Hierarchy(("cpu", "cpuacct"), "/c")
    assert hierarchy.path_in(both, member) == "/a:b"
    with pytest.raises(FileNotFoundError):
        hierarchy.path_in(hierarchy.Hierarchy(("blkio",), "/b"), member)


def test_this_machine_is_found_and_agrees_with_its_own_membership() -> None:
    member = hierarchy.membership()
    found = hierarchy.discover()
    assert [h.unified for h in found] == sorted(h.unified for h in found)
    for one in found:
        assert hierarchy.path_in(one, member).startswith("/")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("17\n", 17),
        ("max", None),
        ("-1", None),
        ("9223372036854771712", None),
        ("18446744073709551615", None),
    ],
)
def test_numbers(text: str, number: int | None) -> None:
    assert parse_number(text) == number


def test_files_with_keys() -> None:
    assert parse_flat("oom_kill 3\nfrozen 0\nodd line here\n") == {"oom_kill": 3, "frozen": 0}
    assert parse_nested("8:0 rbytes=1 wbytes=2\nsome avg10=0.00 total=7\n") == {
        "8:0": {"rbytes": "1", "wbytes": "2"},
        "some": {"avg10": "0.00", "total": "7"},
    }
