"""Imports go down only, as docs/architecture.md says; this walks them.

Every ``import`` statement of every module is read from its syntax tree, those inside of functions too (a late
import is still a dependency), except those under ``if TYPE_CHECKING``: they never run.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import mydocker

SOURCE = Path(mydocker.__file__).parent

# Top to bottom. Names on one line are siblings, which do not import each other.
ORDER: list[set[str]] = [
    {"cli"},
    {"api"},
    {"engine"},
    {"build", "container"},
    {"forkserver"},
    {"monitor"},
    {"image"},
    {"registry"},
    {"network"},
    {"volume"},
    {"snapshot"},
    {"content"},
    {"archive"},
    {"runtime"},
    {"linux"},
    {"oci"},
    {"errors"},
]
LEVEL = {name: level for level, names in enumerate(ORDER) for name in names}

# Import only each other and the standard library: mydocker-runtime runs cold.
CORE = {"runtime", "linux", "oci", "errors"}

# Only this package may know ctypes and ioctl numbers (house rule 3).
KERNEL = "linux"

# Standard library modules that cost milliseconds, and that a cold mydocker-runtime must not pull in.
HEAVY = {
    "argparse",
    "asyncio",
    "dataclasses",
    "email",
    "enum",
    "importlib.metadata",
    "inspect",
    "logging",
    "pathlib",
    "re",
    "shutil",
    "subprocess",
    "tempfile",
    "typing",
    "urllib",
}


def package_of(module: str) -> str | None:
    """``mydocker.linux.mount`` -> ``linux``; None for the bare package and for anything else."""
    parts = module.split(".")
    return parts[1] if parts[0] == "mydocker" and len(parts) > 1 else None


def module_name(path: Path) -> str:
    parts = ["mydocker", *path.relative_to(SOURCE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_type_checking(node: ast.If) -> bool:
    return any(
        (isinstance(part, ast.Name) and part.id == "TYPE_CHECKING")
        or (isinstance(part, ast.Attribute) and part.attr == "TYPE_CHECKING")
        for part in ast.walk(node.test)
    )


def statements(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and is_type_checking(child):
            for other in child.orelse:
                yield from statements(ast.Module([other], []))
        elif isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        else:
            yield from statements(child)


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """(line, module) of each import; ``from mydocker import x`` yields ``mydocker.x``."""
    module = module_name(path)
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in statements(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        else:
            base = package[: len(package) - node.level + 1] if node.level else []
            target = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            if target == "mydocker":
                for alias in node.names:
                    yield node.lineno, f"mydocker.{alias.name}"
            else:
                yield node.lineno, target


def complaint(importer: str, target: str) -> str | None:
    """Why the module ``importer`` must not import the module ``target``, or None when it may."""
    here, there = package_of(importer), package_of(target)
    if here is None:
        return None
    if here not in LEVEL:
        return f"{importer} is in no known package: give {here} a place in ORDER"
    if there is None:
        root = target.partition(".")[0]
        if here in CORE and root not in sys.stdlib_module_names and root != "mydocker":
            return f"{importer} imports {target}: the core takes the standard library only"
        if root == "ctypes" and here != KERNEL:
            return f"{importer} imports ctypes: only linux/ does"
        return None
    if there == here or there.startswith("__"):
        return None
    if there not in LEVEL:
        return f"{importer} imports {target}, which is in no known package"
    if here in CORE and there not in CORE:
        return f"{importer} imports {target}: the core imports only {', '.join(sorted(CORE))}"
    if here in CORE:
        # linux and oci stand side by side below runtime
        return None if LEVEL[there] > LEVEL[here] else f"{importer} imports {target}: upward"
    if LEVEL[there] == LEVEL[here]:
        return f"{importer} imports its sibling {target}"
    if LEVEL[there] < LEVEL[here]:
        return f"{importer} imports {target}: upward"
    return None


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize("path", modules(), ids=module_name)
def test_imports_go_down(path: Path) -> None:
    complaints = [
        f"{path}:{line}: {text}"
        for line, target in imported(path)
        if (text := complaint(module_name(path), target))
    ]
    assert complaints == []


@pytest.mark.parametrize(
    ("importer", "target"),
    [
        ("mydocker.linux.mount", "mydocker.runtime.steps"),
        ("mydocker.linux.mount", "msgspec"),
        ("mydocker.runtime.create", "mydocker.container.record"),
        ("mydocker.container.store", "mydocker.engine"),
        ("mydocker.container.store", "mydocker.build.graph"),
        ("mydocker.build.graph", "mydocker.container.store"),
        ("mydocker.cli.run", "ctypes"),
        ("mydocker.oci.digest", "mydocker.linux.mount"),
        ("mydocker.nowhere.x", "os"),
        ("mydocker.cli.run", "mydocker.nowhere"),
    ],
)
def test_an_import_that_is_not_allowed_is_found(importer: str, target: str) -> None:
    assert complaint(importer, target)


@pytest.mark.parametrize(
    ("importer", "target"),
    [
        ("mydocker.cli.run", "mydocker.engine"),
        ("mydocker.linux.mount", "mydocker.linux.syscall"),
        ("mydocker.linux.mount", "mydocker.errors"),
        ("mydocker.linux.mount", "ctypes"),
        ("mydocker.cli.run", "click"),
        ("mydocker.runtime.create", "mydocker.oci.runtime"),
    ],
)
def test_an_import_that_is_allowed_is_not(importer: str, target: str) -> None:
    assert complaint(importer, target) is None


def test_imports_for_type_checkers_do_not_count() -> None:
    source = "if TYPE_CHECKING:\n    import typing\nelse:\n    import os\ndef f():\n    import re\n"
    found = [alias.name for node in statements(ast.parse(source)) for alias in node.names]
    assert found == ["os", "re"]


def test_cold_runtime_imports_little() -> None:
    """What ``mydocker-runtime`` has loaded when it is ready to create a container."""
    script = "import sys; import mydocker.runtime.task; print('\\n'.join(sys.modules))"
    loaded = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            f"import sys; sys.path.insert(0, {str(SOURCE.parent)!r}); {script}",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    heavy = sorted(HEAVY & set(loaded))
    outside = sorted(
        {m.partition(".")[0] for m in loaded} - set(sys.stdlib_module_names) - {"mydocker", "__main__"}
    )
    upward = sorted({p for m in loaded if (p := package_of(m)) and p not in CORE})
    assert (heavy, outside, upward) == ([], [], [])


def test_modules_stay_short() -> None:
    """House rule 1: about 500 lines; past that a module is two things."""
    long = {
        module_name(path): lines for path in modules() if (lines := len(path.read_text().splitlines())) > 500
    }
    assert long == {}
