"""The root file system of the guest: Debian's minimal system, a virtual environment, the wheel and the tests.

    system-<key>/   a directory tree: mmdebstrap, then the Python packages that pyproject.toml asks for
    disk-<key>      an ext4 image of it with the wheel installed and the tests beside it

The key of each says what went into it: PACKAGES and requirements; and for the disk all sources as well.
The packages come from where the host's apt gets Debian's, the Python packages from where its pip gets them:
pip runs on the host and only downloads; what is installed inside is installed without a network.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

PACKAGES = (
    "attr",
    "busybox-static",
    "criu",
    "dbus",
    "iproute2",
    "libcap2-bin",
    "libseccomp2",
    "nftables",
    "podman",
    "procps",
    "python3",
    "python3-venv",
    "strace",
    "systemd",
    "util-linux",
)
EXCLUDED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
DISK_SIZE = "4G"
INSIDE = "opt/mydocker"
COPIED = ("tests", "pyproject.toml", "README.md", "docs", "scripts")
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux_2_5_x86_64")


def prepare(cache: Path, project: Path) -> Path:
    """The disk image for the project as it is now."""
    requirements = _requirements(project)
    archive = _archive()
    tree = cache / f"system-{_key(archive, PACKAGES, EXCLUDED, PLATFORMS, requirements)}"
    disk = cache / f"disk-{_key(tree.name, DISK_SIZE, _digest(project))}"
    if disk.exists():
        return disk
    if not tree.exists():
        _build_system(cache, tree, archive, requirements)
    _install(cache, tree, project)
    print("test-vm: making the disk image", flush=True)
    partial = disk.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    _call("mkfs.ext4", "-q", "-O", "^has_journal", "-d", str(tree), str(partial), DISK_SIZE)
    for old in cache.glob("disk-*"):
        if old != partial:
            old.unlink()
    partial.rename(disk)
    return disk


def _requirements(project: Path) -> list[str]:
    with open(project / "pyproject.toml", "rb") as handle:
        described = tomllib.load(handle)["project"]
    extras = described["optional-dependencies"]
    # An extra may name another one of ours, which no index knows: "mydocker[socks]".
    ours = {f"{described['name']}[{name}]": wanted for name, wanted in extras.items()}
    listed = [ours.get(requirement, [requirement]) for requirement in extras["test"]]
    return [*described["dependencies"], *(requirement for group in listed for requirement in group)]


def _key(*values: object) -> str:
    return hashlib.sha256(json.dumps(values, default=str).encode()).hexdigest()[:12]


def _digest(project: Path) -> str:
    """Of everything that goes into the wheel or beside it."""
    total = hashlib.sha256()
    for name in sorted({*COPIED, "src"}):
        for path in _files(project / name):
            total.update(f"{path.relative_to(project)}\0{path.stat().st_mode}\0".encode())
            total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def _files(path: Path) -> Iterable[Path]:
    if path.is_file():
        return [path]
    return sorted(p for p in path.rglob("*") if p.is_file() and "__pycache__" not in p.parts)


def _archive() -> tuple[str, str]:
    """Address and code name of the Debian archive that the host's apt uses."""
    form = "$(REPO_URI) $(CODENAME) $(LABEL) $(COMPONENT)"
    done = subprocess.run(
        ["apt-get", "indextargets", "--format", form, "Created-By: Packages"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    for line in done.stdout.splitlines():
        words = line.split()
        if len(words) == 4 and words[2:] == ["Debian", "main"] and "-" not in words[1]:
            return words[0], words[1]
    raise SystemExit("test-vm: the host's apt has no Debian archive among its sources")


def _build_system(cache: Path, tree: Path, archive: tuple[str, str], requirements: list[str]) -> None:
    address, codename = archive
    print(f"test-vm: making a minimal Debian {codename} (about a minute)", flush=True)
    partial = tree.with_suffix(".partial")
    for old in [partial, *cache.glob("system-*")]:
        shutil.rmtree(old, ignore_errors=True)
    options = [f"--dpkgopt=path-exclude={pattern}" for pattern in EXCLUDED]
    # In a mount namespace of its own: what it mounts for the time of the installation cannot stay behind.
    _call(
        *("unshare", "--mount", "--propagation", "private"),
        *("mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", f"--include={','.join(PACKAGES)}"),
        *(*options, codename, str(partial), address),
    )
    print("test-vm: getting the Python packages", flush=True)
    house = partial / "opt/wheels"
    version = _inside(partial, "python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()
    platforms = [word for platform in PLATFORMS for word in ("--platform", platform)]
    _call(
        *(
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--only-binary=:all:",
            "--python-version",
            version,
        ),
        *(*platforms, "--dest", str(house), *requirements),
    )
    _inside(partial, "python3", "-m", "venv", f"/{INSIDE}/venv")
    _pip(partial, "--find-links", "/opt/wheels", *requirements)
    shutil.rmtree(house)
    partial.rename(tree)


def _install(cache: Path, tree: Path, project: Path) -> None:
    """Put the project as it is now into the tree, over what an earlier run has put there."""
    print("test-vm: installing the wheel", flush=True)
    wheels = cache / "wheel"
    shutil.rmtree(wheels, ignore_errors=True)
    _call(
        sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(wheels), str(project)
    )
    (wheel,) = wheels.glob("*.whl")
    inside = tree / INSIDE
    shutil.copy(wheel, inside / wheel.name)
    _pip(tree, "--no-deps", "--force-reinstall", f"/{INSIDE}/{wheel.name}")
    (inside / wheel.name).unlink()
    for name in COPIED:
        shutil.rmtree(inside / name, ignore_errors=True)
        for path in _files(project / name):
            target = inside / path.relative_to(project)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    script = inside / "guest-init"
    shutil.copy(project / "tests/vm/guest-init", script)
    script.chmod(0o755)


def _pip(tree: Path, *arguments: str) -> None:
    _inside(tree, f"/{INSIDE}/venv/bin/pip", "install", "--quiet", "--no-index", *arguments)


def _inside(tree: Path, *command: str) -> str:
    """Run a program of the tree in the tree, with none of the caller's settings."""
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8"}
    settings = {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
    }
    done = subprocess.run(
        ["chroot", str(tree), *command],
        env={**environment, **settings},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


def _call(*command: str) -> None:
    subprocess.run(command, check=True)
