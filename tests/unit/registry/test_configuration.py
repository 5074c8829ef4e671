"""registries.toml and certs.d: what is read, and what is said of what cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from mydocker import errors
from mydocker.registry.configuration import Certificates, Configuration, Settings

EXAMPLE = """
certificates = ["/etc/certs"]

[registry."docker.io"]
mirrors = ["mirror.example:5000", "http://10.1.2.3/hub"]

[registry."mirror.example:5000"]
insecure = true
chunk-size = 16_000_000

[registry."10.0.0.0/8"]
insecure = true

[registry."10.1.1.1:5000"]
insecure = false

[registry."fd00::/8"]
insecure = true

[registry."evil.example"]
blocked = true
"""


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_all_of_it(tmp_path: Path) -> None:
    found = Configuration.read(write(tmp_path / "r.toml", EXAMPLE))
    assert found.settings("docker.io").mirrors == ("mirror.example:5000", "http://10.1.2.3/hub")
    assert found.settings("mirror.example:5000") == Settings(insecure=True, chunk_size=16_000_000)
    assert found.settings("evil.example").blocked
    assert found.settings("other.example") == Settings()


@pytest.mark.parametrize(
    ("host", "insecure"),
    [
        ("mirror.example:5000", True),
        ("mirror.example", False),
        ("10.2.3.4:443", True),
        ("10.2.3.4", True),
        ("10.1.1.1:5000", False),
        ("11.1.1.1", False),
        ("[fd12::1]:5000", True),
        ("[fe12::1]:5000", False),
        ("registry.example", False),
        ("localhost", True),
        ("localhost:5000", True),
        ("127.0.0.1", True),
        ("127.9.9.9:80", True),
        ("[::1]:5000", True),
        ("localhost.example", False),
        ("128.0.0.1", False),
    ],
)
def test_insecure(tmp_path: Path, host: str, insecure: bool) -> None:
    assert Configuration.read(write(tmp_path / "r.toml", EXAMPLE)).is_insecure(host) is insecure


def test_loopback_can_be_secure(tmp_path: Path) -> None:
    assert not Configuration({"localhost:5000": Settings(insecure=False)}).is_insecure("localhost:5000")
    (tmp_path / "localhost:5000").mkdir()
    (tmp_path / "localhost:5000" / "ca.crt").touch()
    found = Configuration(certificates=(str(tmp_path),))
    assert not found.is_insecure("localhost:5000")
    assert found.is_insecure("localhost:5001")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidArgument, match="no such file: /nowhere"):
        Configuration.read("/nowhere")
    with pytest.raises(errors.InvalidArgument, match=r"cannot read .*: Is a directory"):
        Configuration.read(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("registry = 1", "Expected `object`, got `int` - at `\\$.registry`"),
        ("[registry", "Expected ']'"),
        ('[registry."x"]\nmirror = []', "unknown field `mirror`"),
        ('[registry."x"]\nmirrors = "y"', "Expected `array`, got `str`"),
        ('[registry."x"]\nmirrors = ["ftp://y"]', "mirror 'ftp://y' is not"),
        ('[registry."x"]\nmirrors = ["https://"]', "mirror 'https://' is not"),
        ('[registry."x"]\nmirrors = ["user:secret@y"]', "is not"),
        ('[registry."x"]\nchunk-size = -1', "must not be negative"),
        ("\udcff", "decode"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "r.toml"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(errors.InvalidArgument, match=message) as caught:
        Configuration.read(str(path))
    assert str(path) in str(caught.value)


def test_a_network_that_is_none() -> None:
    with pytest.raises(errors.InvalidArgument, match=r"registry '10\.0\.0\.1/8'"):
        Configuration({"10.0.0.1/8": Settings()}).settings("10.0.0.2")


def test_docker_hub_has_its_familiar_name(tmp_path: Path) -> None:
    (tmp_path / "docker.io").mkdir()
    (tmp_path / "docker.io" / "ca.crt").touch()
    found = Configuration({"docker.io": Settings(insecure=True)}, certificates=(str(tmp_path),))
    assert found.is_insecure("registry-1.docker.io")
    assert found.certificates("registry-1.docker.io").authorities == (f"{tmp_path}/docker.io/ca.crt",)


def test_certificates(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for directory in (first / "a:1", second / "a:1", second / "b"):
        directory.mkdir(parents=True)
    for name in ("ca.crt", "other.crt", "client.cert", "client.key", "README"):
        (first / "a:1" / name).touch()
    (second / "a:1" / "not-looked-at.crt").touch()
    (second / "b" / "lonely.cert").touch()
    found = Configuration(certificates=(str(first), str(second)))
    here = str(first / "a:1")
    assert found.certificates("a:1") == Certificates(
        (f"{here}/ca.crt", f"{here}/other.crt"), ((f"{here}/client.cert", f"{here}/client.key"),)
    )
    assert found.certificates("c") == Certificates()
    with pytest.raises(
        errors.InvalidArgument, match=r"missing key lonely.key for client certificate lonely.cert"
    ):
        found.certificates("b")
