"""Run the installed ``mydocker`` command as a person does: a program, an argument list, three streams."""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any

from support.waiting import wait_until

TIMEOUT = 60


def installed(name: str) -> str:
    """Path of a command that the package under test has put beside this interpreter."""
    path = os.path.join(sysconfig.get_path("scripts"), name)
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path}: install the package first (pip install -e '.[test]')")
    return path


@dataclass(frozen=True)
class Result:
    arguments: tuple[str, ...]
    code: int
    stdout: bytes
    stderr: bytes

    @property
    def out(self) -> str:
        return self.stdout.decode(errors="surrogateescape")

    @property
    def err(self) -> str:
        return self.stderr.decode(errors="surrogateescape")

    @property
    def line(self) -> str:
        """Standard output without its last newline: an id, a number, one line of text."""
        return self.out.removesuffix("\n")

    def json(self) -> Any:
        return json.loads(self.stdout)

    def __str__(self) -> str:
        return f"{list(self.arguments)} -> {self.code}\nstdout: {self.out}\nstderr: {self.err}"


class Failed(AssertionError):
    """A command that had to succeed did not."""


@dataclass(frozen=True)
class Runner:
    """``runner("run", "--rm", image, "true")``; ``root`` and ``state`` are the engine's directories."""

    program: str
    root: str
    state: str
    environment: Mapping[str, str] = field(default_factory=dict)

    def argv(self, *arguments: str) -> list[str]:
        return [self.program, "--root", self.root, "--state", self.state, *arguments]

    def env(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        return {**os.environ, **self.environment, **(extra or {})}

    def __call__(
        self,
        *arguments: str,
        check: bool | int = True,
        stdin: bytes | None = None,
        timeout: float = TIMEOUT,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
    ) -> Result:
        """Run to the end. ``check``: True wants exit status 0, a number wants that one, False takes any."""
        done = subprocess.run(
            self.argv(*arguments),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            timeout=timeout,
            env=self.env(env),
            cwd=cwd,
            check=False,
        )
        result = Result(arguments, done.returncode, done.stdout, done.stderr)
        wanted = 0 if check is True else check
        if check is not False and result.code != wanted:
            raise Failed(f"expected exit status {wanted}: {result}")
        return result

    def popen(
        self, *arguments: str, env: Mapping[str, str] | None = None, **options: Any
    ) -> subprocess.Popen[bytes]:
        """Start it and return; streams are pipes unless ``options`` say otherwise."""
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(self.argv(*arguments), env=self.env(env), **{**streams, **options})

    def inspect(self, reference: str) -> dict[str, Any]:
        """The one document that ``inspect`` prints for a container or an image."""
        documents = self("inspect", reference).json()
        assert len(documents) == 1, documents
        found: dict[str, Any] = documents[0]
        return found

    def containers(self) -> list[str]:
        """Ids of the containers that the store holds, read from its directory and not from ``ps``."""
        try:
            names = os.listdir(os.path.join(self.root, "container"))
        except FileNotFoundError:
            return []
        return sorted(name for name in names if name != "by-name")

    def start(self, image: str, *flags: str, command: Sequence[str] = ("sleep", "1000")) -> tuple[str, int]:
        """A detached container that sleeps: its id, and the PID of its init process."""
        container = self("run", "-d", *flags, image, *command).line
        pid: int = self.inspect(container)["State"]["Pid"]
        return container, pid

    @contextmanager
    def network(self, name: str, *flags: str) -> Iterator[str]:
        """A network, which goes when all containers have gone."""
        self("network", "create", *flags, name)
        try:
            yield name
        finally:
            self.remove_all()
            self("network", "rm", name)

    def wait_for_log(self, container: str, text: str, patience: float = 10) -> None:
        end = time.monotonic() + patience
        while text not in (found := self("logs", container).out):
            if time.monotonic() > end:
                raise AssertionError(f"{text!r} never came, only {found!r}")
            time.sleep(0.02)

    def wait_for_exit(self, container: str, patience: float = 10) -> int:
        """The exit status that the record tells, once it does."""
        end = time.monotonic() + patience
        while (state := self.inspect(container)["State"])["Running"]:
            if time.monotonic() > end:
                raise AssertionError(f"{container} never ended: {state}")
            time.sleep(0.02)
        code: int = state["ExitCode"]
        return code

    def remove_all(self) -> None:
        left = self.containers()
        if left:
            self("rm", "--force", "--volumes", *left)

    def leave(self) -> None:
        """Before its directories are removed: whatever they have in the kernel goes."""
        self.remove_all()
        self("network", "prune", "--force")
        # who has waited for a container that removes itself has its exit code before its directories are gone
        places = (os.path.join(self.root, "removed"), os.path.join(self.state, "container"))
        wait_until(lambda: not any(os.path.exists(place) and os.listdir(place) for place in places))


def run_with_streams(arguments: Sequence[str], stream: IO[bytes], timeout: float = TIMEOUT) -> None:
    """Run a program that leaves a process behind, which keeps the streams: pipes would never end."""
    done = subprocess.run(
        list(arguments), stdin=stream, stdout=stream, stderr=stream, timeout=timeout, check=False
    )
    if done.returncode:
        raise Failed(f"{list(arguments)} -> {done.returncode}")


def run(arguments: Sequence[str], **options: Any) -> Result:
    """Any other program, with the same manners: list argv, captured streams, a failure shows its text."""
    check = options.pop("check", True)
    done = subprocess.run(
        list(arguments), capture_output=True, check=False, **{"timeout": TIMEOUT, **options}
    )
    result = Result(tuple(arguments), done.returncode, done.stdout, done.stderr)
    if check and result.code != 0:
        raise Failed(f"expected exit status 0: {result}")
    return result
