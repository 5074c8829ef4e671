"""References are read as Docker reads them; the cases are those that its users meet."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mydocker import errors
from mydocker.oci import reference

SHA = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("alpine", "docker.io/library/alpine", "alpine"),
        ("alpine:3.20", "docker.io/library/alpine:3.20", "alpine:3.20"),
        ("docker.io/alpine", "docker.io/library/alpine", "alpine"),
        ("index.docker.io/library/alpine", "docker.io/library/alpine", "alpine"),
        ("index.docker.io/alpine", "docker.io/library/alpine", "alpine"),
        ("someone/tool", "docker.io/someone/tool", "someone/tool"),
        ("docker.io/library/a/b", "docker.io/library/a/b", "library/a/b"),
        ("localhost/tool", "localhost/tool", "localhost/tool"),
        ("localhost:5000/tool:1", "localhost:5000/tool:1", "localhost:5000/tool:1"),
        ("local:5000", "docker.io/library/local:5000", "local:5000"),
        ("quay.io/a/b/c:v1_2.3-x", "quay.io/a/b/c:v1_2.3-x", "quay.io/a/b/c:v1_2.3-x"),
        ("Upper/tool", "Upper/tool", "Upper/tool"),
        ("[2001:db8::1]:5000/tool", "[2001:db8::1]:5000/tool", "[2001:db8::1]:5000/tool"),
        (f"alpine@{SHA}", f"docker.io/library/alpine@{SHA}", f"alpine@{SHA}"),
        (f"alpine:3.20@{SHA}", f"docker.io/library/alpine:3.20@{SHA}", f"alpine:3.20@{SHA}"),
        ("a__b", "docker.io/library/a__b", "a__b"),
        ("a---b.c_d", "docker.io/library/a---b.c_d", "a---b.c_d"),
        ("127.0.0.1/x", "127.0.0.1/x", "127.0.0.1/x"),
    ],
)
def test_read(text: str, full: str, familiar: str) -> None:
    found = reference.parse(text)
    assert str(found) == full
    assert found.familiar() == familiar
    assert reference.parse(found.familiar()) == found
    assert reference.parse(str(found)) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Alpine", r"^invalid reference format: repository name \(library/Alpine\) must be lowercase$"),
        ("a.b:5/Alpine:x", r"^invalid reference format: repository name \(Alpine\) must be lowercase$"),
        ("library/Alpine", "must be lowercase"),
        ("Invalid//Reference", "must be lowercase"),
        ("a" * 64, "64-byte hexadecimal"),
        ("", "invalid reference format"),
        (":tag", "invalid reference format"),
        ("a:", "invalid reference format"),
        ("a:-x", "invalid reference format"),
        ("a:" + "x" * 129, "invalid reference format"),
        ("a//b", "invalid reference format"),
        ("a/", "invalid reference format"),
        ("/a", "invalid reference format"),
        ("-a", "invalid reference format"),
        ("a-", "invalid reference format"),
        ("a..b", "invalid reference format"),
        ("a___b", "invalid reference format"),
        ("a.-b", "invalid reference format"),
        ("a b", "invalid reference format"),
        ("a\n", "invalid reference format"),
        ("../etc", "invalid reference format"),
        ("-x.io/a", "invalid reference format"),
        ("x.io:port/a", "invalid reference format"),
        ("x.io:/a", "invalid reference format"),
        ("a@", "invalid reference format"),
        ("a@sha256:abc", "invalid checksum digest length"),
        ("a@md5:" + "0" * 32, "unsupported digest algorithm"),
        ("a:1:2", "invalid reference format"),
        ("b/" * 130 + "b", "must not be more than 255 characters"),
    ],
)
def test_refused(text: str, message: str) -> None:
    with pytest.raises(errors.InvalidArgument, match=message):
        reference.parse(text)


def test_default_tag() -> None:
    assert str(reference.parse_tagged("alpine")) == "docker.io/library/alpine:latest"
    assert str(reference.parse(f"alpine@{SHA}").tagged()) == f"docker.io/library/alpine@{SHA}"
    with pytest.raises(errors.InvalidArgument, match="digest"):
        reference.parse_tagged(f"alpine@{SHA}")


@given(st.text(max_size=40) | st.text(alphabet="aA0._-/:@", max_size=30))
def test_whatever_is_read_reads_back(text: str) -> None:
    try:
        found = reference.parse(text)
    except errors.InvalidArgument:
        return
    assert reference.parse(str(found)) == found
    assert reference.parse(found.familiar()) == found
    assert len(found.familiar()) <= len(str(found))
