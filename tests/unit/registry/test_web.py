"""A file from a web server: whole, along redirects, or an error with its address."""

from __future__ import annotations

from pathlib import Path

import pytest

from mydocker import errors
from mydocker.registry import web
from mydocker.registry.configuration import Configuration
from support import faulty, probe
from support.faulty import Answer, Asked, Server
from support.tls import Authority

CONTENTS = bytes(range(256)) * 10_000


class Files(Server):
    def answer(self, asked: Asked) -> Answer:
        known = {"/file": CONTENTS, "/empty": b""}
        data = known.get(asked.path)
        if data is None:
            return Answer(404, {"Content-Length": "0"})
        return Answer(200, {"Content-Length": str(len(data)), "Content-Encoding": "gzip"}, data)


def got(url: str, configuration: Configuration | None = None) -> bytes:
    return b"".join(web.get(configuration or Configuration(certificates=()), url))


def test_a_file_as_it_is() -> None:
    """Whatever the server calls its encoding: an archive says itself what it is."""
    with Files() as server:
        assert got(f"{server.url}/file") == CONTENTS
        assert got(f"{server.url}/empty") == b""
        server.when("GET", "/file", faulty.without_length(), times=1)
        assert got(f"{server.url}/file") == CONTENTS


def test_redirects() -> None:
    with Files() as server, Files() as other:
        server.when("GET", "/moved", faulty.redirect(f"{other.url}/again", 302))
        other.when("GET", "/again", faulty.redirect("/file", 301))
        assert got(f"{server.url}/moved") == CONTENTS
        server.when("GET", "/round", faulty.redirect("/round"))
        with pytest.raises(errors.Unavailable, match="more than 10 redirects"):
            got(f"{server.url}/round")
        server.when("GET", "/local", faulty.redirect("file:///etc/passwd"))
        with pytest.raises(errors.InvalidArgument, match="'file:///etc/passwd' is no http or https address"):
            got(f"{server.url}/local")


def test_refusals() -> None:
    with Files() as server:
        with pytest.raises(errors.NotFound, match=f"{server.url}/none with status 404 Not Found"):
            got(f"{server.url}/none")
        for status, kind in ((401, errors.Forbidden), (500, errors.Unavailable), (304, errors.Unavailable)):
            server.when("GET", "/file", faulty.status(status), times=1)
            with pytest.raises(kind, match=f"with status {status}"):
                got(f"{server.url}/file")


def test_a_file_that_ends_early() -> None:
    with Files() as server:
        server.when("GET", "/file", faulty.truncate(100_000))
        with pytest.raises(errors.Unavailable, match=f"failed to GET {server.url}/file"):
            got(f"{server.url}/file")


def test_nobody_there() -> None:
    with Files() as server:
        url = server.url
    with pytest.raises(errors.Unavailable, match=f"failed to GET {url}/file"):
        got(f"{url}/file")
    with pytest.raises(errors.InvalidArgument, match="is no http or https address"):
        got("http://")


def test_tls(tmp_path: Path) -> None:
    """The configuration's authorities, as for registries."""
    if reason := probe.missing_programs("openssl"):
        pytest.skip(reason)
    authority = Authority(str(tmp_path))
    with Files(tls=authority.issue("127.0.0.1").context()) as server:
        assert got(f"{server.url}/file") == CONTENTS, "loopback is trusted as it is"
