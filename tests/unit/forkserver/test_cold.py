"""Compiled modules found without a search: the right ones, and only those."""

from __future__ import annotations

import os
import py_compile
import sys
from pathlib import Path

import pytest

from mydocker.forkserver import cold
from mydocker.forkserver.cold import CompiledModules


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    """A directory with a package ``mydocker`` that has a module ``one`` and a package ``two``."""
    two = tmp_path / "mydocker/two"
    two.mkdir(parents=True)
    for path, text in (("one.py", "value = 1\n"), ("two/__init__.py", "value = 2\n")):
        source = tmp_path / "mydocker" / path
        source.write_text(text)
        py_compile.compile(str(source), doraise=True)
    return tmp_path


def found(parent: Path, name: str) -> dict[str, object] | None:
    """What a module has in it after it was executed, or None if it is left to others."""
    spec = CompiledModules(str(parent)).find_spec(name)
    if spec is None:
        return None
    assert spec.name == name
    module = type(sys)(name)
    assert spec.loader is not None
    spec.loader.exec_module(module)
    return vars(module) | {"places": spec.submodule_search_locations}


def test_a_module_and_a_package(parent: Path) -> None:
    one, two = found(parent, "mydocker.one"), found(parent, "mydocker.two")
    assert one is not None
    assert two is not None
    assert (one["value"], one["places"]) == (1, None)
    assert (two["value"], two["places"]) == (2, [f"{parent}/mydocker/two"])


@pytest.mark.parametrize("name", ["os", "mydocker", "mydockerx.one", "mydocker.three", "mydocker.two.four"])
def test_what_is_not_its_own_is_left_to_others(parent: Path, name: str) -> None:
    assert found(parent, name) is None


def _touch(source: Path, _compiled: Path) -> None:
    os.utime(source, (1, 1))


def _grow(source: Path, _compiled: Path) -> None:
    status = source.stat()
    source.write_text("value = 100\n")
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))


def _other_magic(_source: Path, compiled: Path) -> None:
    compiled.write_bytes(b"\0\0\r\n" + compiled.read_bytes()[4:])


def _by_hash(source: Path, _compiled: Path) -> None:
    py_compile.compile(str(source), invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)


def _short(_source: Path, compiled: Path) -> None:
    compiled.write_bytes(compiled.read_bytes()[:12])


def _large(source: Path, _compiled: Path) -> None:
    source.write_text(f"value = {'x' * cold._LARGEST!r}\n")
    py_compile.compile(str(source), doraise=True)


def _no_source(source: Path, _compiled: Path) -> None:
    source.unlink()


def _not_compiled(_source: Path, compiled: Path) -> None:
    compiled.unlink()


@pytest.mark.parametrize(
    "change",
    [_touch, _grow, _other_magic, _by_hash, _short, _large, _no_source, _not_compiled],
    ids=lambda c: c.__name__,
)
def test_what_is_stale_is_left_to_others(parent: Path, change: object) -> None:
    assert callable(change)
    source = parent / "mydocker/one.py"
    compiled = source.parent / "__pycache__" / f"one.{sys.implementation.cache_tag}.pyc"
    finder = CompiledModules(str(parent))
    assert finder.find_spec("mydocker.one")
    assert found(parent, "mydocker.one")
    change(source, compiled)
    assert finder.find_spec("mydocker.one") is None  # whatever it has read before
    assert found(parent, "mydocker.one") is None
