"""TLS, plain HTTP, proxies, mirrors: which host is spoken to, and what it has to show."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mydocker import errors
from mydocker.oci import reference as references
from mydocker.registry.configuration import Configuration, Settings
from mydocker.registry.connections import proxy_for
from mydocker.registry.credentials import Auth, Given
from support import faulty, probe
from support.fake_registry import FakeRegistry, TokenService
from support.socks_proxy import REFUSED, SocksProxy
from support.tls import Authority

Make = Callable[..., Any]
ALICE = Auth("alice", "open sesame")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    if reason := probe.missing_programs("openssl"):
        pytest.skip(reason)
    return Authority(str(tmp_path_factory.mktemp("authority")))


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def certs(parent: Path, host: str, **files: str) -> tuple[str, ...]:
    """certs.d with links for one host: ``certs(…, ca_crt=path)``."""
    directory = parent / "certs.d" / host
    directory.mkdir(parents=True)
    for name, path in files.items():
        os.symlink(path, directory / name.replace("_", "."))
    return (str(parent / "certs.d"),)


def pull(registries: Any, domain: str) -> Any:
    return registries.repository(references.parse(f"{domain}/a/b")).manifest("1")


# ---- TLS


def test_a_loopback_registry_with_tls_is_not_verified(authority: Authority, registries: Make) -> None:
    with FakeRegistry(tls=authority.issue("other.example").context()) as fake:
        fake.add_manifest("a/b", "1")
        assert pull(registries(), fake.address)


def test_a_loopback_registry_without_tls(fake: FakeRegistry, registries: Make) -> None:
    fake.add_manifest("a/b", "1")
    assert pull(registries(), fake.address)


def test_a_secure_registry_is_verified(authority: Authority, registries: Make) -> None:
    with FakeRegistry(tls=authority.issue("127.0.0.1").context()) as fake:
        fake.add_manifest("a/b", "1")
        secure = Configuration({fake.address: Settings(insecure=False)}, certificates=())
        with pytest.raises(errors.Unavailable) as caught:
            pull(registries(secure), fake.address)
        text = str(caught.value)
        assert f"{fake.address}/a/b:1: cannot reach {fake.address}: certificate verify failed" in text
        assert f"/etc/mydocker/certs.d/{fake.address}/ca.crt" in text
        assert "insecure = true" in text
        assert fake.requests == []


def test_an_authority_of_ones_own(authority: Authority, registries: Make, tmp_path: Path) -> None:
    with FakeRegistry(tls=authority.issue("127.0.0.1").context()) as fake:
        fake.add_manifest("a/b", "1")
        trusted = certs(tmp_path, fake.address, ca_crt=authority.certificate)
        assert pull(registries(Configuration(certificates=trusted)), fake.address)


def test_a_child_makes_tls_of_its_own(authority: Authority, registries: Make) -> None:
    with FakeRegistry(tls=authority.issue("127.0.0.1").context()) as fake:
        fake.add_manifest("a/b", "1")
        made = registries()
        pull(made, fake.address)
        child = os.fork()
        if child == 0:
            try:
                pull(made, fake.address)
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        pull(made, fake.address)
        before, other, after = (asked.peer for asked in fake.asked("GET", "/manifests/"))
        assert before == after != other


def test_a_certificate_for_another_host(authority: Authority, registries: Make, tmp_path: Path) -> None:
    with FakeRegistry(tls=authority.issue("other.example").context()) as fake:
        trusted = certs(tmp_path, fake.address, ca_crt=authority.certificate)
        with pytest.raises(errors.Unavailable, match="certificate verify failed: IP address mismatch"):
            pull(registries(Configuration(certificates=trusted)), fake.address)


def test_a_client_certificate(authority: Authority, registries: Make, tmp_path: Path) -> None:
    issued = authority.issue("127.0.0.1")
    with FakeRegistry(tls=issued.context(authority.certificate)) as fake:
        fake.add_manifest("a/b", "1")
        files = {"ca_crt": authority.certificate, "client_cert": issued.certificate, "client_key": issued.key}
        trusted = certs(tmp_path, fake.address, **files)
        assert pull(registries(Configuration(certificates=trusted)), fake.address)
        without = certs(tmp_path / "without", fake.address, ca_crt=authority.certificate)
        with pytest.raises(errors.Unavailable, match=f"cannot reach {fake.address}: "):
            pull(registries(Configuration(certificates=without)), fake.address)


def test_a_client_key_that_is_encrypted(
    authority: Authority, fake: FakeRegistry, registries: Make, tmp_path: Path
) -> None:
    """As with docker, which has nowhere to ask for the password either."""
    issued = authority.issue("127.0.0.1")
    encrypted = tmp_path / "encrypted.key"
    subprocess.run(
        ["openssl", "pkey", "-in", issued.key, "-aes256", "-passout", "pass:secret", "-out", encrypted],
        check=True,
    )
    files = {"ca_crt": authority.certificate, "client_cert": issued.certificate}
    trusted = certs(tmp_path, fake.address, client_key=str(encrypted), **files)
    with pytest.raises(errors.InvalidArgument) as caught:
        pull(registries(Configuration(certificates=trusted)), fake.address)
    path = f"{trusted[0]}/{fake.address}/client.cert"
    assert str(caught.value) == f"cannot use {path}: its key is encrypted, which is not supported"
    assert fake.requests == []


def test_a_certificate_that_is_none(fake: FakeRegistry, registries: Make, tmp_path: Path) -> None:
    (tmp_path / "junk").write_text("junk")
    trusted = certs(tmp_path, fake.address, ca_crt=str(tmp_path / "junk"))
    with pytest.raises(errors.InvalidArgument, match=f"cannot use {trusted[0]}/{fake.address}/ca.crt"):
        pull(registries(Configuration(certificates=trusted)), fake.address)


def test_plain_http_is_refused_by_a_secure_client(fake: FakeRegistry, registries: Make) -> None:
    secure = Configuration({fake.address: Settings(insecure=False)}, certificates=())
    with pytest.raises(errors.Unavailable, match="a registry without TLS needs insecure = true"):
        pull(registries(secure), fake.address)
    assert fake.requests == []


def test_credentials_and_a_token_service_without_tls(
    authority: Authority, registries: Make, tmp_path: Path
) -> None:
    with (
        TokenService(users={"alice": ALICE.password}) as tokens,
        FakeRegistry(tls=authority.issue("127.0.0.1").context(), tokens=tokens) as fake,
    ):
        trusted = certs(tmp_path, fake.address, ca_crt=authority.certificate)
        made = registries(Configuration(certificates=trusted), ALICE, fake.address)
        with pytest.raises(errors.Forbidden, match="credentials are not sent to the token service"):
            pull(made, fake.address)
        assert tokens.requests == []


# ---- proxies


@pytest.mark.parametrize(
    ("netloc", "exceptions", "used"),
    [
        ("reg.example", "", True),
        ("reg.example:5000", "", True),
        ("localhost:5000", "", False),
        ("127.0.0.1:5000", "", False),
        ("[::1]:5000", "", False),
        ("reg.example", "*", False),
        ("reg.example", "reg.example", False),
        ("reg.example", " other, REG.example ", False),
        ("a.reg.example", "reg.example", False),
        ("areg.example", "reg.example", True),
        ("reg.example", ".reg.example", True),
        ("a.reg.example", ".reg.example", False),
        ("reg.example:5000", "reg.example:5000", False),
        ("reg.example:5001", "reg.example:5000", True),
        ("reg.example", "reg.example:443", False),
        ("10.1.2.3", "10.0.0.0/8", False),
        ("11.1.2.3", "10.0.0.0/8", True),
        ("10.1.2.3:5000", "10.1.2.3", False),
        ("10.1.2.3", "example,,", True),
    ],
)
def test_no_proxy(monkeypatch: pytest.MonkeyPatch, netloc: str, exceptions: str, used: bool) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", exceptions)
    assert proxy_for("https", netloc) == ("http://proxy:3128" if used else "")


def test_proxy_of_either_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "one:1")
    monkeypatch.setenv("HTTP_PROXY", "two:2")
    assert proxy_for("http", "reg.example") == "http://one:1"
    assert proxy_for("https", "reg.example") == ""
    monkeypatch.setenv("HTTPS_PROXY", "socks4://three:3")
    with pytest.raises(errors.NotSupported, match="HTTPS_PROXY: a proxy of the kind socks4"):
        proxy_for("https", "reg.example")


def test_through_a_proxy(fake: FakeRegistry, registries: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake is the proxy: what it is asked for has the registry's name in it."""
    fake.add_manifest("a/b", "1")
    monkeypatch.setenv("http_proxy", f"http://bob:p%40ss@{fake.address}")
    monkeypatch.setenv("https_proxy", f"http://bob:p%40ss@{fake.address}")
    insecure = Configuration({"reg.example": Settings(insecure=True)}, certificates=())
    assert pull(registries(insecure), "reg.example")
    expected = "Basic " + base64.b64encode(b"bob:p@ss").decode()
    assert [asked.method for asked in fake.requests] == ["CONNECT", "GET"]
    assert fake.requests[1].target == "http://reg.example/v2/a/b/manifests/1"
    assert {asked.headers["proxy-authorization"] for asked in fake.requests} == {expected}


