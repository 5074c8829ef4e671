"""Names of ``cp``: where a source goes, and what a container path means."""

from __future__ import annotations

import pytest

from mydocker import errors
from mydocker.cli.commands.cp import split
from mydocker.container.copy import clean, means_directory, stored_name
from mydocker.engine.copy import _placed


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("c:/x", ("c", "/x")),
        ("c:x:y", ("c", "x:y")),
        ("c:", ("c", "")),
        ("/a:b", ("", "/a:b")),
        ("./a:b", ("", "./a:b")),
        ("../a:b", ("", "../a:b")),
        ("a", ("", "a")),
        ("-", ("", "-")),
    ],
)
def test_container_and_path(argument: str, expected: tuple[str, str]) -> None:
    assert split(argument) == expected


@pytest.mark.parametrize(
    ("path", "plain", "name", "directory"),
    [
        ("/a/b", "/a/b", "b", False),
        ("a/b", "/a/b", "b", False),
        ("/a/b/", "/a/b", "b", True),
        ("/a/b/.", "/a/b", ".", True),
        ("/a/../b", "/b", "b", False),
        ("../../x", "/x", "x", False),
        ("//x", "/x", "x", False),
        ("/", "/", ".", True),
        (".", "/", ".", True),
    ],
)
def test_paths_in_a_container(path: str, plain: str, name: str, directory: bool) -> None:
    assert (clean(path), stored_name(path), means_directory(path)) == (plain, name, directory)


@pytest.mark.parametrize(("path", "why"), [("", "empty"), ("a\0b", "zero byte")])
def test_paths_that_are_none(path: str, why: str) -> None:
    with pytest.raises(errors.InvalidArgument, match=why):
        clean(path)


@pytest.mark.parametrize(
    ("exists", "is_directory", "strict", "source_is_directory", "expected"),
    [
        (True, True, False, True, ("/d/e", "src")),
        (True, True, True, False, ("/d/e", "src")),
        (True, False, False, False, ("/d", "e")),
        (False, False, False, False, ("/d", "e")),
        (False, False, False, True, ("/d", "e")),
        (False, False, True, True, ("/d", "e")),
    ],
)
def test_where_it_goes(
    exists: bool, is_directory: bool, strict: bool, source_is_directory: bool, expected: tuple[str, str]
) -> None:
    found = _placed(
        "/d/e",
        exists=exists,
        is_directory=is_directory,
        strict=strict,
        source="src",
        source_is_directory=source_is_directory,
    )
    assert found == expected


@pytest.mark.parametrize(
    ("exists", "strict", "source_is_directory", "message"),
    [
        (True, False, True, "cannot copy directory"),
        (True, True, False, "not a directory"),
        (False, True, False, "no such directory"),
    ],
)
def test_where_it_cannot_go(exists: bool, strict: bool, source_is_directory: bool, message: str) -> None:
    with pytest.raises(errors.Error, match=f"^{message}$"):
        _placed(
            "/d/e",
            exists=exists,
            is_directory=False,
            strict=strict,
            source="src",
            source_is_directory=source_is_directory,
        )
