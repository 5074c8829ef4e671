"""Control groups, both versions: where they are mounted, and the files of one of them.

``hierarchy`` finds what the host has mounted; ``directory`` is one cgroup in one hierarchy: its limits as
files, its processes, freezing, killing, removal. What an OCI document says about limits, and which file that
becomes, is the business of ``runtime/cgroup*.py``.

Sources: man 7 cgroups; Documentation/admin-guide/cgroup-v1/ and cgroup-v2.rst of the kernel.
"""
