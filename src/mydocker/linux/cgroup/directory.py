"""One cgroup in one hierarchy: a directory whose files are its limits, its members and its switches.

In scope: making and removing the directory, reading and writing its files, its processes, and the two ways to
freeze and to kill. Errors are the kernel's own (``OSError`` with the file's path). Out of scope: what a value
means, and keeping the directories of one container together (``runtime/cgroup.py``).

Freezing, man 7 cgroups and cgroup-v2.rst:

    v1 freezer   write FROZEN to freezer.state, read it until it no longer says FREEZING
    v2           write 1 to cgroup.freeze, poll cgroup.events until it says ``frozen 1``
"""

import errno
import os
import time

from .hierarchy import Hierarchy

_WRITE = os.O_WRONLY | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_CLOEXEC
_EMPTY_LINKS = 2
"""Links of a cgroup directory without children; each subdirectory adds one, as on most file systems."""


class Directory:
    """A cgroup, by the hierarchy and the absolute path of its directory. It need not exist (yet)."""

    __slots__ = ("hierarchy", "path")

    def __init__(self, hierarchy: Hierarchy, path: str):
        self.hierarchy = hierarchy
        self.path = path

    def __repr__(self) -> str:
        return f"Directory({self.path!r})"

    @property
    def unified(self) -> bool:
        return self.hierarchy.unified

    # -- files ---------------------------------------------------------------------------------------

    def write(self, file: str, *values: str) -> None:
        """Write each value with a system call of its own, as cgroup files want it."""
        path = f"{self.path}/{file}"
        descriptor = os.open(path, _WRITE)
        try:
            for value in values:
                os.write(descriptor, value.encode())
        except OSError as error:
            error.filename = path
            raise
        finally:
            os.close(descriptor)

    def read(self, file: str) -> str:
        """The text of a file without its last newline."""
        path = f"{self.path}/{file}"
        descriptor = os.open(path, _READ)
        try:
            chunks = []
            while chunk := os.read(descriptor, 65536):
                chunks.append(chunk)
        except OSError as error:
            error.filename = path
            raise
        finally:
            os.close(descriptor)
        return b"".join(chunks).decode(errors="surrogateescape").removesuffix("\n")

    def has(self, file: str) -> bool:
        return os.access(f"{self.path}/{file}", os.F_OK)

    def number(self, file: str) -> int | None:
        """A file with one number; None for ``max``, and for the huge values that mean the same on v1."""
        return parse_number(self.read(file))

    def flat(self, file: str) -> dict[str, int]:
        """A file of ``key number`` lines, such as memory.stat and cgroup.events."""
        return parse_flat(self.read(file))

    # -- the directory -------------------------------------------------------------------------------

    def exists(self) -> bool:
        return os.path.isdir(self.path)

    def make(self) -> bool:
        """Make the directory; False when it was there. FileNotFoundError when the parent is missing."""
        try:
            os.mkdir(self.path, 0o755)
        except FileExistsError:
            return False
        return True

    def parent(self) -> "Directory":
        return Directory(self.hierarchy, os.path.dirname(self.path))

    def is_top(self) -> bool:
        """Whether this is the directory at which the hierarchy is mounted."""
        return self.path == self.hierarchy.mount

    def children(self) -> "list[Directory]":
        """The cgroups right below; none once the cgroup is gone."""
        try:
            if os.stat(self.path).st_nlink <= _EMPTY_LINKS:
                return []
            with os.scandir(self.path) as entries:
                names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        except FileNotFoundError:
            return []
        return [Directory(self.hierarchy, f"{self.path}/{name}") for name in names]

    def walk(self) -> "list[Directory]":
        """This cgroup and all below it, children before their parent, however deep a container nests them."""
        found: list[Directory] = [self]
        for directory in found:
            found += directory.children()
        found.reverse()
        return found

    def remove(self) -> bool:
        """Remove the cgroup with all below it; False when something in it is still alive (EBUSY)."""
        if _remove(self.path):
            return True
        # Busy means members or children; a container that has its cgroup mounted writable may have made some.
        busy = [below for below in self.walk() if not _remove(below.path)]
        return not busy

    # -- processes -----------------------------------------------------------------------------------

    def pids(self) -> list[int]:
        """The processes here and below, by their numbers in the caller's PID namespace, if they have any."""
        found = []
        for below in self.walk():
            try:
                lines = below.read("cgroup.procs").split()
            except FileNotFoundError:
                continue
            except OSError as error:
                # A cgroup that holds single threads cannot say; the domain above it lists their processes.
                if error.errno not in (errno.EOPNOTSUPP, errno.ENODEV):
                    raise
                continue
            found += [int(line) for line in lines if line != "0"]
        return found

    def kill(self) -> bool:
        """SIGKILL everything here and below at once; False where the kernel (before 5.14) or v1 cannot."""
        try:
            self.write("cgroup.kill", "1")
        except FileNotFoundError:
            return not self.exists()
        return True

    def populated(self) -> bool:
        """Whether a live process is here or below."""
        try:
            if self.unified:
                return bool(self.flat("cgroup.events")["populated"])
            return bool(self.pids())
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENODEV):
                return False
            raise

    # -- the freezer ---------------------------------------------------------------------------------

    def frozen(self) -> bool:
        if self.unified:
            return bool(self.flat("cgroup.events").get("frozen", 0))
        return self.read("freezer.state") != "THAWED"

    def freeze(self, timeout: float) -> None:
        """Stop every process here and below; TimeoutError, with all thawed, if one runs on."""
        end = time.monotonic() + timeout
        try:
            if self.unified:
                self.write("cgroup.freeze", "1")
                self.wait_for("frozen", 1, end)
            else:
                self._freeze_v1(end)
        except TimeoutError:
            self.thaw()
            raise

    def _freeze_v1(self, end: float) -> None:
        attempts = 0
        while True:
            # Writing again helps: a task that was forked in the meantime may have been missed. So does a
            # short thaw when two tasks wait for each other, for instance in vfork.
            self.write("freezer.state", "FROZEN")
            if self.read("freezer.state") == "FROZEN":
                return
            if time.monotonic() > end:
                raise TimeoutError(errno.ETIMEDOUT, "the processes did not freeze in time", self.path)
            attempts += 1
            if attempts % 50 == 0:
                self.write("freezer.state", "THAWED")
            time.sleep(0.001)

    def thaw(self) -> None:
        if self.unified:
            self.write("cgroup.freeze", "0")
        else:
            self.write("freezer.state", "THAWED")

    def wait_until_empty(self, end: float) -> bool:
        """Wait on v2 until no process is left or the monotonic instant ``end`` has come; says which."""
        try:
            self.wait_for("populated", 0, end)
        except FileNotFoundError:
            return True
        except TimeoutError:
            return False
        return True

    def wait_for(self, key: str, value: int, end: float) -> None:
        """Wait until cgroup.events says ``key value``; TimeoutError after the monotonic instant ``end``."""
        import select  # here, as most containers end without anyone waiting for their cgroup

        path = f"{self.path}/cgroup.events"
        descriptor = os.open(path, _READ)
        try:
            changes = select.poll()
            changes.register(descriptor, select.POLLPRI)
            while True:
                # Reading first arms the notification, so that no change between read and poll is lost.
                text = os.pread(descriptor, 4096, 0).decode()
                if parse_flat(text).get(key) == value:
                    return
                left = end - time.monotonic()
                if left <= 0:
                    raise TimeoutError(
                        errno.ETIMEDOUT, f"the cgroup did not become {key} {value} in time", path
                    )
                changes.poll(left * 1000)
        except OSError as error:
            if error.errno != errno.ENODEV:  # ENODEV: the cgroup has been removed, so nothing is in it
                raise
        finally:
            os.close(descriptor)


def _remove(path: str) -> bool:
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno in (errno.EBUSY, errno.ENOTEMPTY):
            return False
        raise
    return True


_NO_LIMIT = 1 << 62
"""v1 prints "no limit" as the largest multiple of a page, or of nothing, that fits a signed 64-bit number."""


def parse_number(text: str) -> int | None:
    """``123`` -> 123; ``max``, ``-1`` and the largest numbers -> None, no limit."""
    text = text.strip()
    if text == "max":
        return None
    number = int(text)
    return None if number < 0 or number >= _NO_LIMIT else number


def parse_flat(text: str) -> dict[str, int]:
    """Lines of ``key number``; a line with another shape is left out."""
    found = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if value.lstrip("-").isdigit():
            found[key] = int(value)
    return found


def parse_nested(text: str) -> dict[str, dict[str, str]]:
    """Lines of ``key name=value name=value``, such as io.stat and the pressure files."""
    found = {}
    for line in text.splitlines():
        key, *pairs = line.split()
        found[key] = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
    return found
