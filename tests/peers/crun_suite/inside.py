"""What ``main.py`` starts for a file of the suite: ``inside.py WORK FILE SECONDS``, in its own namespaces.

The mounts are shared, as systemd leaves them on a host. The files that are about terminals run on one, and
what comes out of it is handed on.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from support import isolation, probe

MNT_DETACH = 2
MS_REC_SHARED = 0x4000 | 1 << 20
PATIENCE = 120
"""seconds for one file, which has up to sixty tests"""
GIVEN_UP = "# not done in time"
ON_A_TERMINAL = ("test_tty.py", "test_terminal.py")


def main() -> None:
    work, file, patience = sys.argv[1:]
    isolation.enter()
    found = probe.cgroup_hierarchies()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"none", b"/", None, MS_REC_SHARED, None) < 0:
        raise OSError(ctypes.get_errno(), "mount --make-rshared /")
    if "" in found and found.keys() - {""} and libc.umount2(found[""].encode(), MNT_DETACH) < 0:
        raise OSError(ctypes.get_errno(), f"umount {found['']}")
    os.environ.pop(isolation.MARK, None)
    terminal = os.path.basename(file) in ON_A_TERMINAL
    try:
        (on_a_terminal if terminal else run)([sys.executable, file], work, int(patience))
    except subprocess.TimeoutExpired:
        print(GIVEN_UP, flush=True)
    thaw(found.get("freezer", ""))


def run(command: list[str], work: str, patience: int) -> None:
    subprocess.run(command, cwd=work, check=False, timeout=patience)


def on_a_terminal(command: list[str], work: str, patience: int) -> None:
    master, slave = os.openpty()
    reader = threading.Thread(target=_copy, args=(master,))
    reader.start()
    try:
        subprocess.run(
            command,
            cwd=work,
            check=False,
            timeout=patience,
            stdin=slave,
            stdout=slave,
            start_new_session=True,
        )
    finally:
        os.close(slave)
        reader.join(5)


def _copy(master: int) -> None:
    try:
        while data := os.read(master, 65536):
            os.write(1, data.replace(b"\r\n", b"\n"))
    except OSError:
        return  # EIO: nobody has the other end open any more


def thaw(mount: str) -> None:
    """A frozen process of cgroup v1 does not even die, and with it stays the PID namespace it is in."""
    for directory, _, files in os.walk(mount) if mount else ():
        if "freezer.state" in files and directory != mount:
            with open(os.path.join(directory, "freezer.state"), "w") as state:
                state.write("THAWED")


if __name__ == "__main__":
    main()
