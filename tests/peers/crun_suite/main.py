"""crun's own test suite, run against crun, runc and mydocker-runtime side by side.

    python tests/peers/crun_suite/main.py DIR [--runtimes NAME ...] [--files NAME ...] [--output FILE]

DIR is a copy of the directory ``tests`` of https://github.com/containers/crun, which is not part of this
repository. The suite finds the runtime in the environment variable OCI_RUNTIME and puts its helper ``init``
into each container; that is compiled here from DIR/init.c (needs gcc, libc6-dev, libseccomp-dev).

Each file of the suite runs in mount, PID, network, IPC and cgroup namespaces of its own, which end with it.
On a host with both versions of the cgroup hierarchy the view is that of v1 alone, since crun before 1.9
refuses the other. What is specific to crun's own command line (``--cgroup-manager cgroupfs``, ``--config
config.json``) is taken from the arguments on the way to runc; ours understands it.

The page has the numbers, and for what ours does not pass the reason that ``explained.py`` gives. The exit
status is 1 if a failure has none, or if ours passes less than runc.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field

TESTS = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, TESTS)

from peers.crun_suite import inside, report  # noqa: E402 - after the path is set
from support import isolation, probe  # noqa: E402

CONFIG = "#define HAVE_SECCOMP 1\n#define HAVE_ERROR_H 1\n#define HAVE_LINUX_IOPRIO_H 1\n"
OURS = "mydocker-runtime"

# runc has neither option. A word of ours before each command, so that the process stays the caller's child.
RUNC = """#!/bin/sh
manager= config= count=$#
while [ $count -gt 0 ]; do
    word=$1; shift; count=$((count - 1))
    case $word in
        --cgroup-manager) manager=$1; shift; count=$((count - 1)) ;;
        --cgroup-manager=*) manager=${word#*=} ;;
        --config) config=$1; shift; count=$((count - 1)) ;;
        *) set -- "$@" "$word" ;;
    esac
done
case $config in
    ''|config.json) ;;
    *) cp -- "$config" config.json || exit 1 ;;
esac
case $manager in
    ''|cgroupfs) exec RUNC "$@" ;;
    systemd) exec RUNC --systemd-cgroup "$@" ;;
    *) echo "runc: no such cgroup manager: $manager" >&2; exit 1 ;;
esac
"""


@dataclass
class Outcome:
    """One file with one runtime: the verdict on each test, by its name."""

    verdicts: dict[str, str] = field(default_factory=dict)  # pass, fail, skip
    log: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("suite", metavar="DIR")
    parser.add_argument("--runtimes", nargs="+", default=["crun", "runc", OURS], metavar="NAME")
    parser.add_argument("--files", nargs="+", metavar="NAME", help="test_mounts.py ...; all of them")
    parser.add_argument("--tests", help="only these tests of a file, separated by blanks")
    parser.add_argument("--logs", metavar="DIR", help="where the output of each run is written")
    parser.add_argument("--output", help="the page to write")
    options = parser.parse_args()
    if reason := isolation.refusal():
        sys.exit(reason)
    suite = os.path.abspath(options.suite)
    files = options.files or sorted(n for n in os.listdir(suite) if re.fullmatch(r"test_\w+\.py", n))
    results: dict[str, dict[str, Outcome]] = {}
    with tempfile.TemporaryDirectory(prefix="crun-suite-") as directory:
        os.chmod(directory, 0o755)
        helper = build_helper(suite, directory)
        for name in options.runtimes:
            program = prepare(name, directory)
            results[name] = {}
            for file in files:
                outcome = run(suite, file, program, helper, options.tests or "", directory)
                results[name][file] = outcome
                counts = report.count(outcome.verdicts)
                print(f"{name:18} {file:30} {counts}", flush=True)
                if options.logs:
                    os.makedirs(options.logs, exist_ok=True)
                    with open(os.path.join(options.logs, f"{name}-{file}.log"), "w") as log:
                        log.write(outcome.log)
    found = {name: {f: o.verdicts for f, o in by_file.items()} for name, by_file in results.items()}
    if options.logs:
        with open(os.path.join(options.logs, "found.json"), "w") as log:
            json.dump(found, log, indent=1)
    if options.output:
        with open(options.output, "w") as page:
            page.write(report.page(found, {name: version(name) for name in found}, revision(suite)))
    if wrong := report.unexplained(found):
        sys.exit("not explained: " + ", ".join(wrong))
    if "runc" in found and report.passes(found, OURS) < report.passes(found, "runc"):
        sys.exit(f"{OURS} passes less than runc")


def build_helper(suite: str, directory: str) -> str:
    with open(os.path.join(directory, "config.h"), "w") as header:
        header.write(CONFIG)
    helper = os.path.join(directory, "init")
    source = os.path.join(suite, "init.c")
    subprocess.run(["gcc", "-O2", "-static", "-I", directory, "-o", helper, source, "-lseccomp"], check=True)
    return helper


def program_of(name: str) -> str:
    if name == OURS:
        return os.path.join(os.path.dirname(sys.executable), OURS)
    found = shutil.which(name, path=probe.SYSTEM_PATH)
    if found is None:
        sys.exit(f"no {name} on this machine")
    return found


def prepare(name: str, directory: str) -> str:
    """The path that the suite is told; for runc of a script that takes crun's own options away."""
    program = program_of(name)
    if name != "runc":
        return program
    script = os.path.join(directory, "runc")
    with open(script, "w") as file:
        file.write(RUNC.replace("RUNC", program))
    os.chmod(script, 0o755)
    return script


