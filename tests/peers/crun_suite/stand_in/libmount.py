"""What the suite wants of util-linux's libmount for Python, which Debian does not package."""

from __future__ import annotations


class Mount:
    def __init__(self, vfs_options: str, fs_options: str) -> None:
        self.vfs_options = vfs_options
        self.fs_options = fs_options


class Table:
    def __init__(self, path: str) -> None:
        self._mounts: dict[str, Mount] = {}
        with open(path) as lines:
            for line in lines:
                fields = line.split()
                if "-" in fields:
                    self._mounts[fields[4]] = Mount(fields[5], fields[-1])

    def find_target(self, target: str) -> Mount | None:
        return self._mounts.get(target)
