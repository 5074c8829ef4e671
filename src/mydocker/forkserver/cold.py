"""The start of an interpreter that may touch containers: sealed, and with the package's libraries in reach.

Both the forkserver and a command that runs without one begin here. ``main`` first executes the interpreter
again from a file that nobody can write to (``linux/sealed.py``); the second time round it sets up
``sys.path`` as ``site`` would have done, and calls what it was asked for.
"""

from __future__ import annotations

import gc
import marshal
import os
import sys

from mydocker.linux.sealed import is_sealed, reexec_sealed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.machinery import ModuleSpec
    from types import CodeType, ModuleType
    from typing import Any, NoReturn


def main() -> NoReturn:
    """``sys.argv[1:]``: ``command ENTRY ARGV0 ...``, ``core ENTRY ARGV0 ...`` or ``server SOCKET``.

    ``core`` is ``command`` for a program that needs the standard library only, returns its exit status and
    leaves nothing to be done at the end.
    """
    package_parent = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
    _, role, *arguments = sys.argv
    if not is_sealed():
        from .launcher import interpreter

        reexec_sealed(interpreter(package_parent, role, *arguments), dict(os.environ))
    if role == "server":
        add_libraries(package_parent)
        from .server import serve

        serve(package_parent, *arguments)
    entry, *sys.argv = arguments
    if role == "command":
        add_libraries(package_parent)
        status: Any = load(entry)()
        sys.exit(status)
    sys.meta_path.insert(0, CompiledModules(package_parent))
    # Collecting garbage, and taking the interpreter down, are a sixth of the time of a short command.
    gc.disable()
    status = load(entry)()
    sys.stdout.flush()
    os._exit(status)


_LARGEST = 1 << 18
"""bytes of a compiled module; what is larger is left to others"""


class CompiledModules:
    """A finder for what pip has compiled of this package: the file that a name stands for, and no search.

    For some forty modules of a cold start that is worth 2 ms. A file that is missing, of another interpreter
    or older than its source is left to the finders after this one.
    """

    __slots__ = ("_buffer", "_magic", "_parent", "_spec", "_suffix")

    def __init__(self, package_parent: str) -> None:
        external = sys.modules["_frozen_importlib_external"]
        self._magic: bytes = external.MAGIC_NUMBER
        self._spec = type(__spec__)
        self._parent = package_parent
        self._buffer = bytearray(_LARGEST)  # one for all: fresh memory for each takes longer than to read it
        self._suffix = f".{sys.implementation.cache_tag}.pyc"

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:  # noqa: ARG002
        if name[:9] != "mydocker.":
            return None
        directory, _, stem = f"{self._parent}/{name.replace('.', '/')}".rpartition("/")
        inner: list[str] | None = None
        code = self._code(f"{directory}/{stem}.py", f"{directory}/__pycache__/{stem}{self._suffix}")
        if code is None:
            inner = [f"{directory}/{stem}"]
            code = self._code(
                f"{directory}/{stem}/__init__.py", f"{directory}/{stem}/__pycache__/__init__{self._suffix}"
            )
        if code is None:
            return None
        loader: Any = _Loader(code)
        spec = self._spec(name, loader, origin=code.co_filename, is_package=inner is not None)
        spec.submodule_search_locations = inner
        return spec

    def _code(self, source: str, compiled: str) -> CodeType | None:
        """The module in ``compiled``, if it is what became of ``source`` (PEP 552: by time and size)."""
        try:
            status = os.stat(source)
            file = os.open(compiled, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            length = os.readv(file, [self._buffer])
        finally:
            os.close(file)
        head = self._magic + bytes(4) + (int(status.st_mtime) & 0xFFFFFFFF).to_bytes(4, "little")
        head += (status.st_size & 0xFFFFFFFF).to_bytes(4, "little")
        if self._buffer[: min(length, len(head))] != head or length == len(self._buffer):  # of more, maybe
            return None
        code: CodeType = marshal.loads(memoryview(self._buffer)[len(head) : length])
        return code


class _Loader:
    __slots__ = ("_code",)

    def __init__(self, code: CodeType) -> None:
        self._code = code

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:  # noqa: ARG002
        return None

    def exec_module(self, module: ModuleType) -> None:
        exec(self._code, module.__dict__)


def load(entry: str) -> Callable[..., Any]:
    """The function that ``module:name`` stands for."""
    module, _, name = entry.partition(":")
    __import__(module)  # importlib itself is not loaded yet, and costs as much as three of ours
    function: Callable[..., Any] = getattr(sys.modules[module], name)
    return function


def add_libraries(package_parent: str) -> None:
    """Make ``sys.path`` what ``site`` makes of it: the standard library, then the environment's packages."""
    import site

    if sys.flags.no_site:
        sys.path.remove(package_parent)
        site.main()
    if package_parent not in sys.path:  # the packages of a user, which -I leaves out
        site.addsitedir(package_parent)
