"""Parts that are found as files: methods, modalities, protocols, preparations, schedules, results,
studies.

A file in the right folder is all that it takes to add one. Folders of the user's own, named in the
environment variable ``NEARFAR_PATH`` (several are separated as in ``PATH``), are laid over ours: a
file ``FOLDER/schedules/steep.py`` is the schedule "steep". Nothing here imports torch.
"""

from __future__ import annotations

import importlib
import os
from functools import cache
from pathlib import Path
from typing import Any

from nearfar.errors import UserError, unknown_name

OWN_FOLDERS = "NEARFAR_PATH"
_PACKAGE = "nearfar"


def folders_of(package: str) -> list[Path]:
    """The folders of one of our packages: ours first, then those that the user laid over it.

    Args:
        package: Dotted name, such as "nearfar.methods.instance".

    Raises:
        UserError: If ``NEARFAR_PATH`` names a folder that is not there.
    """
    lay_over()
    module: Any = importlib.import_module(package)
    return [Path(folder) for folder in module.__path__]


def lay_over() -> None:
    """Lay the user's folders over ours, so that their files are modules of our packages.

    Raises:
        UserError: If ``NEARFAR_PATH`` names a folder that is not there.
    """
    _lay_over(os.environ.get(OWN_FOLDERS, ""))


@cache
def _lay_over(named: str) -> None:
    for folder in _own_folders(named):
        inner = [place for place in folder.rglob("*") if place.is_dir()]
        for place in sorted(inner, key=lambda one: len(one.parts)):
            parts = place.relative_to(folder).parts
            if not all(part.isidentifier() for part in parts):
                continue
            try:
                package: Any = importlib.import_module(".".join((_PACKAGE, *parts)))
            except ModuleNotFoundError:
                continue
            if hasattr(package, "__path__") and str(place) not in package.__path__:
                package.__path__.append(str(place))


def names_in(package: str, attribute: str) -> list[str]:
    """The names that files of a package stand for, sorted: "label_noise.py" is "label-noise".

    Args:
        package: Dotted name.
        attribute: What a file of the right kind defines; others in the folder are helpers.
    """
    found = set()
    for folder in folders_of(package):
        for file in folder.glob("*.py"):
            if not file.stem.startswith("_") and _defines(file, attribute):
                found.add(file.stem.replace("_", "-"))
    return sorted(found)


def _defines(file: Path, attribute: str) -> bool:
    """Whether a file defines a name at its top level, told without running it."""
    starts = (f"{attribute} =", f"{attribute}:", f"def {attribute}(", f"class {attribute}")
    with file.open(encoding="utf-8") as lines:
        return any(line.startswith(starts) for line in lines)


def part_in(package: str, name: str, attribute: str, what: str) -> Any:
    """What the file of a name defines.

    Args:
        package: Dotted name.
        name: As ``names_in`` gives it.
        attribute: What the file calls it.
        what: What it is, for the error ("schedule").

    Raises:
        UserError: If there is no such file.
    """
    known = names_in(package, attribute)
    if name not in known:
        raise unknown_name(what, name, known)
    module = importlib.import_module(f"{package}.{name.replace('-', '_')}")
    return getattr(module, attribute)


def at_home(home: str) -> Any:
    """The object at "module:name"."""
    lay_over()
    module, _, name = home.partition(":")
    return getattr(importlib.import_module(module), name)


def _own_folders(named: str) -> list[Path]:
    folders = [Path(folder) for folder in named.split(os.pathsep) if folder]
    for folder in folders:
        if not folder.is_dir():
            raise UserError(
                f"The environment variable {OWN_FOLDERS} names {folder}, which is no folder; name "
                "folders that hold methods/, modalities/, schedules/ ... or unset it."
            )
    return folders
