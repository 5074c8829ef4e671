"""Images through a registry: one that is made for it, Debian's docker-registry on loopback, and the commands.

The image is like a real one in what costs time: 400 MB in 20,000 files of sizes from nothing to megabytes, in
12 layers of gzip. Every engine pulls it into a store from which it was removed before.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import socket
import subprocess
import tarfile
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import engines
import measure
import report

LAYERS, FILES, SIZE = 12, 20_000, 400 << 20
_DELETED = 61
"""seconds for which ext4 passes over inodes that were deleted, one by one (fs/ext4/ialloc.c, RECENTCY_MIN)"""
_OCI = "application/vnd.oci.image."
_LEVEL = 1
"""of zlib; what reads it takes about the same time for any"""


def build(directory: str) -> str:
    """An OCI image layout with the image; returns its directory."""
    chance = random.Random(1)
    os.makedirs(f"{directory}/blobs/sha256")
    words = [chance.randbytes(chance.randint(4, 24)) for _ in range(4000)]
    text = b"".join(chance.choice(words) for _ in range(300_000))
    layers, diff_ids = [], []
    for number in range(LAYERS):
        data = _layer(number, text, chance)
        diff_ids.append(f"sha256:{hashlib.sha256(data).hexdigest()}")
        compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, 31)
        layers.append(_blob(directory, compressor.compress(data) + compressor.flush(), "layer.v1.tar+gzip"))
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{_OCI}manifest.v1+json",
        "config": _blob(directory, json.dumps(config).encode(), "config.v1+json"),
        "layers": layers,
    }
    entry = _blob(directory, json.dumps(manifest).encode(), "manifest.v1+json")
    entry["annotations"] = {"org.opencontainers.image.ref.name": "1"}
    _write(f"{directory}/index.json", json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode())
    _write(f"{directory}/oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    return directory


def _layer(number: int, text: bytes, chance: random.Random) -> bytes:
    """A tar whose files have the sizes of a Pareto distribution: many small ones, some large."""
    count = FILES // LAYERS
    weights = [chance.paretovariate(1.1) for _ in range(count)]
    unit = SIZE / LAYERS / sum(weights)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for at, weight in enumerate(weights):
            begin = chance.randrange(len(text))
            size = int(weight * unit)
            data = (text[begin:] + text * (size // len(text) + 1))[:size]
            member = tarfile.TarInfo(f"usr/part{number}/{at // 40}/file{at}")
            member.size, member.mode, member.mtime = size, 0o644, 1_700_000_000 + at
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def _blob(directory: str, data: bytes, kind: str) -> dict[str, object]:
    digest = hashlib.sha256(data).hexdigest()
    _write(f"{directory}/blobs/sha256/{digest}", data)
    return {"mediaType": _OCI + kind, "digest": f"sha256:{digest}", "size": len(data)}


def _write(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)


@contextmanager
def registry(directory: str, environment: Mapping[str, str]) -> Iterator[str]:
    """docker-registry with the image in it; yields the image's name there."""
    layout = build(f"{directory}/layout")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    config = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": f"{directory}/data"}},
        "http": {"addr": address, "secret": "bench"},
    }
    _write(f"{directory}/config.yml", json.dumps(config).encode())  # JSON is YAML
    server = subprocess.Popen(
        [engines.program("docker-registry"), "serve", f"{directory}/config.yml"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    try:
        _wait_for(address, server)
        name = f"{address}/bench/many:1"
        copy = [engines.program("skopeo"), "--insecure-policy", "copy", "--dest-tls-verify=false"]
        engines.run([*copy, f"oci:{layout}:1", f"docker://{name}"], environment)
        yield name
    finally:
        server.terminate()
        server.wait(10)


def _wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
    host, _, port = address.partition(":")
    for _ in range(200):
        try:
            socket.create_connection((host, int(port)), 1).close()
            return
        except OSError:
            time.sleep(0.05)
        if server.poll() is not None:
            break
    raise engines.Missing("docker-registry did not come up")


def rows(
    clients: Mapping[str, list[str]], directory: str, environment: Mapping[str, str], log: str, rounds: int
) -> list[report.Row]:
    """Pulls into cold stores, and pushes of an image that the registry has, of which nothing is sent."""
    ours, *others = clients
    os.makedirs(directory)
    with registry(directory, environment) as name:

        def forget() -> None:
            for client in clients.values():
                command = [*client, "rmi", "--force", name]
                subprocess.run(command, env=environment, capture_output=True, check=False)
            os.sync()
            time.sleep(_DELETED)

        def commands(verb: str) -> dict[str, list[str]]:
            insecure = {"podman": ["--tls-verify=false"]}
            return {
                engine: [*client, verb, "--quiet", *insecure.get(engine, []), name]
                for engine, client in clients.items()
            }

        compare = measure.compare
        pulls = compare(commands("pull"), environment, log, rounds, 1, sync=True, before=forget)
        pushes = compare(commands("push"), environment, log, rounds, 1)
    title = f"{SIZE >> 20} MB, {FILES:,} files, {LAYERS} layers, from a registry on loopback"
    return [
        report.time_row(f"pull of {title}", pulls, ours, others, dict.fromkeys(others, 1)),
        report.time_row("push of the same, which the registry has", pushes, ours, others, {}),
    ]
