"""One thing to several objects: what is printed, in which order, and that slow ones do not wait in line."""

from __future__ import annotations

import threading

import pytest

from mydocker import errors
from mydocker.cli.commands.each import all_at_once, each


def act(reference: str) -> str | None:
    if reference == "bad":
        raise errors.Conflict("it is bad")
    return None if reference == "silent" else reference


@pytest.mark.parametrize("run", [each, all_at_once])
@pytest.mark.parametrize(
    ("references", "out", "err", "status"),
    [
        (["a", "b"], "a\nb\n", "", 0),
        (["a", "bad", "c"], "a\nc\n", "mydocker: it is bad\n", 1),
        (["silent"], "", "", 0),
        (["bad"], "", "mydocker: it is bad\n", 1),
        ([], "", "", 0),
    ],
)
def test_what_is_said(
    run: object, references: list[str], out: str, err: str, status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(references, act) == status  # type: ignore[operator]
    assert capfd.readouterr() == (out, err)


def test_all_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    """Each waits for the others to have begun."""
    together = threading.Barrier(3)

    def wait(reference: str) -> str:
        together.wait(20)
        return reference

    assert all_at_once(["a", "b", "c"], wait) == 0
    assert capfd.readouterr().out == "a\nb\nc\n"
