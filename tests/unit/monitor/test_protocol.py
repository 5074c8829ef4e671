from __future__ import annotations

import pytest

from mydocker import errors
from mydocker.monitor import protocol
from mydocker.monitor.protocol import Failure


@pytest.mark.parametrize(
    "error",
    [
        errors.CommandNotFound('exec: "x": executable file not found in $PATH'),
        errors.Conflict("busy"),
        errors.HostileArchive("out"),
    ],
)
def test_an_error_arrives_as_what_it_was(error: errors.Error) -> None:
    back = protocol.failure.decode(protocol.encode(Failure.of(error))).exception()
    assert type(back) is type(error)
    assert str(back) == str(error)


def test_other_errors_keep_their_text() -> None:
    assert isinstance(Failure.of(OSError(2, "gone", "/x")).exception(), errors.StartFailed)
    assert str(Failure.of(ValueError("odd")).exception()) == "ValueError: odd"


@pytest.mark.parametrize("name", ["Exception", "SystemExit", "__doc__", "nope"])
def test_only_our_own_classes_are_made(name: str) -> None:
    assert type(Failure(name, "m").exception()) is errors.Error


def test_kinds_fit_into_the_byte() -> None:
    assert all(0 < kind < 256 for kind in protocol.Kind)
    assert protocol.packet(protocol.Kind.STDOUT, b"x") == bytes((protocol.Kind.STDOUT,)) + b"x"
