"""Digests: ``sha256:`` and 64 lower-case hexadecimal digits (OCI image-spec, descriptor.md#digests).

In scope: what a well-formed digest is, and the chain of layer digests (config.md#layer-chainid). Out of
scope: hashing of streams, which belongs to whoever reads the stream.

Vocabulary: a *digest* names the bytes of a blob as stored (often compressed), a *diff_id* the uncompressed
tar of one layer, a *chain_id* a whole stack of layers up to one.
"""

import hashlib

from .. import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_HEX = frozenset("0123456789abcdef")
_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}


def is_hex(text: str) -> bool:
    """Whether ``text`` consists of lower-case hexadecimal digits only (an empty one does not)."""
    return bool(text) and _HEX.issuperset(text)


def validate(digest: str) -> str:
    """Return ``digest`` if it is well-formed and of an algorithm that the specification registers."""
    algorithm, separator, encoded = digest.partition(":")
    length = _LENGTHS.get(algorithm)
    if not separator:
        raise errors.InvalidArgument(f"invalid checksum digest format: {digest!r}")
    if length is None:
        raise errors.InvalidArgument(f"unsupported digest algorithm: {digest!r}")
    if len(encoded) != length:
        raise errors.InvalidArgument(f"invalid checksum digest length: {digest!r} (want {length} digits)")
    if not is_hex(encoded):
        raise errors.InvalidArgument(f"invalid checksum digest format: {digest!r}")
    return digest


def validate_sha256(digest: str) -> str:
    """Like ``validate``, for what is stored here: files are named after SHA-256 only."""
    validate(digest)
    if not digest.startswith("sha256:"):
        raise errors.NotSupported(f"digest {digest}: only sha256 is supported")
    return digest


def encoded(digest: str) -> str:
    """The part after the colon."""
    return digest.partition(":")[2]


def is_encoded(text: str) -> bool:
    """Whether ``text`` can be the part of a sha256 digest after its colon."""
    return len(text) == _LENGTHS["sha256"] and is_hex(text)


def of(data: bytes) -> str:
    """The sha256 digest of ``data``."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def chain_ids(diff_ids: "Sequence[str]") -> list[str]:
    """The chain id of every layer, bottom first: ChainID(n) = Digest(ChainID(n-1) + " " + DiffID(n))."""
    chain: list[str] = []
    for diff_id in diff_ids:
        chain.append(chained(chain[-1] if chain else "", diff_id))
    return chain


def chained(parent: str, diff_id: str) -> str:
    """The chain id of a layer on top of the chain ``parent``, which is empty for the lowest layer."""
    return of(f"{parent} {diff_id}".encode()) if parent else diff_id
