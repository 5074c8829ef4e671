"""``manifest``: look at manifests on registries, and put several into a list for several platforms.

    create    local list: members are looked up on their registries
    annotate  local list: say what platform a member is for
    push      members from other repositories of the registry are mounted into the list's own, then the list
    inspect   a local list, or what a registry has

Images in the store have no part in this. The words are Docker's (docker manifest(1)).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec

from .. import errors
from ..oci import descriptor as descriptors
from ..oci.reference import Reference
from ..registry.client import Registries, Repository
from ..registry.remote import Document
from .documents import Descriptor, ImageConfig, Index, Manifest, Platform, decode
from .lists import Lists, Member, encode

_CONFIG = 8 << 20
"""bytes; a configuration that is larger is none"""
# GOOS/GOARCH pairs that there are images for (https://go.dev/doc/install/source#environment)
_PAIRS = {
    "darwin": "386 amd64 arm arm64",
    "dragonfly": "amd64",
    "freebsd": "386 amd64 arm arm64",
    "linux": "386 amd64 arm arm64 loong64 mips mips64 mips64le mipsle ppc64 ppc64le riscv64 s390x",
    "netbsd": "386 amd64 arm",
    "openbsd": "386 amd64 arm",
    "plan9": "386 amd64",
    "solaris": "amd64",
    "windows": "386 amd64 arm arm64",
}
_ELSEWHERE = ("foreign", "nondistributable")


def fetch(registries: Registries, reference: Reference) -> Member:
    """The manifest of an image. NotFound; InvalidArgument if it is a list."""
    repository = registries.repository(reference)
    found = _manifest(repository, reference)
    if found.media_type in descriptors.INDEXES:
        raise errors.InvalidArgument(f"{reference} is a manifest list")
    return _member(repository, str(reference), found)


def _manifest(repository: Repository, reference: Reference) -> Document:
    try:
        return repository.manifest(reference.digest or reference.tag)
    except errors.NotFound as error:
        raise errors.NotFound(f"no such manifest: {reference} ({error})") from error


def _member(repository: Repository, reference: str, found: Document) -> Member:
    manifest = decode(Manifest, found.data, f"manifest {reference}")
    platform = Platform()
    if manifest.config.media_type in (descriptors.OCI_CONFIG, descriptors.DOCKER_CONFIG):
        size = min(manifest.config.size, _CONFIG)
        data = b"".join(repository.blob(manifest.config.digest, size=size))
        config = decode(ImageConfig, data, f"configuration of {reference}")
        platform = Platform(
            architecture=config.architecture,
            os=config.os,
            variant=config.variant,
            os_version=config.os_version,
            os_features=config.os_features,
        )
    descriptor = Descriptor(
        media_type=found.media_type, digest=found.digest, size=len(found.data), platform=platform
    )
    return Member(reference, descriptor, found.data)


def inspect(
    lists: Lists, registries: Registries, reference: Reference, *, within: Reference | None, whole: bool
) -> Member | list[Member]:
    """A manifest, or the members of a list; ``within`` a local list, or local before what a registry has.

    ``whole``: the manifests of a list's members are fetched too.
    """
    if within is not None:
        return lists.member(reference, within)
    try:
        return lists.get(reference)
    except errors.NotFound:
        repository = registries.repository(reference)
    found = _manifest(repository, reference)
    if found.media_type not in descriptors.INDEXES:
        return _member(repository, str(reference), found)
    members = []
    for entry in decode(Index, found.data, f"manifest list {reference}").manifests:
        name = f"{reference}@{entry.digest}"
        raw = repository.manifest(entry.digest).data if whole else b""
        members.append(Member(name, entry, raw))
    return members


def create(
    lists: Lists, registries: Registries, target: Reference, references: Sequence[Reference], *, amend: bool
) -> None:
    """Make a local list of what ``references`` are on their registries; ``amend``: or add to one.

    Conflict if there is one of that name and ``amend`` is not given.
    """
    try:
        known = {member.reference: member for member in lists.get(target)}
    except errors.NotFound:
        known = {}
    else:
        if not amend:
            raise errors.Conflict("refusing to amend an existing manifest list with no --amend flag")
    members = [
        (reference, known.get(str(reference)) or fetch(registries, reference)) for reference in references
    ]
    lists.save(target, members)


def annotate(lists: Lists, target: Reference, reference: Reference, changes: Platform) -> None:
    """Set what ``changes`` says of the platform of a member; features are added to those that it has."""
    try:
        member = lists.member(reference, target)
    except errors.NotFound as error:
        raise errors.NotFound(f"manifest for image {reference} does not exist in {target}") from error
    platform = member.descriptor.platform or Platform()
    features = dict.fromkeys((*(platform.os_features or ()), *(changes.os_features or ())))
    platform = Platform(
        architecture=changes.architecture or platform.architecture,
        os=changes.os or platform.os,
        variant=changes.variant or platform.variant,
        os_version=changes.os_version or platform.os_version,
        os_features=tuple(features),
    )
    _check(platform)
    descriptor = msgspec.structs.replace(member.descriptor, platform=platform)
    lists.save(target, [(reference, Member(member.reference, descriptor, member.raw))])


def _check(platform: Platform) -> None:
    if platform.architecture not in _PAIRS.get(platform.os, "").split():
        raise errors.InvalidArgument(
            "manifest entry for image has unsupported os/arch combination: "
            f"{platform.os}/{platform.architecture}"
        )


def push(
    lists: Lists, registries: Registries, target: Reference, parse: Callable[[str], Reference], *, purge: bool
) -> Iterator[str]:
    """Push a local list, and what of its members is not in its repository; yields Docker's lines.

    The last one is the digest of the list. ``parse`` reads the references of members.
    """
    members = lists.get(target)
    if not members:
        raise errors.NotFound(f"{target} not found")
    repository = registries.repository(target, push=True)
    for member in members:
        _check(member.descriptor.platform or Platform())
        source = parse(member.reference)
        if source.domain != target.domain:
            raise errors.InvalidArgument(
                "cannot use source images from a different registry than the target image: "
                f"{source.domain} != {target.domain}"
            )
    for member in members:
        source = parse(member.reference)
        if source.name != target.name:
            yield from _bring(registries, repository, source, target, member)
    media_type, data = encode(members)
    digest = repository.put_manifest(target.digest or target.tag, media_type, data)
    if purge:
        lists.remove(target)
    yield digest


def _bring(
    registries: Registries, repository: Repository, source: Reference, target: Reference, member: Member
) -> Iterator[str]:
    """Have the target's repository hold a manifest of another repository, with its blobs."""
    manifest = decode(Manifest, member.raw, f"manifest {member.reference}")
    origin = registries.repository(source)
    for blob in (manifest.config, *manifest.layers):
        if any(word in blob.media_type for word in _ELSEWHERE):
            continue
        if repository.blob_size(blob.digest) is None and not repository.mount(blob.digest, source.path):
            repository.upload(blob.digest, blob.size, _reader(origin, blob))
    digest = repository.put_manifest(member.descriptor.digest, member.descriptor.media_type, member.raw)
    yield f"Pushed ref {target.name}@{digest} with digest: {digest}"


def _reader(origin: Repository, blob: Descriptor) -> Callable[[int], Iterator[bytes]]:
    return lambda offset: origin.blob(blob.digest, offset=offset, size=blob.size)
