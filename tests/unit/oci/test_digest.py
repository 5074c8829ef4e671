"""Digests and chain ids, with the examples of the image specification."""

from __future__ import annotations

import hashlib

import pytest

from mydocker import errors
from mydocker.oci import digest

EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_of() -> None:
    assert digest.of(b"") == EMPTY


@pytest.mark.parametrize("good", [EMPTY, "sha512:" + "a" * 128, "sha384:" + "0" * 96])
def test_well_formed(good: str) -> None:
    assert digest.validate(good) == good


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "sha256",
        "sha256:",
        "e" * 64,
        EMPTY[:-1],
        EMPTY + "0",
        EMPTY.upper(),
        EMPTY.replace("e", "E"),
        "sha256:" + "g" * 64,
        "md5:" + "0" * 32,
        "sha256:../../../../etc/passwd",
        "sha256:" + "0" * 63 + "\n",
    ],
)
def test_malformed(bad: str) -> None:
    with pytest.raises(errors.InvalidArgument):
        digest.validate(bad)


def test_only_sha256_is_stored() -> None:
    with pytest.raises(errors.NotSupported, match="sha512"):
        digest.validate_sha256("sha512:" + "a" * 128)


def test_chain_ids() -> None:
    """ChainID(L0|...|Ln) = Digest(ChainID(L0|...|Ln-1) + " " + DiffID(Ln))"""
    first, second, third = (digest.of(bytes([n])) for n in range(3))
    two = "sha256:" + hashlib.sha256(f"{first} {second}".encode()).hexdigest()
    three = "sha256:" + hashlib.sha256(f"{two} {third}".encode()).hexdigest()
    assert digest.chain_ids([first, second, third]) == [first, two, three]
    assert digest.chain_ids([]) == []
