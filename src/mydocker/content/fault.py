"""Something on disk that is not as it should be: what ``system check`` finds, and what can be done.

A repair loses nothing that was not lost before. A sacrifice gives something up (a name, a container) that
cannot be had back from what is here, so it is made only when somebody has said so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..errors import Error


@dataclass
class Fault:
    kind: str
    """blob, image, layer, container, name, volume, leftover"""
    name: str
    problem: str
    remedy: str
    """what a person can do"""
    repair: Callable[[], None] | None = None
    """makes it good"""
    sacrifice: Callable[[], None] | None = None
    """makes the rest good by removing it"""
    outcome: str = ""
    """what has been done about it; empty as long as it stands"""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}: {self.problem} ({self.outcome or self.remedy})"


def settle(faults: Sequence[Fault], *, sacrifice: bool) -> None:
    """Repair what can be repaired, in order; with ``sacrifice``, remove what cannot.

    What an attempt runs into takes the place of the remedy, and the next one is tried.
    """
    for fault in faults:
        try:
            if fault.repair is not None:
                fault.repair()
                fault.outcome = "repaired"
            elif fault.sacrifice is not None and sacrifice:
                fault.sacrifice()
                fault.outcome = "removed"
        except (Error, OSError) as error:
            fault.remedy = f"cannot be repaired: {error}"
