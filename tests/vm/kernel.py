"""Debian's cloud kernel, unpacked and not installed, and the initramfs that gets it to its root file system.

The kernel has ext4 built in but the virtio disk as modules, so the initramfs holds a static busybox and
MODULES with all that they depend on, in the order in which they have to be loaded. It is written here, in the
"newc" format of cpio(5) (Documentation/driver-api/early-userspace/buffer-format.rst), which saves the tools
for it.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import re
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

META_PACKAGE = "linux-image-cloud-amd64"
MODULES = (
    *("virtio_pci", "virtio_blk", "overlay", "bfq", "veth", "bridge", "nf_tables", "loop"),
    *(
        "unix_diag",
        "tcp_diag",
        "udp_diag",
        "af_packet_diag",
        "netlink_diag",
        "nf_conntrack_netlink",
    ),  # for criu
    *("macvlan", "ipvlan", "8021q", "dummy", "sch_tbf"),
    *("nft_chain_nat", "nft_ct", "nft_fib_inet", "nft_masq", "nft_nat"),
)

INIT = """\
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
for module in $(/bin/busybox cat /modules/order); do
    /bin/busybox insmod "/modules/$module" || echo "test-vm: cannot load $module"
done
/bin/busybox mount -t ext4 /dev/vda /root || exec /bin/busybox poweroff -f
/bin/busybox umount /dev
# The words after -- are the arguments of init.
exec /bin/busybox switch_root /root /opt/mydocker/guest-init "$@"
"""


@dataclass(frozen=True)
class Kernel:
    version: str
    image: Path
    initramfs: Path


def prepare(cache: Path) -> Kernel:
    """The newest kernel that apt knows, from the cache if it is there."""
    package = _package()
    recipe = hashlib.sha256(repr((package, MODULES, INIT)).encode()).hexdigest()[:12]
    directory = cache / f"kernel-{recipe}"
    if not directory.exists():
        partial = cache / f"kernel-{recipe}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        print(f"test-vm: getting {package}", flush=True)
        _unpack(package, partial)
        (partial / "initramfs").write_bytes(_initramfs(partial / "lib" / "modules"))
        partial.rename(directory)
        for old in cache.glob("kernel-*"):
            if old != directory:
                shutil.rmtree(old)
    (image,) = directory.glob("boot/vmlinuz-*")
    return Kernel(image.name.removeprefix("vmlinuz-"), image, directory / "initramfs")


def _package() -> str:
    """The versioned package behind the meta package; apt's lists are fetched if they are missing."""
    for attempt in range(2):
        done = subprocess.run(
            ["apt-cache", "depends", META_PACKAGE], capture_output=True, text=True, check=False
        )
        if found := re.search(r"Depends: (linux-image-\S+)", done.stdout):
            return found[1]
        if attempt == 0:
            subprocess.run(["apt-get", "update", "-qq"], check=True)
    raise SystemExit(f"test-vm: apt knows no package {META_PACKAGE}")


def _unpack(package: str, directory: Path) -> None:
    download = ["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", package]
    if subprocess.run(download, cwd=directory, check=False).returncode != 0:
        subprocess.run(["apt-get", "update", "-qq"], check=True)  # the lists were older than the archive
        subprocess.run(download, cwd=directory, check=True)
    (archive,) = directory.glob("*.deb")
    subprocess.run(["dpkg", "-x", str(archive), str(directory)], check=True)
    archive.unlink()


def _initramfs(modules: Path) -> bytes:
    busybox = shutil.which("busybox", path="/usr/bin:/bin")
    if busybox is None:
        raise SystemExit("test-vm: please install busybox-static")
    order = _load_order(modules)
    entries: list[tuple[str, int, bytes]] = [
        (name, stat.S_IFDIR | 0o755, b"") for name in ("bin", "dev", "proc", "root", "modules")
    ]
    entries.append(("bin/busybox", stat.S_IFREG | 0o755, Path(busybox).read_bytes()))
    entries.append(("init", stat.S_IFREG | 0o755, INIT.encode()))
    entries.append(("modules/order", stat.S_IFREG | 0o644, "\n".join(order).encode()))
    entries += [(f"modules/{name}", stat.S_IFREG | 0o644, content) for name, content in order.items()]
    return gzip.compress(b"".join(_cpio(*entry) for entry in [*entries, ("TRAILER!!!", 0, b"")]), 1)


def _load_order(modules: Path) -> dict[str, bytes]:
    """The contents of MODULES and of what they need, each after all that it needs."""
    paths = {path.name.partition(".ko")[0].replace("-", "_"): path for path in modules.rglob("*.ko*")}
    found: dict[str, bytes] = {}

    def add(name: str) -> None:
        if name in found or name not in paths:
            return  # what is not there is built into the kernel
        path = paths[name]
        content = lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()
        # Its section .modinfo holds strings of name=value: MODULE_INFO() in linux/module.h.
        depends = re.search(rb"\0depends=([^\0]*)\0", content)
        for dependency in depends[1].decode().split(",") if depends else ():
            add(dependency.replace("-", "_"))
        found[name] = content

    for name in MODULES:
        add(name)
    if "virtio_blk" not in found:
        print("test-vm: the kernel has no module virtio_blk; it may be built in", file=sys.stderr)
    return found


def _cpio(name: str, mode: int, content: bytes) -> bytes:
    """One entry: a header of hexadecimal numbers, the name, the content, each padded to four bytes."""
    encoded = name.encode() + b"\0"
    numbers = (0, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(encoded), 0)
    header = b"070701" + b"".join(b"%08X" % number for number in numbers)
    return _padded(header + encoded) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
