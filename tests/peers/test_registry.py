"""Debian's docker-registry, in plain HTTP, with TLS, with passwords; skopeo and docker as the other side."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mydocker import errors
from mydocker.oci import descriptor as descriptors
from mydocker.oci import reference as references
from mydocker.registry.client import Registries, Repository
from mydocker.registry.configuration import Configuration, Settings
from mydocker.registry.credentials import Auth, Credentials, Given
from mydocker.registry.patience import Patience
from support import docker_registry, faulty, probe
from support.command import Runner
from support.fake_registry import digest_of
from support.peers import PeerImage, Tool
from support.tls import Authority

SHORT = Patience(delay=0.01)
BLOB = os.urandom(3_000_000)
DIGEST = digest_of(BLOB)
CONFIG = b"{}"
MANIFEST = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": descriptors.OCI_MANIFEST,
        "config": {"mediaType": descriptors.OCI_CONFIG, "digest": digest_of(CONFIG), "size": len(CONFIG)},
        "layers": [{"mediaType": descriptors.OCI_LAYER, "digest": DIGEST, "size": len(BLOB)}],
    }
).encode()
USERS = {"alice": "open sesame"}
ALICE = Auth("alice", USERS["alice"])


def read(offset: int) -> Iterator[bytes]:
    for at in range(offset, len(BLOB), 500_000):
        yield BLOB[at : at + 500_000]


def connect(
    address: str,
    path: str,
    *,
    push: bool = False,
    auth: Auth | None = None,
    settings: Settings | None = None,
    certificates: tuple[str, ...] = (),
) -> Repository:
    configuration = Configuration({address: settings} if settings else {}, certificates=certificates)
    registries = Registries(configuration, Given(address, auth), patience=SHORT)
    return registries.repository(references.parse(f"{address}/{path}"), push=push)


def push(repository: Repository) -> str:
    repository.upload(DIGEST, len(BLOB), read)
    repository.upload(digest_of(CONFIG), len(CONFIG), lambda offset: iter([CONFIG[offset:]]))
    return repository.put_manifest("1", descriptors.OCI_MANIFEST, MANIFEST)


@pytest.fixture(scope="module")
def authority(short_directory: str) -> Authority:
    if reason := probe.missing_programs("openssl"):
        pytest.skip(reason)
    directory = os.path.join(short_directory, "authority")
    os.mkdir(directory)
    return Authority(directory)


@pytest.fixture(scope="module")
def guarded(short_directory: str) -> Iterator[str]:
    """With htpasswd."""
    if reason := probe.missing_programs("docker-registry", "htpasswd"):
        pytest.skip(reason)
    directory = os.path.join(short_directory, "guarded")
    os.mkdir(directory)
    with docker_registry.serve(directory, users=USERS) as address:
        yield address


@pytest.mark.parametrize("chunk", [0, 1_000_000], ids=["monolithic", "chunked"])
def test_there_and_back(registry: str, chunk: int) -> None:
    path = f"there/and-back-{chunk}"
    repository = connect(registry, path, push=True, settings=Settings(chunk_size=chunk))
    assert repository.blob_size(DIGEST) is None
    assert push(repository) == digest_of(MANIFEST)
    assert repository.blob_size(DIGEST) == len(BLOB)
    again = connect(registry, path)
    document = again.manifest("1")
    assert (document.media_type, document.digest, document.data) == (
        descriptors.OCI_MANIFEST,
        digest_of(MANIFEST),
        MANIFEST,
    )
    assert again.manifest(document.digest) == document
    assert again.resolve("1") == document._replace(data=b"")
    assert again.resolve("2") is None
    assert list(again.tags()) == ["1"]
    assert b"".join(again.blob(DIGEST, size=len(BLOB))) == BLOB
    assert b"".join(again.blob(DIGEST, offset=2_999_999, size=len(BLOB))) == BLOB[2_999_999:]
    assert b"".join(again.blob(DIGEST, offset=len(BLOB))) == b""


def test_mount(registry: str) -> None:
    connect(registry, "mount/source", push=True).upload(DIGEST, len(BLOB), read)
    repository = connect(registry, "mount/target", push=True)
    assert repository.mount(DIGEST, "mount/source")
    assert repository.blob_size(DIGEST) == len(BLOB)
    assert not repository.mount(digest_of(CONFIG + b" "), "mount/source")
    repository.upload(digest_of(CONFIG + b" "), 3, lambda offset: iter([(CONFIG + b" ")[offset:]]))
    assert repository.blob_size(digest_of(CONFIG + b" ")) == 3


@pytest.mark.parametrize("chunk", [0, 1_000_000], ids=["monolithic", "chunked"])
def test_an_upload_through_a_proxy_that_breaks(registry: str, chunk: int) -> None:
    """This registry gives an upload up once anything is wrong with it, so it begins anew each time."""
    with faulty.Proxy(registry) as proxy:
        # What the registry says about where the upload goes leads around the proxy, unless it is a path.
        proxy.when("*", "/uploads/", lambda _asked, answer: _through(answer, registry, proxy.address))
        proxy.when("PATCH", "/uploads/", faulty.hang_up(), times=1)
        proxy.when("PUT", "/uploads/", faulty.status(503), times=1, instead=True)
        path = f"broken/upload-{chunk}"
        repository = connect(proxy.address, path, push=True, settings=Settings(chunk_size=chunk))
        repository.upload(DIGEST, len(BLOB), read)
        sent = sum(len(asked.body) for asked in proxy.requests)
    assert b"".join(connect(registry, path).blob(DIGEST, size=len(BLOB))) == BLOB
    assert sent == len(BLOB) + (chunk or len(BLOB))


def _through(answer: faulty.Answer, registry: str, proxy: str) -> faulty.Answer:
    headers = {name: value.replace(registry, proxy) for name, value in answer.headers.items()}
    return faulty.Answer(answer.status, headers, answer.body, answer.cut, answer.reset, answer.silent)


def test_a_download_through_a_proxy_that_breaks(registry: str) -> None:
    connect(registry, "broken/download", push=True).upload(DIGEST, len(BLOB), read)
    with faulty.Proxy(registry) as proxy:
        proxy.when("GET", "/blobs/", faulty.truncate(700_000))
        assert b"".join(connect(proxy.address, "broken/download").blob(DIGEST, size=len(BLOB))) == BLOB
        assert len(proxy.asked("GET", "/blobs/")) == 5


def test_tls_with_an_authority_of_ones_own(
    authority: Authority, short_directory: str, tmp_path: Path
) -> None:
    if reason := probe.missing_programs("docker-registry"):
        pytest.skip(reason)
    issued = authority.issue("127.0.0.1")
    directory = os.path.join(short_directory, "with-tls")
    os.mkdir(directory)
    with docker_registry.serve(directory, tls=issued, client_authority=authority.certificate) as address:
        place = tmp_path / address
        place.mkdir()
        os.symlink(authority.certificate, place / "ca.crt")
        os.symlink(issued.certificate, place / "client.cert")
        os.symlink(issued.key, place / "client.key")
        trusted = (str(tmp_path),)
        push(connect(address, "a/b", push=True, certificates=trusted))
        assert connect(address, "a/b", certificates=trusted).manifest("1").data == MANIFEST
        with pytest.raises(errors.Unavailable, match="certificate verify failed"):
            connect(address, "a/b", settings=Settings(insecure=False)).manifest("1")


def test_a_pull_through_mirror(registry: str, short_directory: str) -> None:
    """The registry itself does not exist: everything comes from its mirror."""
    push(connect(registry, "behind/mirror", push=True))
    directory = os.path.join(short_directory, "mirror")
    os.mkdir(directory)
    with docker_registry.serve(directory, mirror_of=f"http://{registry}") as mirror:
        repository = connect("reg.invalid", "behind/mirror", settings=Settings(mirrors=(mirror,)))
        assert repository.manifest("1").data == MANIFEST
        assert b"".join(repository.blob(DIGEST, size=len(BLOB))) == BLOB


def test_passwords(guarded: str) -> None:
    push(connect(guarded, "a/b", push=True, auth=ALICE))
    assert connect(guarded, "a/b", auth=ALICE).manifest("1").data == MANIFEST
    for auth in (None, Auth("alice", "wrong"), Auth("bob", "x")):
        with pytest.raises(
            errors.Unauthorized, match=f"{guarded}/a/b:1: unauthorized: authentication required"
        ):
            connect(guarded, "a/b", auth=auth).manifest("1")


def test_a_login_of_dockers_is_ours(docker: Tool, guarded: str, tmp_path: Path) -> None:
    directory = str(tmp_path)
    with_config = Tool((docker.prefix[0], "--config", directory, *docker.prefix[3:]), docker.environment)
    with_config("login", "--username", "alice", "--password-stdin", guarded, input=USERS["alice"].encode())
    assert Credentials(directory).get(guarded) == ALICE
    assert Credentials(directory).erase(guarded)
    assert with_config("login", guarded, check=False, input=b"").code != 0


def test_a_login_of_ours_is_dockers(
    mydocker: Runner, docker: Tool, guarded: str, docker_image: PeerImage, tmp_path: Path
) -> None:
    directory = str(tmp_path)
    secret = USERS["alice"].encode()
    mydocker("--config", directory, "login", "-u", "alice", "--password-stdin", guarded, stdin=secret)
    with_config = Tool((docker.prefix[0], "--config", directory, *docker.prefix[3:]), docker.environment)
    name = f"{guarded}/from/docker:1"
    docker("tag", docker_image.name, name)
    with_config("push", name)
    reference = references.parse(name)
    repository = Registries(Configuration(), Credentials(directory)).repository(reference)
    assert repository.manifest("1").media_type == descriptors.DOCKER_MANIFEST
    with_config("logout", guarded)
    assert Credentials(directory).get(guarded) is None
    docker("rmi", name)


def test_a_login_of_ours_is_skopeos(mydocker: Runner, skopeo: Tool, guarded: str, tmp_path: Path) -> None:
    push(connect(guarded, "for/skopeo", push=True, auth=ALICE))
    secret = USERS["alice"].encode()
    mydocker("--config", str(tmp_path), "login", "-u", "alice", "--password-stdin", guarded, stdin=secret)
    name = f"docker://{guarded}/for/skopeo:1"
    options = ("--tls-verify=false", "--authfile", str(tmp_path / "config.json"), "--raw")
    assert skopeo("inspect", *options, name).stdout == MANIFEST


def test_search(mydocker: Runner, registry: str) -> None:
    push(connect(registry, "to/be-found", push=True))
    assert "to/be-found" in mydocker("search", f"{registry}/be-f").out
