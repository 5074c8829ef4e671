"""What ``make test-guards`` takes out of the source is there to be taken out."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

import mydocker

SOURCE = Path(mydocker.__file__).parent
HOLES = Path(__file__).parents[1] / "guards/holes.py"


def guards() -> list[pytest.ParameterSet]:
    spec = importlib.util.spec_from_file_location("holes", HOLES)
    assert spec is not None
    assert spec.loader is not None
    holes = importlib.util.module_from_spec(spec)
    sys.modules["holes"] = holes  # where a dataclass looks its annotations up
    spec.loader.exec_module(holes)
    return [pytest.param([*guard.provoked, *guard.changes], id=guard.name) for guard in holes.GUARDS]


@pytest.mark.parametrize("changes", guards())
def test_its_text_is_in_the_source_once(changes: list[tuple[str, str, str]]) -> None:
    texts: dict[str, str] = {}
    for name, old, new in changes:
        text = texts.setdefault(name, (SOURCE / name).read_text())
        assert text.count(old) == 1, f"{name}: {old!r}"
        texts[name] = text.replace(old, new)
