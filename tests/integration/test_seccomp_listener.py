"""A seccomp agent answers for the kernel: ``listenerPath`` of a bundle, up to the system call."""

from __future__ import annotations

import array
import fcntl
import json
import os
import socket
import struct
import subprocess
import threading
from pathlib import Path
from typing import Any

from support import command

ODD = 77
SECCOMP_IOCTL_NOTIF_RECV, SECCOMP_IOCTL_NOTIF_SEND = 0xC0502100, 0xC0182101


class Agent:
    """Takes one listener, and answers every question with ``ODD``."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(path))
        self.socket.listen()
        self.socket.settimeout(30)
        self.message: dict[str, Any] = {}
        self.questions = 0
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self) -> None:
        connection, _ = self.socket.accept()
        with connection:
            text, ancillary, _, _ = connection.recvmsg(65536, 100)
            self.message = json.loads(text)
        listener = array.array("i", ancillary[0][2])[0]
        while True:
            request = bytearray(80)
            try:
                fcntl.ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, request)
            except OSError:
                break
            identifier = struct.unpack_from("=Q", request)[0]
            fcntl.ioctl(
                listener, SECCOMP_IOCTL_NOTIF_SEND, bytearray(struct.pack("=QqiI", identifier, 0, -ODD, 0))
            )
            self.questions += 1
            if self.questions == 2:
                break
        os.close(listener)


def test_an_agent_answers(busybox_rootfs: str, tmp_path: Path) -> None:
    agent = Agent(tmp_path / "agent")
    identifier = f"listener-{os.getpid()}"
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}
    document = {
        "ociVersion": "1.0.2",
        "root": {"path": busybox_rootfs, "readonly": True},
        "process": {
            "cwd": "/",
            "env": ["PATH=/bin"],
            "args": ["sh", "-c", "mkdir /tmp/one; mkdir /tmp/two; echo end"],
            "noNewPrivileges": True,
        },
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
        "linux": {
            "namespaces": [{"type": kind} for kind in ("mount", "pid", "uts", "ipc")],
            "seccomp": {
                "defaultAction": "SCMP_ACT_ALLOW",
                "listenerPath": str(tmp_path / "agent"),
                "listenerMetadata": "some text",
                "syscalls": [rule],
            },
        },
    }
    (tmp_path / "config.json").write_text(json.dumps(document))
    runtime = command.installed("mydocker-runtime")
    arguments = ["--root", str(tmp_path / "state"), "run", "--bundle", str(tmp_path), identifier]
    done = subprocess.run([runtime, *arguments], capture_output=True, timeout=60, check=False)
    agent.thread.join(10)
    agent.socket.close()
    assert done.stdout == b"end\n", done
    assert done.stderr.count(os.strerror(ODD).encode()) == 2
    assert agent.questions == 2
    assert (agent.message["fds"], agent.message["metadata"]) == (["seccompFd"], "some text")
    assert agent.message["state"]["id"] == identifier
    assert agent.message["pid"] == agent.message["state"]["pid"] > 0


def test_without_an_agent_nothing_runs(busybox_rootfs: str, tmp_path: Path) -> None:
    document = {
        "ociVersion": "1.0.2",
        "root": {"path": busybox_rootfs},
        "process": {"cwd": "/", "args": ["/bin/true"]},
        "linux": {
            "namespaces": [{"type": "mount"}, {"type": "pid"}],
            "seccomp": {
                "defaultAction": "SCMP_ACT_ALLOW",
                "listenerPath": str(tmp_path / "nobody"),
                "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}],
            },
        },
    }
    (tmp_path / "config.json").write_text(json.dumps(document))
    arguments = ["--root", str(tmp_path / "state"), "run", "--bundle", str(tmp_path), f"nobody-{os.getpid()}"]
    runtime = command.installed("mydocker-runtime")
    done = subprocess.run([runtime, *arguments], capture_output=True, timeout=60, check=False)
    assert done.returncode != 0
    assert b"nobody" in done.stderr
    assert b"Traceback" not in done.stderr
