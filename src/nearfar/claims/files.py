"""Files that a claim reads from the folder in which it is run."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from nearfar import data
from nearfar.data.samples import Source
from nearfar.errors import UserError


@cache
def loaded(name: str, **options: Any) -> Source:
    """A data set of this file or folder.

    Args:
        name: Of the file or folder.
        options: As for ``data.load``.

    Raises:
        UserError: If there is none in the current folder.
    """
    place = Path(name)
    if not place.exists():
        raise UserError(
            f"This claim reads {name}, which is not in this folder; lay that file or folder here, "
            "or run the claim where it is."
        )
    return data.load(place, **options)
