"""The ``mydocker`` command: a module per command, a command table, output formats; and the terminal."""
