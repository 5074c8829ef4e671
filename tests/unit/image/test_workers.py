"""Jobs in processes of their own: results, errors, ends that nobody planned."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mydocker import errors
from mydocker.image import workers
from mydocker.image.workers import Send, Update


def ignore(_job: int, _update: Update) -> None:
    """Nobody looks."""


def fails(error: BaseException) -> Callable[[Send], int]:
    def job(_send: Send) -> int:
        raise error

    return job


def test_results_come_in_the_order_of_the_jobs() -> None:
    def job(number: int) -> Callable[[Send], int]:
        def work(send: Send) -> int:
            time.sleep(0.02 * (3 - number))
            send(Update("working", number, 10))
            return os.getpid()

        return work

    told: list[tuple[int, Update]] = []
    pids = workers.run([job(n) for n in range(4)], int, lambda *what: told.append(what), limit=2)
    assert len({*pids, os.getpid()}) == 5
    assert sorted(told, key=lambda what: what[0]) == [(n, Update("working", n, 10)) for n in range(4)]


def test_no_jobs() -> None:
    assert workers.run([], int, ignore) == []


def test_no_more_at_once_than_the_limit(tmp_path: Path) -> None:
    def job(_send: Send) -> int:
        mine = tmp_path / str(os.getpid())
        mine.touch()
        count = len(list(tmp_path.iterdir()))
        time.sleep(0.02)
        mine.unlink()
        return count

    assert max(workers.run([job] * 9, int, ignore, limit=3)) <= 3


@pytest.mark.parametrize(
    "error",
    [errors.NotFound("no such thing"), errors.TooManyRequests("not now"), errors.HostileArchive("bad")],
)
def test_errors_are_raised_as_they_are(error: errors.Error) -> None:
    with pytest.raises(type(error), match=str(error)):
        workers.run([fails(error)], int, ignore)


def test_system_errors_keep_number_and_path() -> None:
    with pytest.raises(OSError, match="left on device") as caught:
        workers.run([fails(OSError(errno.ENOSPC, "No space left on device", "/some/file"))], int, ignore)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, "/some/file")


def test_what_nobody_foresaw_comes_with_its_traceback() -> None:
    with pytest.raises(RuntimeError, match=r"in job(.|\n)*ZeroDivisionError: why"):
        workers.run([fails(ZeroDivisionError("why"))], int, ignore)


def test_a_killed_worker_is_an_error() -> None:
    def job(_send: Send) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return 0

    with pytest.raises(errors.Unavailable, match="killed by signal 9"):
        workers.run([job], int, ignore)


def sleeps(path: Path) -> Callable[[Send], int]:
    def job(_send: Send) -> int:
        path.write_text(str(os.getpid()))
        time.sleep(60)
        return 0

    return job


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return True
    except ProcessLookupError:
        return False


def pid_in(path: Path) -> int:
    while not (path.exists() and path.read_text()):
        time.sleep(0.005)
    return int(path.read_text())


def test_one_error_ends_the_others(tmp_path: Path) -> None:
    other = tmp_path / "other"

    def job(_send: Send) -> int:
        pid_in(other)
        raise errors.Conflict("enough")

    with pytest.raises(errors.Conflict):
        workers.run([sleeps(other), job], int, ignore)
    assert not is_alive(pid_in(other))


def test_workers_die_with_their_parent(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    parent = os.fork()
    if parent == 0:
        try:
            workers.run([sleeps(path)], int, ignore)
        finally:
            os._exit(0)
    worker = pid_in(path)
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    end = time.monotonic() + 10
    while is_alive(worker) and time.monotonic() < end:
        time.sleep(0.01)
    assert not is_alive(worker)


def test_an_interruption_by_the_terminal_is_the_parents_to_handle(tmp_path: Path) -> None:
    path = tmp_path / "pid"

    def interrupt(_job: int, _update: Update) -> None:
        os.kill(pid_in(path), signal.SIGINT)
        raise KeyboardInterrupt

    def job(send: Send) -> int:
        path.write_text(str(os.getpid()))
        send(Update("here"))
        time.sleep(60)
        return 0

    with pytest.raises(KeyboardInterrupt):
        workers.run([job], int, interrupt)
    assert not is_alive(pid_in(path))
