from __future__ import annotations

import os

import pytest

from mydocker.errors import InvalidArgument
from mydocker.oci.capabilities import (
    CAPABILITIES,
    DEFAULT_CAPABILITIES,
    bounding_set,
    effective_capabilities,
)


def mask(names: list[str]) -> str:
    return f"{sum(1 << CAPABILITIES.index(name) for name in names):016x}"


def test_default_is_dockers() -> None:
    assert mask(effective_capabilities(None, None, available=CAPABILITIES)) == "00000000a80425fb"


def test_names_are_the_kernels() -> None:
    with open("/proc/sys/kernel/cap_last_cap") as file:
        assert len(CAPABILITIES) >= int(file.read()) + 1
    with open("/proc/self/status") as file:
        (bounding,) = [line.split()[1] for line in file if line.startswith("CapBnd")]
    assert mask(bounding_set()) == bounding


@pytest.mark.parametrize(
    "name", ["net_admin", "NET_ADMIN", "cap_net_admin", "CAP_NET_ADMIN", "Cap_Net_Admin"]
)
def test_add_in_any_spelling(name: str) -> None:
    assert effective_capabilities([name], None, available=CAPABILITIES) == [
        *DEFAULT_CAPABILITIES,
        "CAP_NET_ADMIN",
    ]


@pytest.mark.parametrize(
    ("add", "drop", "expected"),
    [
        ([], ["ALL"], []),
        (["chown"], ["all"], ["CAP_CHOWN"]),
        (["ALL"], [], list(CAPABILITIES)),
        (["ALL"], ["SYS_ADMIN"], [name for name in CAPABILITIES if name != "CAP_SYS_ADMIN"]),
        (
            ["chown", "CHOWN"],
            ["chown"],
            [*(n for n in DEFAULT_CAPABILITIES if n != "CAP_CHOWN"), "CAP_CHOWN"],
        ),
        (["KILL"], [], list(DEFAULT_CAPABILITIES)),
    ],
)
def test_add_and_drop(add: list[str], drop: list[str], expected: list[str]) -> None:
    assert effective_capabilities(add, drop, available=CAPABILITIES) == expected


def test_privileged_has_what_the_host_has() -> None:
    some = ["CAP_CHOWN", "CAP_SYS_ADMIN"]
    assert effective_capabilities([], ["ALL"], privileged=True, available=some) == some


def test_what_the_host_lacks() -> None:
    lacking = [name for name in CAPABILITIES if name not in ("CAP_MKNOD", "CAP_BPF")]
    assert "CAP_MKNOD" not in effective_capabilities(None, None, available=lacking)
    assert "CAP_BPF" not in effective_capabilities(["ALL"], None, available=lacking)
    with pytest.raises(InvalidArgument, match=r'capability not supported by your kernel .*: "CAP_BPF"'):
        effective_capabilities(["bpf"], None, available=lacking)


@pytest.mark.parametrize("name", ["", "SYS_ADM", "CAP_", "CAP_CAP_CHOWN", "chown "])
def test_unknown(name: str) -> None:
    with pytest.raises(InvalidArgument, match="unknown capability:"):
        effective_capabilities([name], None, available=CAPABILITIES)
    with pytest.raises(InvalidArgument, match="unknown capability:"):
        effective_capabilities(None, [name], privileged=True, available=CAPABILITIES)


def test_this_process_if_nothing_is_said() -> None:
    assert set(effective_capabilities(["ALL"], None)) == set(bounding_set())
    assert os.geteuid() != 0 or "CAP_CHOWN" in bounding_set()