def test_tls_through_a_proxy(
    authority: Authority,
    fake: FakeRegistry,
    registries: Make,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    with FakeRegistry(tls=authority.issue("reg.example").context()) as far:
        far.add_manifest("a/b", "1")
        fake.tunnel = far.address
        monkeypatch.setenv("HTTPS_PROXY", fake.url)
        trusted = certs(tmp_path, "reg.example:5000", ca_crt=authority.certificate)
        assert pull(registries(Configuration(certificates=trusted)), "reg.example:5000")
        assert [asked.target for asked in fake.requests] == ["reg.example:5000"]
        assert [asked.target for asked in far.requests] == ["/v2/a/b/manifests/1"]


def test_a_proxy_that_is_down(registries: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    with faulty.free_port() as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://bob:secret@127.0.0.1:{port}")
        with pytest.raises(errors.Unavailable) as caught:
            pull(registries(), "reg.example")
    assert str(caught.value).startswith("reg.example/a/b:1: cannot reach reg.example: ")
    assert "proxy" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.fixture
def pysocks() -> None:
    pytest.importorskip("socks", reason="needs PySocks")


@pytest.mark.usefixtures("pysocks")
def test_through_socks(
    authority: Authority, registries: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Names are looked up by the proxy."""
    with (
        FakeRegistry(tls=authority.issue("reg.example").context()) as far,
        SocksProxy(far.address, user=("bob", "p@ss")) as proxy,
    ):
        far.add_manifest("a/b", "1")
        certs(tmp_path, "reg.example", ca_crt=authority.certificate)
        trusted = certs(tmp_path, "reg.example:5000", ca_crt=authority.certificate)
        configuration = Configuration(certificates=trusted)
        for scheme, host, port in (("socks5", "reg.example", 443), ("socks5h", "reg.example:5000", 5000)):
            monkeypatch.setenv("HTTPS_PROXY", f"{scheme}://bob:p%40ss@{proxy.address}")
            assert pull(registries(configuration), host)
            assert proxy.asked.pop() == (3, "reg.example", port)
        assert proxy.asked == []
        monkeypatch.setenv("HTTPS_PROXY", f"socks5://bob:other@{proxy.address}")
        with pytest.raises(
            errors.Unavailable, match=r"cannot reach reg\.example: proxy: .*authentication failed"
        ):
            pull(registries(configuration), "reg.example")
        assert (proxy.refused, proxy.asked) == (1, [])


@pytest.mark.usefixtures("pysocks")
def test_http_through_socks(fake: FakeRegistry, registries: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.add_manifest("a/b", "1")
    insecure = Configuration({"reg.example": Settings(insecure=True)}, certificates=())
    with SocksProxy(fake.address) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"socks5://{proxy.address}")
        monkeypatch.setenv("HTTPS_PROXY", f"socks5://{proxy.address}")
        assert pull(registries(insecure), "reg.example")
        assert {asked[1:] for asked in proxy.asked} == {("reg.example", 443), ("reg.example", 80)}
    assert fake.requests[-1].target == "/v2/a/b/manifests/1"


@pytest.mark.usefixtures("pysocks")
def test_socks_that_refuses(registries: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    with SocksProxy("", reply=REFUSED) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"socks5://{proxy.address}")
        with pytest.raises(
            errors.Unavailable, match=r"cannot reach reg\.example: proxy: .*Connection refused$"
        ):
            pull(registries(), "reg.example")
    with pytest.raises(errors.Unavailable, match=r"cannot reach reg\.example: proxy: .*Connection refused$"):
        pull(registries(), "reg.example")


def test_socks_without_pysocks(registries: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "socks", None)
    monkeypatch.setenv("HTTPS_PROXY", "socks5://bob:secret@proxy.example")
    with pytest.raises(errors.NotSupported) as caught:
        pull(registries(), "reg.example")
    assert str(caught.value) == (
        "the proxy socks5://proxy.example needs PySocks (pip install 'mydocker[socks]')"
    )


# ---- mirrors


@pytest.fixture
def mirrored(fake: FakeRegistry) -> Callable[..., Configuration]:
    def make(*mirrors: str) -> Configuration:
        return Configuration({fake.address: Settings(mirrors=mirrors)}, certificates=())

    return make


def test_mirrors_come_first(fake: FakeRegistry, registries: Make, mirrored: Make) -> None:
    blob = fake.add_blob(b"contents")
    with FakeRegistry() as first, FakeRegistry() as second:
        for server in (first, second, fake):
            server.add_manifest("a/b", "1")
        first.blobs = fake.blobs
        made = registries(mirrored(first.address, second.url))
        repository = made.repository(references.parse(f"{fake.address}/a/b"))
        assert repository.manifest("1")
        assert repository.resolve("1")
        assert list(repository.tags()) == ["1"]
        assert b"".join(repository.blob(blob, size=8)) == b"contents"
        assert fake.requests == second.requests == []


def test_a_mirror_below_a_path(fake: FakeRegistry, registries: Make, mirrored: Make) -> None:
    with FakeRegistry() as mirror:
        mirror.add_manifest("deep/hub/a/b", "1")
        assert pull(registries(mirrored(f"{mirror.url}/deep/hub/")), fake.address)


@pytest.mark.parametrize(
    "spoil",
    [
        faulty.status(404),
        faulty.status(403),
        faulty.status(500),
        faulty.hang_up(),
        faulty.corrupt(),
        faulty.body(b"x"),
    ],
)
def test_the_registry_itself_stands_in(
    fake: FakeRegistry, registries: Make, mirrored: Make, spoil: faulty.Spoil
) -> None:
    blob = fake.add_blob(b"contents")
    fake.add_manifest("a/b", "1")
    with FakeRegistry() as mirror:
        mirror.manifests = fake.manifests
        mirror.blobs = fake.blobs
        mirror.when("*", "", spoil)
        repository = registries(mirrored(mirror.address)).repository(references.parse(f"{fake.address}/a/b"))
        assert repository.manifest("1")
        assert repository.resolve("1")
        assert b"".join(repository.blob(blob, size=8, mirrors=False)) == b"contents"


def test_a_blob_goes_on_at_the_registry(fake: FakeRegistry, registries: Make, mirrored: Make) -> None:
    data = os.urandom(200_000)
    blob = fake.add_blob(data)
    gone = faulty.Answer(404)
    with FakeRegistry() as mirror:
        mirror.blobs = fake.blobs
        mirror.when("GET", "/blobs/", faulty.truncate(150_000), times=1)
        mirror.when("GET", "/blobs/", lambda asked, answer: gone if "range" in asked.headers else answer)
        repository = registries(mirrored(mirror.address)).repository(references.parse(f"{fake.address}/a/b"))
        assert b"".join(repository.blob(blob, size=len(data))) == data
        assert [asked.headers["range"] for asked in fake.requests if "/blobs/" in asked.path] == [
            "bytes=150000-"
        ]


def test_a_mirror_that_is_down(
    fake: FakeRegistry, registries: Make, mirrored: Make, notices: list[str]
) -> None:
    """It is left out from then on, and that is said once."""
    fake.add_manifest("a/b", "1")
    with faulty.free_port() as port:
        made = registries(mirrored(f"127.0.0.1:{port}"))
        assert made.repository(references.parse(f"{fake.address}/a/b")).has_mirrors
        assert pull(made, fake.address)
        assert pull(made, fake.address)
        assert not made.repository(references.parse(f"{fake.address}/a/b")).has_mirrors
    assert notices == [
        f"mirror 127.0.0.1:{port} of {fake.address} is left out: {fake.address}/a/b:1: "
        f"cannot reach 127.0.0.1:{port}: connection refused"
    ]


def test_a_mirror_that_lacks_something_is_asked_again(
    fake: FakeRegistry, registries: Make, mirrored: Make, notices: list[str]
) -> None:
    fake.add_manifest("a/b", "1")
    with FakeRegistry() as mirror:
        made = registries(mirrored(mirror.address))
        pull(made, fake.address)
        pull(made, fake.address)
        assert len(mirror.asked("GET", "/manifests/1")) == 2
    assert notices == []


def test_a_blob_without_the_mirrors(fake: FakeRegistry, registries: Make, mirrored: Make) -> None:
    """What is asked for after a mirror has sent something else."""
    blob = fake.add_blob(b"contents")
    with FakeRegistry() as mirror:
        mirror.blobs = {("a/b", blob): b"nonsense"}
        repository = registries(mirrored(mirror.address)).repository(references.parse(f"{fake.address}/a/b"))
        assert b"".join(repository.blob(blob, size=8)) == b"nonsense"
        assert b"".join(repository.blob(blob, size=8, mirrors=False)) == b"contents"


def test_a_port_that_there_is_not(registries: Make) -> None:
    with pytest.raises(errors.InvalidArgument, match="invalid registry localhost:99999: port out of range"):
        pull(registries(), "localhost:99999")


def test_the_registrys_own_error_counts(fake: FakeRegistry, registries: Make, mirrored: Make) -> None:
    with FakeRegistry() as mirror:
        mirror.when("*", "", faulty.status(500))
        with pytest.raises(errors.NotFound, match=f"manifest for {fake.address}/a/b:1 not found"):
            pull(registries(mirrored(mirror.address)), fake.address)


def test_a_push_goes_to_the_registry(fake: FakeRegistry, registries: Make, mirrored: Make) -> None:
    with FakeRegistry() as mirror:
        made = registries(mirrored(mirror.address))
        repository = made.repository(references.parse(f"{fake.address}/a/b"), push=True)
        repository.upload(fake.add_blob(b"x", "elsewhere"), 1, lambda _: iter([b"x"]))
        assert repository.resolve("1") is None
        assert mirror.requests == []


def test_credentials_are_the_mirrors_own(fake: FakeRegistry, registries: Make, mirrored: Make) -> None:
    with FakeRegistry(users={"alice": ALICE.password}) as mirror:
        mirror.add_manifest("a/b", "1")
        fake.add_manifest("a/b", "1")
        for_registry = registries(mirrored(mirror.address), ALICE, fake.address)
        assert pull(for_registry, fake.address)
        assert all("authorization" not in asked.headers for asked in mirror.requests)
        for_mirror = registries(mirrored(mirror.address), ALICE, mirror.address)
        fake.requests.clear()
        assert pull(for_mirror, fake.address)
        assert fake.requests == []


def test_a_blocked_registry(registries: Make) -> None:
    made = registries(Configuration({"evil.example": Settings(blocked=True)}, path="/etc/r.toml"))
    with pytest.raises(errors.Forbidden, match=r"registry evil\.example is blocked by /etc/r\.toml"):
        made.repository(references.parse("evil.example/a/b"))


def test_docker_hub_is_on_another_host(registries: Make) -> None:
    endpoint = registries().endpoints("docker.io")[0]
    assert (endpoint.netloc, endpoint.domain, str(endpoint)) == (
        "registry-1.docker.io",
        "docker.io",
        "docker.io",
    )


def test_given_credentials_are_for_one_domain() -> None:
    assert Given("a", ALICE).get("a") == ALICE
    assert Given("a", ALICE).get("b") is None
