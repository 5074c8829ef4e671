"""set_mempolicy(2): the memory nodes that a process gets its pages from, named as in the specification."""

from __future__ import annotations

from . import native as ctypes
from .syscall import syscall

# linux/mempolicy.h
MODES = {
    "MPOL_DEFAULT": 0,
    "MPOL_PREFERRED": 1,
    "MPOL_BIND": 2,
    "MPOL_INTERLEAVE": 3,
    "MPOL_LOCAL": 4,
    "MPOL_PREFERRED_MANY": 5,
    "MPOL_WEIGHTED_INTERLEAVE": 6,
}
FLAGS = {
    "MPOL_F_STATIC_NODES": 1 << 15,
    "MPOL_F_RELATIVE_NODES": 1 << 14,
    "MPOL_F_NUMA_BALANCING": 1 << 13,
}
NODES = 1024
"""as many as any kernel is configured for (CONFIG_NODES_SHIFT is 10 at most)"""


def set_mempolicy(mode: int, nodes: frozenset[int]) -> None:
    """Set this thread's policy, which execve(2) keeps; ``mode`` with its flags. Raises ``OSError``."""
    if not nodes:
        syscall("set_mempolicy", mode, None, 0)
        return
    mask = sum(1 << node for node in nodes).to_bytes(NODES // 8, "little")
    # One more than there are bits: the kernel takes one off.
    syscall("set_mempolicy", mode, ctypes.c_char_p(mask), NODES + 1)
