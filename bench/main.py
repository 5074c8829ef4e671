"""`make bench`: how mydocker compares with docker, podman, runc, crun and conmon on this machine, now.

    python bench/main.py [--rounds N] [--scale PART] [--only PART...] [--output FILE]

Builds a wheel, installs it into a temporary environment (only a regular installation starts the way that
users get), starts the peers, lets everyone do the same work in turn, and writes a Markdown page. Runs as
root in a mount and a network namespace of its own.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import engines
import lives
import measure
import memory
import report
import runtimes
import traffic
import transfer

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rounds", type=int, default=30, help="how often each command is measured (%(default)s)"
    )
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="PART",
        help="of: runs networks traffic crowd execs lists commits transfers lives memory phases runtimes",
    )
    parser.add_argument(
        "--scale",
        type=float,
        default=1.0,
        help="the part of the many containers and the large log of lives and memory (%(default)s)",
    )
    parser.add_argument("--output", help="the page to write, besides standard output")
    parser.add_argument("--inside", metavar="DIR", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("bench: containers are made by root here; run as root")
    if options.inside:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        bench = Bench(options.inside, options.rounds, options.only, options.scale)
        try:
            bench.run()
        finally:  # what was measured took its time
            print(bench.page())
            if options.output:
                with open(options.output, "w") as file:
                    file.write(bench.page())
        return
    directory = tempfile.mkdtemp(prefix="mydocker-bench-")
    try:
        _say("installing a wheel")
        install(f"{directory}/venv")
        unshare = ["unshare", "--mount", "--net", "--propagation", "private"]
        python = f"{directory}/venv/bin/python"
        result = subprocess.run([*unshare, python, *sys.argv, "--inside", directory], check=False)
    finally:
        shutil.rmtree(directory)
    sys.exit(result.returncode)


class Bench:
    """One run: the installation, the image, and the rows as they come in."""

    def __init__(
        self, directory: str, rounds: int, only: Sequence[str] | None = None, scale: float = 1.0
    ) -> None:
        self.directory = directory
        self.only = only
        self.rounds = rounds
        self.traffic_rounds = max(rounds, traffic.ROUNDS)
        self.scale = scale
        self.bin = f"{directory}/venv/bin"
        self.log = f"{directory}/stderr"
        state = engines.in_memory(f"{directory}/state")
        self.ours = [f"{self.bin}/mydocker", "--root", f"{directory}/root", "--state", state]
        self.rows: list[report.Row] = []
        self.skipped: list[str] = []
        self.environment = {
            "PATH": engines.SEARCH,
            "HOME": directory,
            "TMPDIR": directory,
            "CONTAINERS_CONF": f"{directory}/containers.conf",  # of podman
            "MYDOCKER_FORKSERVER": f"{directory}/forkserver",
        }

    def run(self) -> None:
        rootfs = engines.build_rootfs(f"{self.directory}/rootfs")
        archive = engines.build_image(rootfs, f"{self.directory}/image.tar")
        engines.run([*self.ours, "import", archive, engines.IMAGE], self.environment)
        with ExitStack() as stack:
            clients: dict[str, list[str]] = {"mydocker": self.ours}
            for name, start in (("docker", engines.docker), ("podman", engines.podman)):
                _say(f"starting {name}")
                try:
                    clients[name] = stack.enter_context(
                        start(f"{self.directory}/{name}", archive, self.environment)
                    )
                except engines.Missing as reason:
                    self.skipped.append(str(reason))
            for part in (
                self.runs,
                self.networks,
                self.traffic,
                self.crowd,
                self.execs,
                self.lists,
                self.commits,
                self.transfers,
                self.lives,
                self.memory,
            ):
                self._try(part, clients)
            self._try(self.phases, {"rootfs": [rootfs]})
            self._try(self.runtimes, {"rootfs": [rootfs]})
        self._stop_forkserver()

    def page(self) -> str:
        return report.page(self.rows, self.skipped, self.rounds, self.traffic_rounds)

    def _try(self, part: Callable[[dict[str, list[str]]], None], argument: dict[str, list[str]]) -> None:
        if self.only is not None and part.__name__ not in self.only:
            return
        _say(f"measuring {part.__name__}")
        try:
            part(argument)
        except (engines.Missing, measure.CommandFailed) as reason:
            self.skipped.append(f"{part.__name__}: {reason}")

    # ---- the rows

    def runs(self, clients: dict[str, list[str]]) -> None:
        arguments = ["run", "--rm", "--network", "none", engines.IMAGE, "true"]
        self._compare(
            "run --rm --network none", {n: [*c, *arguments] for n, c in clients.items()}, {"docker": 10}
        )

    def networks(self, clients: dict[str, list[str]]) -> None:
        """The default network, in which each has a bridge; the network of the others has none."""
        del clients
        archive = f"{self.directory}/image.tar"
        place = f"{self.directory}/bridged"
        with engines.docker(place, archive, self.environment, bridge=True) as docker:
            compared = {"mydocker": self.ours, "docker": docker}
            for title, flags, goal in (
                ("run --rm", [], 10),
                ("run --rm -p", ["-p", "8080:80"], 6),
            ):
                arguments = ["run", "--rm", *flags, engines.IMAGE, "true"]
                commands = {name: [*client, *arguments] for name, client in compared.items()}
                self._compare(f"{title} (default bridge)", commands, {"docker": goal})
            create = "network create bench-{n} && $c network rm bench-{n}"
            commands = {
                name: ["/bin/sh", "-c", f'c="{" ".join(client)}"; $c {create}']
                for name, client in compared.items()
            }
            self._compare("network create and rm", commands, {"docker": 1})

    def traffic(self, clients: dict[str, list[str]]) -> None:
        """By a published port from another machine, and from one container to another."""
        del clients
        archive, place = f"{self.directory}/image.tar", f"{self.directory}/traffic"
        with (
            engines.docker(place, archive, self.environment, bridge=True) as docker,
            traffic.machine(self.environment) as machine,
        ):
            # docker drops what is forwarded to anybody else's containers
            engines.run([engines.program("iptables"), "-P", "FORWARD", "ACCEPT"], self.environment)
            compared = {"mydocker": self.ours, "docker": docker}
            ends = {}
            for number, (name, client) in enumerate(compared.items()):
                address = traffic.serve(client, 8080 + number, self.environment)
                pid = traffic.neighbour(client, self.environment)
                ends[name] = {
                    "by a published port": (machine, traffic.outside(8080 + number)),
                    "from container to container": (pid, address),
                }
            for way in ("by a published port", "from container to container"):
                for title, command in (
                    (f"{traffic.MEGABYTES} MB", traffic.fetch),
                    (f"{traffic.REQUESTS} requests, {traffic.AT_ONCE} at once", traffic.requests),
                ):
                    commands = {name: command(*ends[name][way]) for name in compared}
                    self._compare(f"{title} {way}", commands, {"docker": 1}, rounds=self.traffic_rounds)
            for client in compared.values():
                engines.run([*client, "rm", "--force", "server", "neighbour"], self.environment)

    def crowd(self, clients: dict[str, list[str]]) -> None:
        """In memory: an ext4 without a journal goes through all that was deleted in the last minutes for each
        new file (``recently_deleted``), and each overlay that is mounted makes and deletes three."""
        del clients
        directory = engines.in_memory(f"{self.directory}/crowd")
        client = [self.ours[0], "--root", f"{directory}/root", "--state", f"{directory}/state"]
        engines.run([*client, "import", f"{self.directory}/image.tar", engines.IMAGE], self.environment)
        row = traffic.crowd(
            client, self.environment, lambda run: measure.rested(run, self.environment, self.log)
        )
        self.rows.append(row)

    def execs(self, clients: dict[str, list[str]]) -> None:
        with self._target(clients):
            commands = {name: [*client, "exec", "target", "true"] for name, client in clients.items()}
            self._compare("exec", commands, {"docker": 3})

    def lists(self, clients: dict[str, list[str]]) -> None:
        """With one container running."""
        with self._target(clients):
            self._compare("ps", {name: [*client, "ps"] for name, client in clients.items()}, {"docker": 1})
            self._compare("images", {name: [*client, "images"] for name, client in clients.items()}, {})

    @contextmanager
    def _target(self, clients: dict[str, list[str]]) -> Iterator[None]:
        """A container of each that runs."""
        for client in clients.values():
            engines.run([*client, "run", "-d", "--name", "target", *engines.IDLE], self.environment)
        try:
            yield
        finally:
            for client in clients.values():
                engines.run([*client, "rm", "-f", "target"], self.environment)

    def commits(self, clients: dict[str, list[str]]) -> None:
        """Of one gigabyte in ten files; each command does all of the work again, for the same layer."""
        files = "for i in 0 1 2 3 4 5 6 7 8 9; do busybox dd if=/dev/urandom of=/$i bs=1M count=100; done"
        compared = {name: client for name, client in clients.items() if name != "podman"}
        for client in compared.values():
            run = ["run", "--name", "written", "--network", "none", engines.IMAGE, "sh", "-c"]
            engines.run([*client, *run, f"{files}; busybox sync"], self.environment)
        commands = {name: [*client, "commit", "written", "committed"] for name, client in compared.items()}
        self._compare(
            "commit of 1 GB", commands, {"docker": 4}, rounds=min(self.rounds, 10), warm_up=1, sync=True
        )
        for client in compared.values():
            engines.run([*client, "rm", "-f", "written"], self.environment)

    def transfers(self, clients: dict[str, list[str]]) -> None:
        rounds = min(self.rounds, 3)
        place = f"{self.directory}/transfer"
        self.rows += transfer.rows(clients, place, self.environment, self.log, rounds)

    def lives(self, clients: dict[str, list[str]]) -> None:
        """Row by row: what cannot be done here costs no other."""
        for row in lives.Lives(clients, self.environment, self.log, self.rounds, self.scale).rows():
            self.rows.append(row)

    def memory(self, clients: dict[str, list[str]]) -> None:
        count = max(5, round(memory.CONTAINERS * self.scale))
        ways = {"mydocker": memory.of_parents, "docker": memory.of_parents, "podman": memory.of_conmons}
        names = {"mydocker": "mydocker", "docker": "containerd-shim", "podman": "conmon"}
        measured = {names[n]: ways[n](client, self.environment, count) for n, client in clients.items()}
        few = max(5, count // 10)
        measured["mydocker, after an exec in each"] = memory.of_busy(
            clients["mydocker"], self.environment, few
        )
        measured["a fork of `python -I -S` that waits"] = memory.of_forks(
            f"{self.bin}/python", self.environment
        )
        self.rows.append(report.memory_row(count, measured))

    def runtimes(self, places: dict[str, list[str]]) -> None:
        rootfs, directory = places["rootfs"][0], f"{self.directory}/runtimes"
        found = runtimes.prepare(
            directory, f"{self.bin}/mydocker-runtime", rootfs, self.skipped, self.environment
        )
        goals = {"runc": 1.0}
        for title, commands in (
            ("run of a bundle as `runc spec` writes it", {r.name: r.run(r.plain) for r in found}),
            ("run of a bundle as Docker writes it", {r.name: r.run(r.docker) for r in found}),
            ("create, start and delete", {r.name: r.life() for r in found}),
        ):
            self._compare(title, commands, goals)
        for runtime in found:
            command = [*runtime.command, "run", "--detach", "--bundle", runtime.sleeping, "target"]
            measure.once(command, self.environment, self.log)
        self._compare(
            "exec by a runtime", {r.name: [*r.command, "exec", "target", "true"] for r in found}, goals
        )
        for runtime in found:
            measure.once([*runtime.command, "delete", "--force", "target"], self.environment, self.log)
        self.rows.append(runtimes.waiting_init(found, self.environment, self.log))

    def phases(self, places: dict[str, list[str]]) -> None:
        """Where the time of `mydocker run` goes: each line does a little more than the one before."""
        python = [f"{self.bin}/python", "-I", "-S", "-X", "utf8", "-c", "pass"]
        arguments = ["run", "--rm", "--network", "none"]
        cold = ["/usr/bin/env", "MYDOCKER_FORKSERVER=0", *self.ours]
        commands = {
            "`sh -c :`": ["/bin/sh", "-c", ":"],
            "`python -I -S -c pass`": python,
            "`mydocker --version`": [self.ours[0], "--version"],
            "`mydocker ps`": [*self.ours, "ps"],
            "`mydocker run --rm IMAGE true`": [*self.ours, *arguments, engines.IMAGE, "true"],
            "`mydocker run --rm --rootfs DIR true`": [
                *self.ours,
                *arguments,
                "--rootfs",
                places["rootfs"][0],
                "true",
            ],
            "`mydocker run --rm IMAGE true` without the forkserver": [
                *cold,
                *arguments,
                engines.IMAGE,
                "true",
            ],
        }
        series = measure.compare(commands, self.environment, self.log, self.rounds)
        self.rows.append(report.phase_row(series))

    def _compare(
        self,
        title: str,
        commands: dict[str, list[str]],
        goals: dict[str, float],
        *,
        rounds: int | None = None,
        warm_up: int = 3,
        sync: bool = False,
    ) -> None:
        ours, *others = commands
        rounds = rounds or self.rounds
        series = measure.compare(commands, self.environment, self.log, rounds, warm_up, sync=sync)
        self.rows.append(report.time_row(title, series, ours, others, goals))

    def _stop_forkserver(self) -> None:
        """It may be killed at any time, and its package is about to be removed."""
        for name in os.listdir("/proc"):
            try:
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    ours = os.fsencode(f"{self.directory}/forkserver/") in file.read()
            except (FileNotFoundError, NotADirectoryError, ProcessLookupError):
                continue
            if ours:
                os.kill(int(name), 9)


def install(directory: str) -> None:
    """Install the repository as a user does, into a new environment."""
    quiet = ["--quiet", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "venv", directory], check=True)
    subprocess.run([f"{directory}/bin/pip", "install", *quiet, REPOSITORY], check=True)


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
