"""Each test of a known hole, shown to fail without the guard that closes it.

    python tests/guards/main.py [CVE-...]

Installs the package into an environment of its own, with a copy of the interpreter, so that nothing of this
one is at stake. There one guard after another is taken out of the source (``holes.py``), the tests that are
about it run, and have to fail; with every guard in place they have to pass. ``make test-guards`` runs it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(REPOSITORY, "tests"))

from guards.holes import GUARDS  # noqa: E402 - after the path is set

FAILED = 1  # pytest: "tests were collected and run but some of the tests failed"


def main() -> None:
    wanted = set(sys.argv[1:])
    guards = [guard for guard in GUARDS if not wanted or guard.name in wanted]
    wrong = []
    with tempfile.TemporaryDirectory(prefix="guards-") as directory:
        python, package = install(directory)
        tests = sorted({test for guard in guards for test in guard.tests})
        if code := run(python, tests):
            sys.exit(f"with all guards in place pytest ends with {code}")
        print(f"with all guards: {len(tests)} tests pass", flush=True)
        for guard in guards:
            before = change(guard.name, guard.provoked, package)
            if guard.provoked and (code := run(python, list(guard.tests))):
                sys.exit(f"{guard.name}: provoked, but guarded, pytest ends with {code}")
            before |= {
                path: text
                for path, text in change(guard.name, guard.changes, package).items()
                if path not in before
            }
            try:
                codes = {test: run(python, [test]) for test in guard.tests}
            finally:
                put_back(before)
            for test, code in codes.items():
                verdict = "fails, as it has to" if code == FAILED else f"DOES NOT FAIL ({code})"
                print(f"without the guard of {guard.name}: {test} {verdict}", flush=True)
                if code != FAILED:
                    wrong.append(test)
    if wrong:
        sys.exit(f"not shown: {', '.join(wrong)}")


def install(directory: str) -> tuple[str, str]:
    """An environment with this package alone, which has the rest from this one: (python, package)."""
    subprocess.run([sys.executable, "-m", "venv", "--copies", "--without-pip", directory], check=True)
    python = os.path.join(directory, "bin", "python")
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", REPOSITORY]
    subprocess.run(pip, check=True, stderr=subprocess.DEVNULL)
    own = next(path for path in sys.path if path.endswith("site-packages"))
    with open(os.path.join(site, "others.pth"), "w") as file:
        file.write(own + "\n")
    return python, os.path.join(site, "mydocker")


def change(guard: str, changes: tuple[tuple[str, str, str], ...], package: str) -> dict[str, str]:
    """Change files of the package; returns what they were."""
    before: dict[str, str] = {}
    for name, old, new in changes:
        path = os.path.join(package, name)
        with open(path) as file:
            text = file.read()
        if text.count(old) != 1:
            raise AssertionError(f"{guard}: {name} has {text.count(old)} times {old!r}")
        before.setdefault(path, text)
        _write(path, text.replace(old, new))
    return before


def put_back(before: dict[str, str]) -> None:
    for path, text in before.items():
        _write(path, text)


def _write(path: str, text: str) -> None:
    """Write the source, and nothing compiled beside it is to be taken for it: same size, same second."""
    with open(path, "w") as file:
        file.write(text)
    directory, name = os.path.split(path)
    cache = os.path.join(directory, "__pycache__")
    for compiled in os.listdir(cache):
        if compiled.startswith(name.removesuffix(".py") + "."):
            os.unlink(os.path.join(cache, compiled))


def run(python: str, tests: list[str]) -> int:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, FAILED):
        print(done.stdout[-2000:], done.stderr[-2000:])
    return done.returncode


if __name__ == "__main__":
    main()
