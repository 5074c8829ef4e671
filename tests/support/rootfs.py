"""A small root file system made of Debian's static busybox: a directory, and the same as a tar archive."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile

from support import probe

DIRECTORIES = {
    "bin": 0o755,
    "dev": 0o755,
    "etc": 0o755,
    "home": 0o755,
    "proc": 0o755,
    "root": 0o700,
    "sys": 0o755,
    "tmp": 0o1777,
    "usr": 0o755,
    "var": 0o755,
}
FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n"
    "daemon:x:1:1:daemon:/usr/sbin:/bin/false\n"
    "alice:x:1000:1000:Alice:/home/alice:/bin/sh\n",
    "etc/group": "root:x:0:\ndaemon:x:1:\nalice:x:1000:\nwheel:x:10:root,alice\naudio:x:29:alice\n",
    "etc/os-release": 'ID=busybox\nNAME="busybox of the tests"\n',
    "etc/not-executable": "#!/bin/sh\necho never\n",
}


def build(directory: str) -> str:
    """Fill ``directory`` (made here) and return it."""
    busybox = probe.program("busybox")
    if busybox is None:
        raise FileNotFoundError("busybox: install busybox-static (see tests/apt-packages.txt)")
    os.mkdir(directory)
    for name, mode in DIRECTORIES.items():
        os.mkdir(os.path.join(directory, name))
        os.chmod(os.path.join(directory, name), mode)
    shutil.copy(busybox, os.path.join(directory, "bin/busybox"))
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    for applet in applets:
        if applet != "busybox":
            os.symlink("busybox", os.path.join(directory, "bin", applet))
    for name, text in FILES.items():
        with open(os.path.join(directory, name), "w") as handle:
            handle.write(text)
    os.mkdir(os.path.join(directory, "home/alice"))
    os.chown(os.path.join(directory, "home/alice"), 1000, 1000)
    return directory


def pack(directory: str, archive: str) -> str:
    """Write the contents of ``directory`` as a plain tar and return its path."""
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        for name in sorted(os.listdir(directory)):
            tar.add(os.path.join(directory, name), arcname=name)
    return archive
