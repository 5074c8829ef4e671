"""Debian's docker-registry on loopback: in plain HTTP, with TLS, with passwords.

with serve(directory) as address: ...                          "127.0.0.1:41234"
with serve(directory, tls=authority.issue("127.0.0.1")) as address: ...
with serve(directory, users={"alice": "secret"}) as address: ...
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from support import command, probe
from support.tls import Issued

PROGRAM = "docker-registry"
_PATIENCE = 10.0


@contextmanager
def serve(
    directory: str,
    *,
    tls: Issued | None = None,
    users: Mapping[str, str] | None = None,
    client_authority: str = "",
    mirror_of: str = "",
) -> Iterator[str]:
    """Serve what is in ``directory``; yields host:port. ``client_authority``: certificates are demanded."""
    port = _free_port()
    http: dict[str, Any] = {"addr": f"127.0.0.1:{port}", "secret": "tests"}
    if tls is not None:
        http["tls"] = {"certificate": tls.certificate, "key": tls.key}
        if client_authority:
            http["tls"]["clientcas"] = [client_authority]
    config: dict[str, Any] = {
        "version": 0.1,
        "log": {"level": "warn"},
        "storage": {
            "filesystem": {"rootdirectory": os.path.join(directory, "registry")},
            "delete": {"enabled": True},
        },
        "http": http,
    }
    if users is not None:
        path = os.path.join(directory, "htpasswd")
        _write(path, "".join(_entry(user, password) for user, password in users.items()))
        config["auth"] = {"htpasswd": {"realm": "tests", "path": path}}
    if mirror_of:
        config["proxy"] = {"remoteurl": mirror_of}
    path = os.path.join(directory, "config.yml")
    _write(path, json.dumps(config))  # JSON is YAML
    log_path = os.path.join(directory, "registry.log")
    with open(log_path, "wb") as log:
        server = subprocess.Popen(
            [probe.program(PROGRAM) or PROGRAM, "serve", path],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        _wait_for(port, server, log_path)
        yield f"127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(10)


def _entry(user: str, password: str) -> str:
    """A line of htpasswd; docker-registry takes bcrypt only."""
    return command.run(["htpasswd", "-nbB", user, password]).out.strip() + "\n"


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def _free_port() -> int:
    with socket.socket() as probe_:
        probe_.bind(("127.0.0.1", 0))
        port: int = probe_.getsockname()[1]
        return port


def _wait_for(port: int, server: subprocess.Popen[bytes], log_path: str) -> None:
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    with open(log_path, errors="replace") as log:
        raise RuntimeError(f"docker-registry did not come up:\n{log.read()[-4000:]}")
