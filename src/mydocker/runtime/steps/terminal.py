"""Standard input, output and error: three descriptors, or a terminal of the container's own.

The terminal comes from the container's devpts, so that its name in there is real. Its master goes to the
runtime over the channel. The slave is opened through the master and bound on /dev/console by descriptor, and
what is found there afterwards has to be that device (CVE-2025-52565).
"""

from __future__ import annotations

import os
import stat

from mydocker.errors import Forbidden
from mydocker.linux import mount, path, pty
from mydocker.runtime.step import Context, Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mydocker.runtime.task import Stdio


class Terminal(Step):
    """Open a pseudo-terminal, send its master to the runtime, and show the slave as /dev/console."""

    __slots__ = ("console", "rows_columns")

    def __init__(self, rows_columns: tuple[int, int] | None, console: bool) -> None:
        self.rows_columns = rows_columns
        self.console = console

    def describe(self) -> str:
        return "open a terminal" + (" and bind it on /dev/console" if self.console else "")

    def apply(self, context: Context) -> None:
        master = path.open_in_root(context.root, "/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY)
        try:
            if mount.filesystem_magic(master) != mount.DEVPTS_SUPER_MAGIC:
                raise Forbidden("/dev/pts/ptmx of the container is not on devpts")
            pty.unlock(master)
            slave = pty.open_peer(master)
            if self.rows_columns is not None:
                pty.set_size(slave, *self.rows_columns)
            if self.console:
                self._bind(slave, context)
            context.channel.send("console", descriptors=[master])
        finally:
            os.close(master)
        context.terminal = slave

    def observe(self, context: Context) -> str:
        return f"{os.ttyname(context.terminal)} {'x'.join(map(str, pty.get_size(context.terminal)))}"

    @staticmethod
    def _bind(slave: int, context: Context) -> None:
        directory = path.make_directory_in_root(context.root, "/dev")
        flags = os.O_PATH | os.O_NOFOLLOW
        try:
            try:
                os.close(path.openat2(directory, "console", os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
            except FileExistsError:
                pass
            point = path.openat2(directory, "console", flags)
            try:
                if stat.S_ISLNK(os.fstat(point).st_mode):
                    raise Forbidden("/dev/console of the container is a symbolic link")
                tree = mount.open_tree("", mount.OPEN_TREE_CLONE | mount.AT_EMPTY_PATH, slave)
                try:
                    mount.move_mount(tree, point)
                finally:
                    os.close(tree)
            finally:
                os.close(point)
            found = path.openat2(directory, "console", flags)
            try:
                if os.fstat(found).st_rdev != os.fstat(slave).st_rdev:
                    raise Forbidden("/dev/console is not the terminal after it was bound there")
            finally:
                os.close(found)
        finally:
            os.close(directory)


class StandardStreams(Step):
    """Put the terminal or the given descriptors on 0, 1 and 2."""

    __slots__ = ("stdio",)

    def __init__(self, stdio: Stdio | None) -> None:
        self.stdio = stdio

    def describe(self) -> str:
        return "connect the standard streams"

    def apply(self, context: Context) -> None:
        if context.terminal >= 0:
            pty.set_controlling(context.terminal)
            for number in range(3):
                os.dup2(context.terminal, number, inheritable=True)
            os.close(context.terminal)
            context.terminal = 0
        elif self.stdio is not None:
            # Copies above 2 first, so that no stream overwrites one that is still needed.
            streams = self.stdio.stdin, self.stdio.stdout, self.stdio.stderr
            copies = [os.dup(stream) for stream in streams]
            for number, copy in enumerate(copies):
                os.dup2(copy, number, inheritable=True)
                os.close(copy)

    def observe(self, context: Context) -> str:
        return ", ".join(f"{number} {path.path_of(number)}" for number in range(3))


def give_streams_to(uid: int, terminal: bool) -> None:
    """Let the user ``uid`` open /dev/stdout and its own terminal again, by owning the pipes or the terminal.

    Files and the host's terminals stay with whom they belong to.
    """
    for number in range(3):
        status = os.fstat(number)
        if status.st_uid != uid and (terminal or stat.S_ISFIFO(status.st_mode)):
            try:
                os.fchown(number, uid, -1)
            except PermissionError:
                return  # an id that the pipe's user namespace has no name for
