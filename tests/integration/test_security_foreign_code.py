"""Nothing of a container is executed on the engine's side (CVE-2019-14271).

There it was the C library of ``docker cp``, which loaded name service modules after it had entered the
container's root. Here it is first of all Python: a module that is imported for the first time after
pivot_root or setns would come from the container. So the image has poison where this interpreter's library,
the engine's own package, and the C library's modules are, and then everything is done that an engine does
inside.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import mydocker as package
from support import probe
from support.command import Runner

pytestmark = pytest.mark.both_ways

MARK = "/poisoned"
PYTHON_POISON = f"open({MARK!r}, 'a').write(__name__ + ' ')\nraise SystemExit(99)\n"
NATIVE_POISON = f"""
#include <stdio.h>
__attribute__((constructor)) static void mark(void)
{{
    FILE *file = fopen("{MARK}", "a");
    if (file) {{ fputs("native ", file); fclose(file); }}
}}
"""


def modules() -> set[str]:
    """Every file that an interpreter with the engine in it could import a module from, absolute."""
    found = set()
    roots = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), sysconfig.get_path("purelib")]
    for root in {os.path.realpath(root) for root in roots}:
        for name in sys.stdlib_module_names:
            found |= {f"{root}/{name}.py", f"{root}/{name}/__init__.py"}
        for path in Path(root).glob("encodings/*.py"):
            found.add(str(path))
    for directory in map(str, package.__path__):
        for path in Path(directory).rglob("*.py"):
            found.add(str(path))
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if file and file.endswith(".py") and "/tests/" not in file:
            found.add(os.path.realpath(file))
    return found


def native(directory: Path) -> bytes:
    """A shared object that leaves its mark as soon as it is loaded."""
    source, built = directory / "poison.c", directory / "poison.so"
    source.write_text(NATIVE_POISON)
    subprocess.run(["/usr/bin/gcc", "-shared", "-fPIC", "-o", built, source], check=True)
    return built.read_bytes()


@pytest.fixture(scope="module")
def poisoned(busybox_rootfs: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A busybox system with poison in it. Its busybox is static, and asks nobody for names."""
    if reason := probe.missing_programs("gcc"):
        pytest.skip(reason)
    root = tmp_path_factory.mktemp("poisoned") / "root"
    subprocess.run(["cp", "-a", busybox_rootfs, root], check=True)
    for name in modules():
        path = root / name.lstrip("/")
        if path.parent.suffix != ".py" and not path.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(PYTHON_POISON)
    code = native(tmp_path_factory.mktemp("native"))
    libraries = [f"/{lib}{sub}" for lib in ("lib", "usr/lib", "lib64") for sub in ("", "/x86_64-linux-gnu")]
    names = [
        "libnss_files.so.2",
        "libnss_dns.so.2",
        "libnss_compat.so.2",
        "libnss_systemd.so.2",
        "libseccomp.so.2",
    ]
    names += ["libc.so.6", "libgcc_s.so.1", "libcap.so.2", "libffi.so.8", "gconv/UTF-32.so"]
    native_modules = {f"{sysconfig.get_path('platstdlib')}/lib-dynload/{m}" for m in _extension_files()}
    for place in [*(f"{library}/{name}" for library in libraries for name in names), *native_modules]:
        path = root / place.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(code)
    (root / "etc/nsswitch.conf").write_text("passwd: files systemd\ngroup: files systemd\nhosts: files dns\n")
    return str(root)


def _extension_files() -> list[str]:
    directory = os.path.join(sysconfig.get_path("platstdlib"), "lib-dynload")
    return os.listdir(directory) if os.path.isdir(directory) else []


CHECK = f"test ! -e {MARK} || {{ echo POISONED by $(cat {MARK}); exit 66; }}"

WAYS = {
    "plain": [],
    "user": ["-u", "alice", "--group-add", "audio", "-w", "/new/directory"],
    "init": ["--init"],
    "terminal": ["-t"],
    "limits": ["--ulimit", "nofile=100:200", "--oom-score-adj", "100", "-m", "64m", "--pids-limit", "50"],
    "names": [
        "-h",
        "a-name",
        "--domainname",
        "a.domain",
        "--sysctl",
        "net.ipv4.ip_forward=1",
        "--shm-size",
        "1m",
    ],
    "mounts": ["--tmpfs", "/t", "--read-only", "-v", "/usr/share:/s:ro", "--device", "/dev/null:/dev/other"],
    "security": ["--cap-drop", "ALL", "--security-opt", "no-new-privileges"],
    "privileged": ["--privileged", "--network", "host", "--pid", "host", "--ipc", "host"],
}


@pytest.mark.parametrize("way", WAYS)
def test_run(mydocker: Runner, poisoned: str, way: str) -> None:
    assert mydocker("run", "--rm", "--rootfs", poisoned, *WAYS[way], "sh", "-c", f"{CHECK}; id -u").out


def test_explain(mydocker: Runner, poisoned: str) -> None:
    """Every step also says what the kernel shows, from inside."""
    result = mydocker(
        "run", "--rm", "--explain", "--rootfs", poisoned, "--init", "-u", "alice", "sh", "-c", CHECK
    )
    assert "alice" in result.out + result.err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["/no/such/program"], 127),
        (["/etc/not-executable"], 126),
        (["-u", "nobody-here", "true"], 125),
        (["-w", "/etc/passwd", "true"], 125),
    ],
    ids=["not-found", "not-executable", "user", "directory"],
)
def test_what_goes_wrong_inside(mydocker: Runner, poisoned: str, arguments: list[str], code: int) -> None:
    """The error is made in the container's process, and told by it; the root is read where it was left."""
    split = [i for i, word in enumerate(arguments) if word.startswith("-")]
    flags, command = (arguments[:2], arguments[2:]) if split else ([], arguments)
    mydocker("run", "--name", "poisoned-error", *flags, "--rootfs", poisoned, *command, check=code)
    upper = Path(mydocker.root) / "container" / mydocker.inspect("poisoned-error")["Id"]
    assert upper.is_dir()
    assert not list(upper.rglob(MARK.lstrip("/")))


def test_exec(mydocker: Runner, poisoned: str) -> None:
    container = mydocker("run", "-d", "--rootfs", poisoned, "sleep", "1000").line
    mydocker("exec", container, "sh", "-c", CHECK)
    mydocker("exec", "-u", "alice", "-w", "/tmp", "-e", "A=b", container, "sh", "-c", CHECK)
    mydocker("exec", "-t", container, "sh", "-c", CHECK)
    mydocker("exec", "--privileged", container, "sh", "-c", CHECK)
    mydocker("exec", container, "/no/such/program", check=127)
    mydocker("exec", "-u", "nobody-here", container, "true", check=False)
    mydocker("exec", "-w", "/no/such/directory", container, "true", check=False)
    mydocker("exec", container, "sh", "-c", CHECK)
    mydocker("stop", "-t", "0", container)
    mydocker("start", container)
    mydocker("exec", container, "sh", "-c", CHECK)
