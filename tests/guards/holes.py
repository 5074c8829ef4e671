"""The guards against known holes: what to take out of the source, and the tests that have to notice."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Guard:
    """``changes``: file below the package, what is in it once, and what is there without the guard.

    ``provoked``: changes that give the hole something to show, with which the tests still have to pass.
    """

    name: str
    changes: tuple[tuple[str, str, str], ...]
    tests: tuple[str, ...]
    provoked: tuple[tuple[str, str, str], ...] = ()


_I = "tests/integration/"

GUARDS = (
    Guard(
        "volume-subpath",  # links in a volume lead nowhere outside (CVE-2021-25741 is Kubernetes' form of it)
        (
            (
                "container/volumes.py",
                "        resolve = path.RESOLVE_BENEATH | path.RESOLVE_NO_MAGICLINKS\n",
                "        resolve = 0\n",
            ),
        ),
        (f"{_I}test_volumes.py::test_subpath",),
    ),
    Guard(
        "volume-lent",  # a container passes on the file system of the volume, or nothing
        (("container/volumes.py", "if _identity(tree) == known:", "if True:"),),
        (f"{_I}test_volumes.py::test_a_container_cannot_lend_something_else",),
    ),
    Guard(
        "volume-filled",  # what is copied into a volume follows no link that a container puts there
        (
            (
                "snapshot/copy.py",
                "_ANY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC\n",
                "_ANY = os.O_PATH | os.O_CLOEXEC\n",
            ),
            (
                "snapshot/copy.py",
                "            if (stat.S_IFMT(found.st_mode), found.st_rdev) != (kind, status.st_rdev):\n",
                "            if False:\n",
            ),
        ),
        ("tests/unit/volume/test_store.py::test_a_link_put_in_the_way_is_not_followed",),
    ),
    Guard(
        "egress-neighbours",  # messages of neighbour discovery pass by no list of places
        (("network/egress.py", "prerouting ip6 saddr {{ ::, fe80::/10 }} icmpv6", "prerouting icmpv6"),),
        (f"{_I}test_network_limits.py::test_who_looks_for_neighbours_finds_none_outside",),
    ),
    Guard(
        "idmap-root",  # nobody in the container can make files of the host's root
        (
            (
                "container/document.py",
                "[(owner, 0, 1), (1, 1, before)",
                "[(owner, 0, 1), (0, owner, 1), (1, 1, before)",
            ),
        ),
        (f"{_I}test_volume_mounts.py::test_idmap",),
    ),
    Guard(
        "CVE-2019-5736",  # the interpreter executed from a read-only mount
        (("linux/sealed.py", '    exe = f"/proc/{pid}/exe"\n', "    return True\n"),),
        (f"{_I}test_security_exe.py::test_the_program_that_executes_itself",),
    ),
    Guard(
        "CVE-2019-14271",  # init imports nothing once it is inside
        (("runtime/init.py", "    forbid_imports()\n", ""),),
        (f"{_I}test_security_foreign_code.py::test_run", f"{_I}test_security_foreign_code.py::test_exec"),
        (
            (
                "runtime/init.py",
                "    finish = start.plan.finder.finish\n",
                "    finish = start.plan.finder.finish\n"
                "    try:\n        import colorsys\n    except ImportError:\n        pass\n",
            ),
        ),
    ),
    Guard(
        "CVE-2021-30465",  # destinations are resolved inside of the root
        (("linux/path.py", "_IN_ROOT = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS", "_IN_ROOT = 0"),),
        (
            f"{_I}test_security_paths.py::test_a_mount_below_a_link",
            f"{_I}test_runtime_files.py::test_a_destination_through_a_symbolic_link_stays_inside",
        ),
    ),
    Guard(
        "CVE-2024-21626",  # what the caller has open is closed by execve, and is no working directory
        (
            ("runtime/init.py", "    cloexec_from(3)\n", ""),
            (
                "linux/path.py",
                "_IN_ROOT = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS",
                "_IN_ROOT = RESOLVE_IN_ROOT",
            ),
        ),
        (
            f"{_I}test_security_descriptors.py::test_a_container_has_its_streams_and_no_more",
            f"{_I}test_runtime_command.py::test_only_preserved_descriptors_enter",
        ),
    ),
    Guard(
        "CVE-2025-31133",  # what masks a path is the host's null device
        (
            (
                "runtime/steps/paths.py",
                'null = os.open("/dev/null", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)',
                'null = path.open_in_root(context.root, "/dev/null")',
            ),
            (
                "runtime/steps/devices.py",
                "if stat.S_IFMT(existing.st_mode) != stat.S_IFMT(node.mode) or existing.st_rdev != device:",
                "if existing is None:",
            ),
            ("runtime/steps/paths.py", "            if not _is_null(null):\n", "            if not null:\n"),
            (
                "runtime/steps/paths.py",
                "                hidden = _is_null(descriptor)\n",
                "                hidden = True\n",
            ),
            ("runtime/steps/paths.py", "            hidden = hidden and _is_readonly(descriptor)\n", ""),
        ),
        (f"{_I}test_runtime_files.py::test_a_null_device_of_the_image_hides_nothing",),
    ),
    Guard(
        "CVE-2025-52565",  # /dev/console is not reached through a link
        (
            (
                "runtime/steps/terminal.py",
                "        flags = os.O_PATH | os.O_NOFOLLOW\n",
                "        flags = os.O_PATH\n",
            ),
        ),
        (f"{_I}test_security_masks.py::test_the_console_of_a_bundle",),
    ),
    Guard(
        "CVE-2025-52881",  # what is written to procfs lands there
        (
            (
                "runtime/steps/limits.py",
                "        resolve = path.RESOLVE_NO_XDEV | path.RESOLVE_NO_MAGICLINKS\n",
                "        resolve = 0\n",
            ),
        ),
        ("tests/unit/runtime/test_write_proc.py",),
    ),
)
