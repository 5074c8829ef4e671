"""Docker's profiles and the default policy, as data. What the kernel makes of them is in unit/runtime."""

from __future__ import annotations

from typing import Any

import pytest

from mydocker.errors import InvalidArgument
from mydocker.oci.capabilities import DEFAULT_CAPABILITIES
from mydocker.oci.seccomp import check
from mydocker.oci.seccomp_default import ARCHITECTURES, default_seccomp
from mydocker.oci.seccomp_profile import seccomp_from_profile

KERNEL = (6, 18)
ALLOW = "SCMP_ACT_ALLOW"


def section(
    document: object,
    capabilities: tuple[str, ...] = (),
    kernel: tuple[int, int] = KERNEL,
    arch: str = "x86_64",
) -> dict[str, Any]:
    result = seccomp_from_profile(document, capabilities, kernel, arch)
    assert result is not None
    return result


def chosen(entry: dict[str, Any], *args: Any) -> bool:
    """Whether an entry with these conditions gets into the section."""
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [{"names": ["mount"], "action": ALLOW, **entry}],
    }
    return bool(section(profile, *args)["syscalls"])


def test_a_section_passes_through() -> None:
    document = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 38,
        "architectures": ["SCMP_ARCH_X86_64"],
        "flags": ["SECCOMP_FILTER_FLAG_LOG"],
        "syscalls": [
            {
                "names": ["personality"],
                "action": ALLOW,
                "args": [{"index": 0, "value": 8, "valueTwo": 0, "op": "SCMP_CMP_EQ"}],
                "comment": "dropped",
                "includes": {},
                "excludes": {},
            }
        ],
    }
    result = section(document)
    assert result["syscalls"] == [{k: document["syscalls"][0][k] for k in ("names", "action", "args")}]  # type: ignore[index]
    assert {k: v for k, v in result.items() if k != "syscalls"} == {
        k: v for k, v in document.items() if k != "syscalls"
    }


def test_the_old_form_with_one_name() -> None:
    document = {
        "defaultAction": ALLOW,
        "syscalls": [{"name": "mount", "action": "SCMP_ACT_ERRNO", "args": None}],
    }
    assert section(document)["syscalls"] == [{"names": ["mount"], "action": "SCMP_ACT_ERRNO"}]


@pytest.mark.parametrize("document", [{}, {"syscalls": []}, {"defaultAction": "", "syscalls": None}])
def test_a_profile_that_says_nothing(document: dict[str, Any]) -> None:
    assert seccomp_from_profile(document, (), KERNEL, "x86_64") is None


def test_includes_wants_all_and_excludes_one() -> None:
    both = {"caps": ["CAP_SYS_ADMIN", "CAP_BPF"]}
    assert not chosen({"includes": both}, ("CAP_BPF",))
    assert chosen({"includes": both}, ("CAP_BPF", "CAP_SYS_ADMIN"))
    assert chosen({"excludes": both}, ())
    assert not chosen({"excludes": both}, ("CAP_BPF",))


def test_conditions_on_the_kernel() -> None:
    assert chosen({"includes": {"minKernel": "4.8"}}, (), (4, 8))
    assert chosen({"includes": {"minKernel": "4.8"}}, (), (4, 10))
    assert not chosen({"includes": {"minKernel": "4.8"}}, (), (4, 7))
    assert not chosen({"excludes": {"minKernel": "4.8"}}, (), (5, 0))
    assert chosen({"excludes": {"minKernel": "4.8"}}, (), (3, 18))


def test_conditions_on_the_architecture() -> None:
    arm = {"arches": ["arm", "arm64"]}
    assert chosen({"includes": arm}, (), KERNEL, "aarch64")
    assert not chosen({"includes": arm}, (), KERNEL, "x86_64")
    assert not chosen({"excludes": arm}, (), KERNEL, "aarch64")
    assert chosen({"includes": {"arches": ["amd64"]}}, (), KERNEL, "x86_64")


