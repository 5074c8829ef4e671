"""Ask before something is destroyed, as docker does: ``… [y/N]``, where anything but a ``y`` means no."""

from __future__ import annotations

import os

from mydocker.cli import output


def confirmed(question: str) -> bool:
    """Ask on standard output, read a line from standard input; its end is a no."""
    output.write(output.STDOUT, f"{question} [y/N] ".encode())
    answer = b""
    while not answer.endswith(b"\n") and (byte := os.read(0, 1)):
        answer += byte
    return answer.strip().lower() == b"y"
