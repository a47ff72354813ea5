"""Encoders of a bundle that is installed beside nearfar: the wheel ``nearfar-models``.

The bundle is a package that holds a folder for each encoder, a run folder as ``push`` makes it. It
is found where packages are installed and never imported, so that no code of it runs.
"""

from __future__ import annotations

import importlib.util
from os import PathLike
from pathlib import Path

from nearfar.errors import UserError, unknown_name

PREFIX = "nearfar:"
PACKAGE = "nearfar_models"
FOLDER = "encoders"
_DESCRIPTION = "encoder.json"


def is_bundled(name: PathLike[str] | str) -> bool:
    """Whether a name stands for an encoder of the bundle.

    Example:
        >>> is_bundled("nearfar:digits-small"), is_bundled("runs/first")
        (True, False)
    """
    return str(name).startswith(PREFIX)


def names() -> list[str]:
    """The names of the bundle's encoders, without ``nearfar:``.

    Raises:
        UserError: If no bundle is installed.
    """
    return sorted(place.parent.name for place in _bundle().glob(f"*/{_DESCRIPTION}"))


def bundled(name: PathLike[str] | str) -> Path:
    """The folder of an encoder of the bundle.

    Args:
        name: ``nearfar:NAME``.

    Raises:
        UserError: If no bundle is installed, or it has no such encoder.
    """
    known = names()
    bare = str(name).removeprefix(PREFIX)
    if bare not in known:
        raise unknown_name("encoder of nearfar-models", bare, known)
    return _bundle() / bare


def _bundle() -> Path:
    found = importlib.util.find_spec(PACKAGE)
    places = [] if found is None else list(found.submodule_search_locations or [])
    folder = next((Path(one) / FOLDER for one in places if (Path(one) / FOLDER).is_dir()), None)
    if folder is None:
        raise UserError(
            "Encoders called nearfar:NAME come with the wheel nearfar-models, which is not "
            "installed; build it with `make models` in nearfar's repository and install it with "
            "pip."
        )
    return folder