def version(name: str) -> str:
    out = subprocess.run([program_of(name), "--version"], check=True, capture_output=True, text=True).stdout
    return out.splitlines()[0]


def revision(suite: str) -> str:
    """A checksum of the suite's files: a copy of a directory has no commit."""
    import hashlib

    digest = hashlib.sha256()
    for name in sorted(os.listdir(suite)):
        if re.fullmatch(r"(test_\w+|tests_utils)\.py|init\.c", name):
            with open(os.path.join(suite, name), "rb") as file:
                digest.update(name.encode() + b"\0" + file.read())
    return digest.hexdigest()[:12]


def run(suite: str, file: str, program: str, helper: str, tests: str, directory: str) -> Outcome:
    """One file; if it is not done in time, what is left of its tests one by one."""
    path = os.path.join(suite, file)
    log = run_once(path, program, helper, tests, directory)
    outcome = Outcome(verdicts(log), log)
    if inside.GIVEN_UP in log:
        with open(path) as source:
            names = re.findall(r'^    "([^"]+)" ?:', source.read(), re.MULTILINE)
        outcome.verdicts.clear()
        for name in names:
            log = run_once(path, program, helper, name, directory, patience=20)
            outcome.verdicts[name] = verdicts(log).get(name, "fail")
            outcome.log += log
    return outcome


def run_once(
    path: str, program: str, helper: str, tests: str, directory: str, patience: int = inside.PATIENCE
) -> str:
    """Run ``tests`` (all, if empty) of one file in namespaces of its own, and return what was printed."""
    work = tempfile.mkdtemp(dir=directory)
    os.chmod(work, 0o755)
    environment = {
        "TERM": "xterm",
        "PATH": probe.SYSTEM_PATH,
        "OCI_RUNTIME": program,
        "INIT": helper,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.path.join(os.path.dirname(os.path.abspath(__file__)), "stand_in"),
    }
    if tests:
        environment["RUN_TESTS"] = tests
    command = [sys.executable, os.path.abspath(inside.__file__), work, path, str(patience)]
    try:
        return subprocess.run(
            command,
            check=False,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ).stdout
    finally:
        shutil.rmtree(work, ignore_errors=True)


def verdicts(log: str) -> dict[str, str]:
    """Read the Test Anything Protocol; a test that the plan has and no line tells of has failed."""
    found = {}
    for line in log.splitlines():
        if match := re.match(r"(ok|not ok) \d+ - (.+?)( #SKIP.*)? # [0-9.]+s$", line):
            found[match[2]] = "fail" if match[1] == "not ok" else "skip" if match[3] else "pass"
    plan = re.search(r"^1\.\.(\d+)$", log, re.MULTILINE)
    for number in range(len(found), int(plan[1]) if plan else 1):
        found[f"(not reached, {number})"] = "fail"
    return found


if __name__ == "__main__":
    main()
