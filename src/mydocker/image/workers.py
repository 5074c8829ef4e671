"""Work in forked processes, some of them at once, which report to the one that forked them.

A layer is downloaded, inflated, hashed and unpacked by a process of its own: the interpreter lock is no
limit, and a library that crashes or a layer that takes all memory ends one process, of which the error tells.
Each has a SOCK_SEQPACKET socket to the parent; a packet is a message in msgpack:

    worker -> parent    Update*  (Done | Failure)       and then the end of the socket

When one fails the others are killed, as they are when the parent ends, by whatever (PR_SET_PDEATHSIG). What
they leave behind is for the parent to clear away; so names of temporary files come from it.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn, TypeVar

import msgspec

from .. import errors
from ..linux.prctl import set_pdeathsig

LIMIT = 3
"""Docker's max-concurrent-downloads"""
_PACKET = 1 << 16
_INTERVAL = 0.1
"""seconds between two updates"""


class Update(msgspec.Struct, frozen=True, tag=True):
    """How far a job is: a word for what it does, and bytes done of ``total``, where there are bytes."""

    status: str
    current: int = 0
    total: int = 0


class Done(msgspec.Struct, frozen=True, tag=True):
    result: msgspec.Raw


class Failure(msgspec.Struct, frozen=True, tag=True):
    """An exception: one of ``errors``, an OSError (number and path), or another one, with its traceback."""

    kind: str
    message: str
    number: int = 0
    path: str = ""


Send = Callable[[Update], None]
_T = TypeVar("_T")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Update | Done | Failure).decode


def run(
    jobs: Sequence[Callable[[Send], _T]],
    kind: type[_T],
    report: Callable[[int, Update], None],
    limit: int = LIMIT,
) -> list[_T]:
    """Call each of ``jobs`` in a process of its own, ``limit`` at a time; their results, which are ``kind``.

    ``report`` is told the number of a job and how far it is. The first error is raised here.
    """
    waiting = deque(range(len(jobs)))
    results: dict[int, _T] = {}
    with selectors.DefaultSelector() as selector:
        workers: dict[int, _Worker] = {}
        try:
            while waiting or workers:
                while waiting and len(workers) < limit:
                    at = waiting.popleft()
                    workers[at] = _Worker(jobs[at])
                    selector.register(workers[at].socket, selectors.EVENT_READ, at)
                for key, _ in selector.select():
                    message = workers[key.data].read()
                    if isinstance(message, Update):
                        report(key.data, message)
                    else:
                        selector.unregister(key.fileobj)
                        workers.pop(key.data).end()
                        results[key.data] = msgspec.msgpack.decode(message.result, type=kind)
        finally:
            for worker in workers.values():
                worker.kill()
    return [results[at] for at in range(len(jobs))]


def reported(
    chunks: Iterator[bytes], status: str, total: int, send: Send, *, done: int = 0
) -> Iterator[bytes]:
    """The same chunks; ``send`` is told of them now and then."""
    after = 0.0
    for chunk in chunks:
        done += len(chunk)
        if (now := time.monotonic()) >= after:
            send(Update(status, done, total))
            after = now + _INTERVAL
        yield chunk


class _Worker:
    """One process that is at work, as its parent sees it."""

    def __init__(self, job: Callable[[Send], object]) -> None:
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        parent = os.getpid()
        try:
            self._pid = os.fork()
            if self._pid == 0:
                self.socket.close()
                _work(job, theirs, parent)
        except BaseException:
            self.socket.close()
            raise
        finally:
            theirs.close()

    def read(self) -> Update | Done:
        """The next message. Raises what the worker raised; Unavailable if it was killed."""
        data = self.socket.recv(_PACKET)
        if not data:
            _, status = os.waitpid(self._pid, 0)
            self._pid = 0
            code = os.waitstatus_to_exitcode(status)
            how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
            raise errors.Unavailable(f"a process that was at work on a layer {how}")
        message: Update | Done | Failure = _decode(data)
        if isinstance(message, Failure):
            raise _exception(message)
        return message

    def end(self) -> None:
        """Wait for it, now that it has sent its result."""
        self.socket.close()
        os.waitpid(self._pid, 0)

    def kill(self) -> None:
        self.socket.close()
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)  # not waited for yet, so the number is still its own
            os.waitpid(self._pid, 0)


def _work(job: Callable[[Send], object], connection: socket.socket, parent: int) -> NoReturn:
    """The child: do the job, send what came of it, leave."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's goes to the parent too, which decides
        set_pdeathsig(signal.SIGKILL)
        if os.getppid() == parent:
            message: Done | Failure
            try:
                message = Done(msgspec.Raw(_encode(job(lambda update: _send(connection, update)))))
            except BaseException as error:  # noqa: BLE001 - raised again in the parent
                message = _failure(error)
            _send(connection, message)
    finally:
        os._exit(0)


def _send(connection: socket.socket, message: Update | Done | Failure) -> None:
    connection.send(_encode(message))


def _failure(error: BaseException) -> Failure:
    if isinstance(error, errors.Error):
        return Failure(type(error).__name__, str(error))
    if isinstance(error, OSError):
        return Failure("OSError", error.strerror or str(error), error.errno or 0, str(error.filename or ""))
    return Failure("", "".join(traceback.format_exception(error))[-_PACKET // 2 :])


def _exception(failure: Failure) -> Exception:
    if failure.kind == "OSError":
        return OSError(failure.number, failure.message, failure.path or None)
    kind = getattr(errors, failure.kind, None) if failure.kind else None
    return kind(failure.message) if kind is not None else RuntimeError(failure.message)
