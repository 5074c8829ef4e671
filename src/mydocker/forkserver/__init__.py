"""How a command starts fast: the launcher, and the preloaded interpreter that it asks for a child.

    mydocker (sh) -> launcher.py          `python -I -S`, imports next to nothing
                        |  request over a unix socket: argv, environment, directory, descriptors, ...
                     server.py            preloaded, single-threaded, without state; may be killed at any time
                        |  fork
                     worker.py            makes itself into the process that the launcher is, runs the command
                        |  spawn.py
                     zygote.py            forks, for the server, what is to outlive the command: a monitor

The server is a cache and never a service. A launcher that finds none runs the command itself (``cold.py``)
and starts one for the next command. What a process inherits and cannot set again (namespaces, credentials,
capabilities, limits, cgroup, ...) is part of the socket's name, so that a worker is never anything else
than its launcher would have been. ``launcher.py`` has the protocol.

Of the rest of the package only the start of a container imports this one (``spawn.py``), and this one names
what it is to run only as text.
"""
