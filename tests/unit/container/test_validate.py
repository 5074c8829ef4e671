"""Docker's ranges and conflicts, in Docker's words."""

from __future__ import annotations

import os
import signal

import pytest

from mydocker.container.config import (
    Config,
    DeviceMapping,
    HostConfig,
    LogConfig,
    RestartPolicy,
    Ulimit,
)
from mydocker.container.validate import validate
from mydocker.errors import Error, InvalidArgument
from mydocker.oci.signals import signal_number

MB = 1024 * 1024
CPUS = os.cpu_count()


@pytest.mark.parametrize(
    ("host", "message"),
    [
        (HostConfig(memory=4 * MB), "Minimum memory limit allowed is 6MB"),
        (
            HostConfig(memory=64 * MB, memory_swap=32 * MB),
            "Minimum memoryswap limit should be larger than memory limit, see usage",
        ),
        (
            HostConfig(memory_swap=64 * MB),
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        ),
        (HostConfig(memory_reservation=MB), "Minimum memory reservation allowed is 6MB"),
        (
            HostConfig(memory=8 * MB, memory_reservation=9 * MB),
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        ),
        (HostConfig(memory_swappiness=101), "Invalid value: 101, valid memory swappiness range is 0-100"),
        (HostConfig(oom_score_adj=-1001), "Invalid value -1001, range for oom score adj is [-1000, 1000]"),
        (HostConfig(shm_size=-1), "SHM size can not be less than 0"),
        (
            HostConfig(nano_cpus=100_000),
            f"Range of CPUs is from 0.01 to {CPUS}.00, as there are only {CPUS} CPUs available",
        ),
        (
            HostConfig(nano_cpus=10**9, cpu_period=50_000),
            "Conflicting options: Nano CPUs and CPU Period cannot both be set",
        ),
        (
            HostConfig(nano_cpus=10**9, cpu_quota=50_000),
            "Conflicting options: Nano CPUs and CPU Quota cannot both be set",
        ),
        (HostConfig(cpu_shares=-5), "invalid CPU shares (-5): value must be a positive integer"),
        (
            HostConfig(cpu_period=10),
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        ),
        (HostConfig(cpu_quota=10), "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
        (HostConfig(cpuset_cpus="1-a"), "Invalid value 1-a for cpuset cpus: invalid format: 1-a"),
        (HostConfig(cpuset_cpus="3-1"), "Invalid value 3-1 for cpuset cpus: invalid format: 3-1"),
        (HostConfig(cpuset_mems="x"), "Invalid value x for cpuset mems: invalid format: x"),
        (HostConfig(blkio_weight=5), "Range of blkio weight is from 10 to 1000"),
        (HostConfig(pid_mode="odd"), "invalid PID mode: odd"),
        (HostConfig(ipc_mode="container:"), "invalid IPC mode: container:"),
        (HostConfig(uts_mode="odd"), "invalid UTS mode: odd"),
        (HostConfig(userns_mode="odd"), "invalid USER mode: odd"),
        (HostConfig(cgroupns_mode="odd"), "invalid cgroup namespace mode: odd"),
        (HostConfig(cap_add=["BOGUS"]), 'invalid CapAdd: unknown capability: "CAP_BOGUS"'),
        (HostConfig(cap_drop=["x"]), 'invalid CapDrop: unknown capability: "CAP_X"'),
        (HostConfig(security_opt=["odd"]), "invalid --security-opt 1: 'odd'"),
        (HostConfig(security_opt=["seccomp={"]), "Decoding seccomp profile failed"),
        (HostConfig(device_cgroup_rules=["c 1:3"]), "invalid device cgroup rule format: 'c 1:3'"),
        (HostConfig(ulimits=[Ulimit(name="odd", soft=1, hard=1)]), "invalid ulimit type: odd"),
        (
            HostConfig(ulimits=[Ulimit(name="nofile", soft=2, hard=1)]),
            "ulimit soft limit must be less than or equal to hard limit: 2 > 1",
        ),
        (
            HostConfig(log_config=LogConfig(type="odd")),
            'error looking up logging plugin odd: plugin "odd" not found',
        ),
        (HostConfig(sysctls={"kernel.panic": "1"}), "sysctl 'kernel.panic' is not allowed"),
        (
            HostConfig(sysctls={"net.core.somaxconn": "1"}, network_mode="host"),
            "sysctl 'net.core.somaxconn' not allowed in host network namespace",
        ),
        (
            HostConfig(sysctls={"kernel.msgmax": "1"}, ipc_mode="host"),
            "sysctl 'kernel.msgmax' not allowed in host ipc namespace",
        ),
        (
            HostConfig(devices=[DeviceMapping(path_on_host="/dev/null", cgroup_permissions="rx")]),
            "invalid device mode: rx",
        ),
        (
            HostConfig(auto_remove=True, restart_policy=RestartPolicy(name="always")),
            "can't create 'AutoRemove' container with restart policy",
        ),
    ],
)
def test_host_config_refused(host: HostConfig, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        validate(Config(), host)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("config", "host", "message"),
    [
        (Config(hostname="h"), HostConfig(uts_mode="host"), "hostname and the UTS mode"),
        (Config(hostname="h"), HostConfig(network_mode="container:x"), "hostname and the network mode"),
        (Config(working_dir="rel"), HostConfig(), "the working directory 'rel' is invalid"),
        (Config(env=["=x"]), HostConfig(), "invalid environment variable: =x"),
        (Config(stop_signal="SIGNOPE"), HostConfig(), "Invalid signal: SIGNOPE"),
        (Config(hostname="h" * 65), HostConfig(), "64 characters"),
    ],
)
def test_config_refused(config: Config, host: HostConfig, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        validate(config, host)


@pytest.mark.parametrize(
    "host",
    [
        HostConfig(),
        HostConfig(memory=6 * MB, memory_swap=-1),
        HostConfig(nano_cpus=10_000_000),
        HostConfig(cpuset_cpus="0", cpuset_mems="0"),
        HostConfig(cpu_quota=-1),
        HostConfig(security_opt=["no-new-privileges", "seccomp=unconfined", "apparmor=unconfined"]),
        HostConfig(security_opt=['seccomp={"defaultAction":"SCMP_ACT_ALLOW"}', "no-new-privileges:false"]),
        HostConfig(sysctls={"net.core.somaxconn": "1", "kernel.msgmax": "1", "fs.mqueue.msg_max": "5"}),
        HostConfig(ulimits=[Ulimit(name="core", soft=0, hard=-1)], privileged=True),
    ],
)
def test_allowed(host: HostConfig) -> None:
    validate(Config(env=["A=b", "C"]), host)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("KILL", 9),
        ("sigterm", 15),
        ("SIGUSR1", 10),
        (9, 9),
        ("64", 64),
        ("RTMIN", signal.SIGRTMIN),
        ("SIGRTMIN+3", signal.SIGRTMIN + 3),
        ("RTMAX-1", signal.SIGRTMAX - 1),
    ],
)
def test_signals(name: str | int, number: int) -> None:
    assert signal_number(name) == number


@pytest.mark.parametrize("name", ["", "0", "65", "-1", "NOPE", "TERM+1", "RTMIN+", "RTMAX+1", "SIG"])
def test_signals_refused(name: str) -> None:
    with pytest.raises(Error) as caught:
        signal_number(name)
    assert str(caught.value) == f"Invalid signal: {name}"
