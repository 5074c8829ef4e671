"""An application of two services, as people run them: a web server in front of a database (Redis)."""

from __future__ import annotations

import os
import shutil
import time
import urllib.request
from pathlib import Path

import pytest

from support import command, probe, rootfs
from support.command import Runner

MISSING = probe.missing_programs("nft", "redis-check-rdb", "redis-cli", "ldd")
pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING or "")

PAGE = "<h1>{}</h1>"
COUNT = """#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
redis-cli -h cache incr visits | tee -a /www/log
"""


def add_program(directory: Path, source: str, name: str) -> None:
    """A program of this system with the libraries that it needs."""
    shutil.copy(source, directory / "bin" / name)
    for line in command.run(["ldd", source]).out.splitlines():
        library = next((word for word in line.split() if word.startswith("/")), "")
        if library:
            target = directory / library.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, target)


@pytest.fixture(scope="module")
def application(session_runner: Runner, tmp_path_factory: pytest.TempPathFactory) -> str:
    """One image with both servers; Debian's Redis is one program that goes by its name."""
    directory = Path(rootfs.build(str(tmp_path_factory.mktemp("application") / "root")))
    for path, name in (("/usr/bin/redis-check-rdb", "redis-server"), ("/usr/bin/redis-cli", "redis-cli")):
        add_program(directory, path, name)
    (directory / "www/cgi-bin").mkdir(parents=True)
    (directory / "www/index.html").write_text(PAGE.format("from the image"))
    (directory / "www/cgi-bin/count").write_text(COUNT)
    os.chmod(directory / "www/cgi-bin/count", 0o755)
    archive = rootfs.pack(str(directory), str(tmp_path_factory.mktemp("archive") / "application.tar"))
    session_runner("import", "-c", "VOLUME /data", "-c", "EXPOSE 80", archive, "application:1")
    return "application:1"


def get(port: int, path: str = "/") -> str:
    """The page, once the server is up."""
    end = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                text: str = answer.read().decode().strip()
                return text
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def visits(port: int) -> int:
    """One more; while the database starts there is no number."""
    end = time.monotonic() + 20
    while not (text := get(port, "/cgi-bin/count")).isdigit():
        assert time.monotonic() < end, text
        time.sleep(0.05)
    return int(text)


def start_database(mydocker: Runner, image: str) -> str:
    words = ("redis-server", "--dir", "/data", "--appendonly", "yes", "--appendfsync", "always",
               "--protected-mode", "no")  # fmt: skip
    flags = ("--name", "cache", "--network", "tiers", "-v", "records:/data", "--read-only")
    container = mydocker("run", "-d", *flags, image, *words).line
    wait_for_database(mydocker)
    return container


def wait_for_database(mydocker: Runner) -> None:
    """Until it has read its data; what it says before is no number, and goes into the log as well."""
    end = time.monotonic() + 20
    while mydocker("exec", "cache", "redis-cli", "ping", check=False).out != "PONG\n":
        assert time.monotonic() < end
        time.sleep(0.05)


def start_web(mydocker: Runner, image: str) -> int:
    flags = ("--name", "web", "--network", "tiers", "-v", "pages:/www", "-p", "127.0.0.1::80")
    mydocker("run", "-d", *flags, image, "httpd", "-f", "-h", "/www")
    return port_of(mydocker)


def port_of(mydocker: Runner) -> int:
    return int(mydocker("port", "web", "80").line.rpartition(":")[2])


def test_web_and_database(mydocker: Runner, application: str) -> None:
    mydocker("network", "create", "tiers")
    start_database(mydocker, application)
    port = start_web(mydocker, application)
    assert get(port) == PAGE.format("from the image"), "the volume began with the image's pages"
    assert visits(port) == 1

    # a page is edited where the volume lies, and by another container that has it
    pages = mydocker("volume", "inspect", "pages", "-f", "{{.Mountpoint}}").line
    Path(pages, "index.html").write_text(PAGE.format("from the host"))
    assert get(port) == PAGE.format("from the host")
    edit = f"echo '{PAGE.format('from a container')}' > /www/index.html"
    mydocker("run", "--rm", "--volumes-from", "web", application, "sh", "-c", edit)
    assert get(port) == PAGE.format("from a container")

    # one side is started again, and the other finds it by its name
    mydocker("restart", "-t", "5", "cache")
    wait_for_database(mydocker)
    assert visits(port) == 2
    mydocker("restart", "-t", "1", "web")
    port = port_of(mydocker)
    assert visits(port) == 3

    # both are removed, with -v as well, and new ones have their data
    busy = mydocker("volume", "rm", "records", check=1)
    assert "remove records: volume is in use" in busy.err
    mydocker("rm", "--force", "--volumes", "cache", "web")
    start_database(mydocker, application)
    port = start_web(mydocker, application)
    assert visits(port) == 4
    assert get(port) == PAGE.format("from a container")
    assert Path(pages, "log").read_text().split() == ["1", "2", "3", "4"]

    # a backup goes elsewhere, while the database works on
    mydocker("volume", "clone", "records", "copy")
    assert visits(port) == 5
    mydocker("rm", "--force", "cache")
    mydocker("volume", "rm", "records")
    mydocker("volume", "rename", "copy", "records")
    start_database(mydocker, application)
    assert visits(port) == 5, "as it was when the copy was made"

    mydocker("rm", "--force", "--volumes", "cache", "web")
    pruned = mydocker("volume", "prune", "--all", "--force").out
    assert pruned.startswith("Deleted Volumes:\npages\nrecords\n")
    mydocker("network", "rm", "tiers")
