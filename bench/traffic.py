"""Traffic to and between containers, and many of them on one bridge.

A static busybox serves a large file and a small one from a container of each engine; ab(1) and busybox's wget
fetch them from another machine (a network namespace at the other end of a veth) by the published port, and
from another container. Both engines are in one network namespace, as on one host.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import engines
import report

ROUNDS = 24
"""at least: both sides move bytes with the same kernel, and differ by less than the noise of a few"""
MEGABYTES = 256
REQUESTS, AT_ONCE = 2000, 8
CROWD, EDGE = 200, 50
_HERE, _THERE = "10.200.0.1", "10.200.0.2"
_SERVER = (
    f"busybox mkdir /www; busybox dd if=/dev/zero of=/www/large bs=1M count={MEGABYTES}; "
    "echo small > /www/small; exec busybox httpd -f -p 80 -h /www"
)
_PATIENCE = 30.0


@contextmanager
def machine(environment: Mapping[str, str]) -> Iterator[int]:
    """Another machine; the PID of a process that is in its network namespace."""
    with subprocess.Popen(["unshare", "--net", "sleep", "100000"], env=environment) as process:
        try:
            time.sleep(0.5)
            there = ["nsenter", "--target", str(process.pid), "--net"]
            peer = ["type", "veth", "peer", "eth0", "netns", str(process.pid)]
            for command in (
                ["ip", "link", "add", "cable", *peer],
                ["ip", "address", "add", f"{_HERE}/24", "dev", "cable"],
                ["ip", "link", "set", "cable", "up"],
                [*there, "ip", "address", "add", f"{_THERE}/24", "dev", "eth0"],
                [*there, "ip", "link", "set", "eth0", "up"],
            ):
                engines.run([engines.program(command[0]), *command[1:]], environment)
            yield process.pid
        finally:
            process.kill()


def serve(client: Sequence[str], port: int, environment: Mapping[str, str]) -> str:
    """Start the server; its address in its network."""
    run = ["run", "-d", "--name", "server", "-p", f"{port}:80", engines.IMAGE, "sh", "-c", _SERVER]
    engines.run([*client, *run], environment)
    address = _inspect(client, "server", environment)["NetworkSettings"]["IPAddress"]
    end = time.monotonic() + _PATIENCE
    fetch = [engines.program("busybox"), "wget", "-q", "-O", "/dev/null", f"http://{address}/small"]
    while subprocess.run(fetch, env=environment, capture_output=True, check=False).returncode:
        if time.monotonic() > end:
            raise engines.Missing(f"no server at {address}")
        time.sleep(0.1)
    return str(address)


def neighbour(client: Sequence[str], environment: Mapping[str, str]) -> int:
    """Another container; the PID of its process."""
    run = ["run", "-d", "--name", "neighbour", engines.IMAGE, "sleep", "100000"]
    engines.run([*client, *run], environment)
    pid: int = _inspect(client, "neighbour", environment)["State"]["Pid"]
    return pid


def _inspect(client: Sequence[str], name: str, environment: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(engines.run([*client, "inspect", name], environment))[0]
    return found


def outside(port: int) -> str:
    return f"{_HERE}:{port}"


def fetch(pid: int, address: str) -> list[str]:
    """The command that fetches the large file from the network namespace of ``pid``."""
    wget = [engines.program("busybox"), "wget", "-q", "-O", "/dev/null", f"http://{address}/large"]
    return [engines.program("nsenter"), "--target", str(pid), "--net", *wget]


def requests(pid: int, address: str) -> list[str]:
    ab = [engines.program("ab"), "-q", "-n", str(REQUESTS), "-c", str(AT_ONCE), f"http://{address}/small"]
    return [engines.program("nsenter"), "--target", str(pid), "--net", *ab]


def crowd(
    client: Sequence[str], environment: Mapping[str, str], once: Callable[[list[str]], float]
) -> report.Row:
    """How long the first and the last of many containers on one bridge take to start; ``once`` times one."""
    run = [*client, "run", "-d", "--network", "crowd", engines.IMAGE, "sleep", "100000"]
    engines.run([*client, "network", "create", "crowd"], environment)
    for _ in range(3):
        engines.run([*client, "run", "--rm", "--network", "crowd", engines.IMAGE, "true"], environment)
    times = [once(run) for _ in range(CROWD)]
    left = engines.run([*client, "ps", "--quiet"], environment).split()
    engines.run([*client, "rm", "--force", *left], environment)
    engines.run([*client, "network", "rm", "crowd"], environment)
    first, last = times[:EDGE], times[-EDGE:]
    ratio = statistics.median(last) / statistics.median(first)
    verdict = "reached" if ratio <= 1.1 else "missed"
    lines = [
        [f"the first {EDGE}", f"{statistics.median(first) * 1e3:.1f}"],
        [f"the last {EDGE}", f"{statistics.median(last) * 1e3:.1f}"],
        [f"ratio (goal: at most 1.1): {verdict}", f"{ratio:.2f}"],
    ]
    return report.Row(
        f"run -d of {CROWD} containers on one bridge, their files in memory", ("", "median, ms"), lines
    )
