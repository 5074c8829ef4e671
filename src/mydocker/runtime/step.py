"""A step: one thing that turns a process into a container.

``runtime/plan_container.py`` makes an ordered list of steps out of a runtime document. Each knows how to say
what it does (``describe``), do it (``apply``, in init or in an added process), and read back from the kernel
what became of it (``observe``, only asked when somebody watches). What a step needs from the outside (a
descriptor of something that init cannot see from its namespaces) it opens in ``prepare``, in the runtime
before the clone, and drops in ``release``.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .channel import Channel


class Event:
    """What an observer is told: a step, and what the kernel shows after it."""

    __slots__ = ("observed", "step")

    def __init__(self, step: str, observed: str) -> None:
        self.step = step
        self.observed = observed

    def __repr__(self) -> str:
        return f"Event({self.step!r}, {self.observed!r})"


class Context:
    """What steps hand to each other inside of the process that is becoming a container."""

    __slots__ = ("channel", "parameters", "root", "terminal")

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.root = -1  # O_PATH descriptor of the new root directory; "/" after pivot_root
        self.terminal = -1  # the slave of the console
        self.parameters: dict[str, str] = {}  # of the kernel, that its namespaces have already

    def warn(self, text: str) -> None:
        self.channel.send("warning", text)


class Step:
    """The base: a step that has nothing to prepare and nothing to show."""

    __slots__ = ()

    def describe(self) -> str:
        """What it does, as one line for a person: "mount proc on /proc"."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Open what has to come from the outside; in the runtime, before the clone."""

    def release(self) -> None:
        """Close it again; in the runtime, after the clone or its failure."""

    def apply(self, context: Context) -> None:
        """Do it; in the process that is becoming the container. Raises ``OSError`` or ``errors.Error``."""
        raise NotImplementedError

    def observe(self, context: Context) -> str:  # noqa: ARG002 - for those that look at it
        """What the kernel shows now; empty if there is nothing to be seen."""
        return ""


def run(steps: list[Step], context: Context, observing: bool) -> None:
    """Apply ``steps`` in order, telling the runtime of each if it is ``observing``."""
    for step in steps:
        try:
            step.apply(context)
        except OSError as error:
            raise StepFailed(step, error) from error
        if observing:
            context.channel.send("event", step.describe(), step.observe(context))


class StepFailed(Exception):
    """The kernel refused a step."""

    def __init__(self, step: Step, error: OSError) -> None:
        names = [os.fsdecode(n) for n in (error.filename, error.filename2) if isinstance(n, (str, bytes))]
        reason = ": ".join((*names, (error.strerror or str(error)).lower()))
        super().__init__(f"cannot {step.describe()}: {reason}")
        self.errno = error.errno


if TYPE_CHECKING:
    Observer = Callable[[Event], None]