def test_arch_map() -> None:
    rows = [
        {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
        {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
        {"architecture": "SCMP_ARCH_RISCV64", "subArchitectures": None},
    ]
    document = {"defaultAction": ALLOW, "archMap": rows}
    assert section(document)["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
    assert section(document, arch="aarch64")["architectures"] == ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]
    assert section(document, arch="riscv64")["architectures"] == ["SCMP_ARCH_RISCV64"]
    assert "architectures" not in section(document, arch="s390x")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "seccomp profile: an object is wanted"),
        ({"syscalls": {}}, "syscalls: a list is wanted"),
        ({"syscalls": ["mount"]}, r"syscalls\[0\]: an object is wanted, not 'mount'"),
        ({"syscalls": [{"action": ALLOW}]}, r"syscalls\[0\].names: at least one"),
        (
            {"syscalls": [{"name": "a", "names": ["b"], "action": ALLOW}]},
            r"syscalls\[0\]: has both name and names",
        ),
        (
            {"syscalls": [{"names": ["mount"], "action": "ALLOW"}]},
            r"syscalls\[0\].action: unknown value 'ALLOW'",
        ),
        (
            {"syscalls": [{"names": ["mount"], "action": "X", "includes": {"caps": ["CAP_BPF"]}}]},
            r"syscalls\[0\].action: unknown value 'X'",
        ),
        (
            {
                "syscalls": [
                    {"names": ["mount"], "action": ALLOW, "args": [{"index": 9, "op": "SCMP_CMP_EQ"}]}
                ]
            },
            r"syscalls\[0\].args\[0\].index: a number from 0 to 5",
        ),
        ({"syscalls": [{"names": ["m"], "action": ALLOW, "includes": []}]}, r"includes: an object is wanted"),
        (
            {"syscalls": [{"names": ["m"], "action": ALLOW, "excludes": {"caps": [1]}}]},
            r"excludes.caps: a list of",
        ),
        *(
            (
                {"syscalls": [{"names": ["m"], "action": ALLOW, "includes": {"minKernel": version}}]},
                r"syscalls\[0\].includes.minKernel: a kernel version",
            )
            for version in ("4", "4.8.1", "a.b", "-1.2", "0.0", 4.8, "4.")
        ),
        ({"defaultAction": "KILL"}, "defaultAction: unknown value 'KILL'"),
        ({"syscalls": [{"names": ["m"], "action": ALLOW}]}, "defaultAction: unknown value None"),
        ({"defaultAction": ALLOW, "architectures": ["x"], "archMap": [{}]}, "both architectures and archMap"),
        ({"defaultAction": ALLOW, "archMap": [{}]}, r"archMap\[0\].architecture: unknown value None"),
        (
            {
                "defaultAction": ALLOW,
                "archMap": [{"architecture": "SCMP_ARCH_ARM", "subArchitectures": ["arm"]}],
            },
            r"archMap\[0\].subArchitectures: unknown value 'arm'",
        ),
    ],
)
def test_errors_name_the_field(document: object, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        seccomp_from_profile(document, (), KERNEL, "x86_64")


# --------------------------------------------------------------------------------------- the default policy


def allowed(policy: dict[str, Any]) -> set[str]:
    return {name for entry in policy["syscalls"] if "args" not in entry for name in entry["names"]}


@pytest.mark.parametrize("arch", [*ARCHITECTURES, "unheard-of"])
def test_the_default_is_a_valid_section(arch: str) -> None:
    policy = default_seccomp(DEFAULT_CAPABILITIES, KERNEL, arch)
    check(policy)
    assert (policy["defaultAction"], policy["defaultErrnoRet"]) == ("SCMP_ACT_ERRNO", 1)
    names = policy["syscalls"][0]["names"]
    assert len(names) == len(set(names)) > 300


def test_the_default_by_kernel_and_architecture() -> None:
    assert "ptrace" in allowed(default_seccomp((), (4, 8), "x86_64"))
    assert "ptrace" not in allowed(default_seccomp((), (4, 7), "x86_64"))
    assert "ptrace" in allowed(default_seccomp(["CAP_SYS_PTRACE"], (4, 7), "x86_64"))
    assert "arch_prctl" in allowed(default_seccomp((), KERNEL, "x86_64"))
    assert "arch_prctl" not in allowed(default_seccomp((), KERNEL, "aarch64"))


def test_clone_flags_are_the_second_argument_on_s390x() -> None:
    for arch, place in (("x86_64", 0), ("s390x", 1)):
        (clone,) = [e for e in default_seccomp((), KERNEL, arch)["syscalls"] if e["names"] == ["clone"]]
        assert clone["args"][0]["index"] == place


@pytest.mark.parametrize(
    ("capability", "opens"),
    [
        (
            "CAP_SYS_ADMIN",
            {"mount", "umount2", "unshare", "setns", "clone", "clone3", "bpf", "fsopen", "move_mount"},
        ),
        ("CAP_SYS_TIME", {"settimeofday", "clock_settime"}),
        ("CAP_SYS_MODULE", {"init_module", "finit_module", "delete_module"}),
        ("CAP_SYS_BOOT", {"reboot"}),
        ("CAP_SYS_NICE", {"mbind", "set_mempolicy"}),
        ("CAP_SYS_PTRACE", {"kcmp", "process_madvise", "pidfd_getfd"}),
        ("CAP_SYSLOG", {"syslog"}),
        ("CAP_BPF", {"bpf"}),
        ("CAP_PERFMON", {"perf_event_open"}),
        ("CAP_DAC_READ_SEARCH", {"open_by_handle_at"}),
        ("CAP_SYS_CHROOT", {"chroot"}),
    ],
)
def test_the_default_by_capability(capability: str, opens: set[str]) -> None:
    without = allowed(default_seccomp((), KERNEL, "x86_64")) - {"clone3"}
    with_it = allowed(default_seccomp([capability], KERNEL, "x86_64"))
    assert opens <= with_it - without
