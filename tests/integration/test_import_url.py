"""``import`` from a web server."""

from __future__ import annotations

from pathlib import Path

from support import faulty
from support.command import Runner
from support.faulty import Answer, Asked, Server


class Archive(Server):
    data = b""

    def answer(self, asked: Asked) -> Answer:
        assert asked.path == "/rootfs.tar"
        return Answer(200, {"Content-Length": str(len(self.data))}, self.data)


def test_an_import_from_a_url(fresh: Runner, busybox_tar: str) -> None:
    with Archive() as server:
        server.data = Path(busybox_tar).read_bytes()
        url = f"{server.url}/rootfs.tar"
        server.when("GET", "/", faulty.truncate(100_000), times=1)
        refused = fresh("import", url, "web:1", check=1)
        assert f"failed to GET {url}" in refused.err
        assert fresh("images", "-q").out == ""
        fresh("import", url, "web:1")
    assert fresh.inspect("web:1")["Comment"] == f"Imported from {url}"
    assert fresh("run", "--rm", "web:1", "echo", "works").line == "works"
