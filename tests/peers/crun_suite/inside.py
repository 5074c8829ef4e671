"""What ``main.py`` starts for a file of the suite: ``inside.py WORK FILE SECONDS``, in its own namespaces."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from support import isolation, probe

MNT_DETACH = 2
PATIENCE = 120
"""seconds for one file, which has up to sixty tests"""


GIVEN_UP = "# not done in time"


def main() -> None:
    work, file, patience = sys.argv[1:]
    isolation.enter()
    found = probe.cgroup_hierarchies()
    if "" in found and found.keys() - {""}:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.umount2(found[""].encode(), MNT_DETACH) < 0:
            raise OSError(ctypes.get_errno(), f"umount {found['']}")
    os.environ.pop(isolation.MARK, None)
    try:
        subprocess.run([sys.executable, file], cwd=work, check=False, timeout=int(patience))
    except subprocess.TimeoutExpired:
        print(GIVEN_UP, flush=True)
    thaw(found.get("freezer", ""))


def thaw(mount: str) -> None:
    """A frozen process of cgroup v1 does not even die, and with it stays the PID namespace it is in."""
    for directory, _, files in os.walk(mount) if mount else ():
        if "freezer.state" in files and directory != mount:
            with open(os.path.join(directory, "freezer.state"), "w") as state:
                state.write("THAWED")


if __name__ == "__main__":
    main()
