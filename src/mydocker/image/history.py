"""How an image came about: its ``history``, in the shape of ``GET /images/{id}/history``, newest first.

Each step of the configuration's history that is not marked ``empty_layer`` made the next layer. The steps
below the last one have no image of their own here, so their id is ``<missing>``, as in Docker for every image
that was not built on the spot.
"""

from __future__ import annotations

from typing import Any

from .. import errors
from .filters import moment
from .store import Image

MISSING = "<missing>"


def history(image: Image) -> list[dict[str, Any]]:
    """``Id Created CreatedBy Tags Size Comment`` of each step; ``Created`` in Unix time, ``Size`` in bytes.

    CorruptData if there are more steps with a layer than layers.
    """
    steps = image.config.history or []
    sizes = iter(image.layer_sizes)
    found: list[dict[str, Any]] = []
    for step in steps:
        size = 0 if step.empty_layer else next(sizes, None)
        if size is None:
            raise errors.CorruptData(f"image {image.id}: too many non-empty layers in its history")
        found.append(
            {
                "Id": MISSING,
                "Created": int(moment(step.created).timestamp()) if step.created else 0,
                "CreatedBy": step.created_by,
                "Tags": None,
                "Size": size,
                "Comment": step.comment,
            }
        )
    if found:
        found[-1] |= {"Id": image.id, "Tags": list(image.repo_tags) or None}
    return found[::-1]
