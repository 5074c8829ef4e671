"""The steps, one file per kind: what the runtime does to make a process a container."""
