"""The document of ``features``: its shape, and that what it promises is so."""

from __future__ import annotations

from typing import Any

import pytest

import mydocker
from mydocker.oci import seccomp
from mydocker.oci.runtime_check import HOOKS
from mydocker.runtime.steps import options
from support import bundle
from support.oci import Runtime


@pytest.fixture
def features(runtime: Runtime) -> Any:
    return runtime("features").json()


def test_the_members_of_the_specification(features: Any) -> None:
    """features.md and features-linux.md of version 1.3, and nothing else."""
    assert sorted(features) == [
        *("annotations", "hooks", "linux", "mountOptions", "ociVersionMax", "ociVersionMin"),
        "potentiallyUnsafeConfigAnnotations",
    ]
    assert sorted(features["linux"]) == [
        *("apparmor", "capabilities", "cgroup", "intelRdt", "memoryPolicy", "mountExtensions", "namespaces"),
        *("netDevices", "seccomp", "selinux"),
    ]
    assert features["hooks"] == list(HOOKS)
    assert features["annotations"]["mydocker-runtime.version"] == mydocker.__version__
    assert features["potentiallyUnsafeConfigAnnotations"] == ["org.criu.config", "org.systemd.property."]
    assert features["linux"]["mountExtensions"] == {"idmap": {"enabled": True}}
    assert features["linux"]["cgroup"] == {
        **dict.fromkeys(("v1", "v2", "systemd", "rdma"), True),
        "systemdUser": False,
    }


@pytest.mark.parametrize("version", ["ociVersionMin", "ociVersionMax"])
def test_both_versions_are_accepted(
    runtime: Runtime, features: Any, busybox_rootfs: str, version: str
) -> None:
    place = runtime.bundle(busybox_rootfs, ["true"], ociVersion=features[version])
    runtime("run", "--bundle", place, "c")


def test_every_mount_option_is_taken(runtime: Runtime, features: Any, busybox_rootfs: str) -> None:
    """Each on a tmpfs of its own; those that are about other mounts have tests of their own."""
    other = {"bind", "rbind", "idmap", "ridmap", "remount"}
    names = [name for name in features["mountOptions"] if name not in other]
    document = bundle.document(busybox_rootfs, ["cat", "/proc/self/mountinfo"])
    document["mounts"] += [
        {"destination": f"/mounted/{name}", "type": "tmpfs", "source": "tmpfs", "options": [name]}
        for name in names
    ]
    shown = runtime("run", "--bundle", runtime.bundle_of(document), "c").out
    found = {line.split()[4].removeprefix("/mounted/"): line for line in shown.splitlines()}
    assert set(names) <= found.keys()
    flags = {name: found[name].split()[5].split(",") for name in names}
    for name in ("ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "nosymfollow"):
        assert name in flags[name]
        assert name in flags[f"r{name}"]
    for name in ("sync", "dirsync", "mand", "lazytime"):
        assert name in found[name].split(" - ")[1].split()[2].split(",")
    assert "shared:" in found["shared"]


def test_an_option_that_is_not_promised_is_not_known(features: Any) -> None:
    assert "iversion" not in features["mountOptions"]
    assert options.parse(["size=1k", "sync"], "/x").data == ["size=1k", "sync"]


def test_what_is_told_of_seccomp_is_taken(features: Any) -> None:
    told = features["linux"]["seccomp"]
    assert set(told["supportedFlags"]) <= set(told["knownFlags"])
    for action in told["actions"]:
        section: dict[str, Any] = {
            "defaultAction": "SCMP_ACT_ALLOW",
            "architectures": told["archs"],
            "syscalls": [
                {
                    "names": ["read"],
                    "action": action,
                    "args": [{"index": 0, "value": 1, "op": operator} for operator in told["operators"]],
                }
            ],
            "listenerPath": "/agent",
        }
        seccomp.check(section)
    for flag in told["knownFlags"]:
        call = {"names": ["read"], "action": "SCMP_ACT_NOTIFY"}
        seccomp.check({**section, "flags": [flag], "syscalls": [call]})


def test_supported_flags_load(runtime: Runtime, features: Any, busybox_rootfs: str) -> None:
    """Those that need no agent at the other end."""
    flags = [flag for flag in features["linux"]["seccomp"]["supportedFlags"] if "KILLABLE" not in flag]
    section = {"defaultAction": "SCMP_ACT_ALLOW", "flags": flags}
    show = ["grep", "Seccomp:", "/proc/self/status"]
    place = runtime.bundle(busybox_rootfs, show, linux={"seccomp": section})
    assert runtime("run", "--bundle", place, "c").out.split() == ["Seccomp:", "2"]
