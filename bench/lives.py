"""What an engine does with containers all day: start and stop one, list many, print and read a large log, and
start many at once.

Every engine does it with containers of its own; how many and how much is for a scale of 1, of which a part
will do for a quick look.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import engines
import measure
import report

LISTED = 500
PRINTED = 1 << 30
_LINE = "a line as long as those of programs that tell when, where and what: 100 characters with its end ----"
STARTED, AT_ONCE = 100, 8
_LABEL = "bench=lives"


@dataclass(frozen=True)
class Lives:
    """The engines by name, ours first, and how often and how much is measured."""

    clients: Mapping[str, list[str]]
    environment: Mapping[str, str]
    log: str
    rounds: int
    scale: float

    def rows(self) -> Iterator[report.Row]:
        for part in (self._started_and_stopped, self._listed, self._printed, self._at_once):
            try:
                yield from part()
            finally:
                self._remove()

    def _started_and_stopped(self) -> Iterator[report.Row]:
        self._each("create", "--name", "lived", *engines.IDLE)
        commands = {
            name: _shell(f"{words} start lived && {words} stop lived")
            for name, words in self._words().items()
        }
        yield self._compare("start and stop of a container", commands, self.rounds, 5)

    def _listed(self) -> Iterator[report.Row]:
        count = max(1, round(LISTED * self.scale))
        create = shlex.join(["create", "--label", _LABEL, *engines.IDLE])
        for words in self._words().values():
            engines.run(
                _shell(f"for i in $(seq {count}); do {words} {create} || exit; done"), self.environment
            )
        commands = {name: [*client, "ps", "-a"] for name, client in self.clients.items()}
        yield self._compare(f"ps -a with {count} containers", commands, self.rounds, 1)

    def _printed(self) -> Iterator[report.Row]:
        """The log is one file, as Docker's is by default."""
        size = round(PRINTED * self.scale)
        script = f"busybox yes '{_LINE}' | busybox head -c {size}"
        flags = ["--log-driver", "json-file", "--log-opt", "max-size=100g", "--network", "none"]
        run = ["run", "--name", "printed", *flags, engines.IMAGE, "sh", "-c", script]
        compared = {name: client for name, client in self.clients.items() if name != "podman"}
        prints = {
            name: _shell(f"{shlex.join(client)} rm -f printed; exec {shlex.join([*client, *run])}")
            for name, client in compared.items()
        }
        reads = {name: [*client, "logs", "printed"] for name, client in compared.items()}
        rounds = min(self.rounds, 3)
        title = f"{size / (1 << 20):.0f} MB in lines of {len(_LINE) + 1} bytes"
        yield self._compare(f"run of a container that prints {title}", prints, rounds, 1, sync=True)
        yield self._compare(f"logs of {title}", reads, rounds, 1)

    def _at_once(self) -> Iterator[report.Row]:
        count = max(AT_ONCE, round(STARTED * self.scale))
        run = shlex.join(["run", "-d", "--label", _LABEL, *engines.IDLE])
        commands = {
            name: _shell(f"seq {count} | xargs -P {AT_ONCE} -I@ {words} {run}")
            for name, words in self._words().items()
        }
        series = measure.compare(
            commands, self.environment, self.log, min(self.rounds, 5), 1, before=self._remove
        )
        yield report.rate_row(f"containers started, {AT_ONCE} at once", count, series, {"docker": 8})

    def _words(self) -> dict[str, str]:
        return {name: shlex.join(client) for name, client in self.clients.items()}

    def _each(self, *arguments: str) -> None:
        for client in self.clients.values():
            engines.run([*client, *arguments], self.environment)

    def _remove(self) -> None:
        """All that were made here; a few at a time, as 100 at once are too many for Docker 20.10."""
        for words in self._words().values():
            listed = "; ".join(
                f"{words} ps -aq --filter {which}"
                for which in (f"label={_LABEL}", "name='^(lived|printed)$'")
            )
            removed = f"xargs -r -n {AT_ONCE} {words} rm -f"
            engines.run(_shell(f"{{ {listed}; }} | {removed}"), self.environment)

    def _compare(
        self,
        title: str,
        commands: Mapping[str, Sequence[str]],
        rounds: int,
        goal: float,
        *,
        sync: bool = False,
    ) -> report.Row:
        ours, *others = commands
        series = measure.compare(commands, self.environment, self.log, rounds, 1, sync=sync)
        return report.time_row(title, series, ours, others, {"docker": goal})


def _shell(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]
