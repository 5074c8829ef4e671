"""GVariant text: what becomes of it, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from mydocker.runtime import gvariant


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", ("b", True)),
        (" false ", ("b", False)),
        ("12", ("i", 12)),
        ("-3", ("i", -3)),
        ("0x10", ("i", 16)),
        ("1.5", ("d", 1.5)),
        ("1e3", ("d", 1000.0)),
        ("double 3", ("d", 3.0)),
        ("uint64 18446744073709551615", ("t", (1 << 64) - 1)),
        ("byte 0xff", ("y", 255)),
        ("'text'", ("s", "text")),
        ('"te\'xt"', ("s", "te'xt")),
        (r"'a\'b\n'", ("s", "a'b\n")),
        ("objectpath '/x'", ("o", "/x")),
        ("['a', 'b']", ("as", ["a", "b"])),
        ("[ 'a' , ]", ("as", ["a"])),
        ("[byte 1, byte 2]", ("ay", b"\1\2")),
        ("('a', uint32 1)", ("(su)", ("a", 1))),
        ("[('a', true)]", ("a(sb)", [("a", True)])),
    ],
)
def test_values(text: str, value: Any) -> None:
    assert gvariant.parse(text) == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "a value is missing"),
        ("text", "neither a number nor a text in quotes"),
        ("'text", "the end of a text is missing"),
        ("['a'", "] is missing"),
        ("[]", "at least one"),
        ("['a', 1]", "members of one type"),
        ("1 2", "not understood: '2'"),
        ("byte 256", "256 is not between 0 and 255"),
        ("2147483648", "not between"),
        ("uint32 -1", "not between"),
        ("uint32 'a'", "not of the type"),
        ("string 1", "not of the type"),
        ("{'a': 1}", "not understood"),
        ("@u 1", "not understood"),
        ("0x", "neither a number"),
    ],
)
def test_refusals(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match="^.*" + reason.replace("[", r"\[").replace("]", r"\]")):
        gvariant.parse(text)
