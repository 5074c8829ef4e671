"""The start of an interpreter that may touch containers: sealed, and with the package's libraries in reach.

Both the forkserver and a command that runs without one begin here. ``main`` first executes the interpreter
again from a file that nobody can write to (``linux/sealed.py``); the second time round it sets up
``sys.path`` as ``site`` would have done, and calls what it was asked for.
"""

from __future__ import annotations

import gc
import os
import sys

from mydocker.linux.sealed import is_sealed, reexec_sealed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn


def main() -> NoReturn:
    """``sys.argv[1:]``: ``command ENTRY ARGV0 ...``, ``core ENTRY ARGV0 ...`` or ``server SOCKET ENTRY``.

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
    # Collecting garbage, and taking the interpreter down, are a sixth of the time of a short command.
    gc.disable()
    status = load(entry)()
    sys.stdout.flush()
    os._exit(status)


def load(entry: str) -> Callable[..., Any]:
    """The function that ``module:name`` stands for."""
    from importlib import import_module

    module, _, name = entry.partition(":")
    function: Callable[..., Any] = getattr(import_module(module), name)
    return function


def add_libraries(package_parent: str) -> None:
    """Make ``sys.path`` what ``site`` makes of it: the standard library, then the environment's packages."""
    import site

    if sys.flags.no_site:
        sys.path.remove(package_parent)
        site.main()
    if package_parent not in sys.path:  # the packages of a user, which -I leaves out
        site.addsitedir(package_parent)
