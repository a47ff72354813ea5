"""Parts that are found as files: methods, modalities, protocols, preparations, schedules, results,
studies.

A file in the right folder is all that it takes to add one. Folders of the user's own, named in the
environment variable ``NEARFAR_PATH`` (several are separated as in ``PATH``), are laid over ours: a
file ``FOLDER/schedules/steep.py`` is the schedule "steep". Nothing here imports torch.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import traceback
from functools import cache
from pathlib import Path
from typing import Any

from nearfar.errors import UserError, brief, unknown_name

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
    with file.open(encoding="utf-8", errors="replace") as lines:
        return any(line.startswith(starts) for line in lines)


def part_in(package: str, name: str, attribute: str, what: str, kind: Any = object) -> Any:
    """What the file of a name defines.

    Args:
        package: Dotted name.
        name: As ``names_in`` gives it.
        attribute: What the file calls it.
        what: What it is, for the error ("schedule").
        kind: The class that it must be of.

    Raises:
        UserError: If there is no such file, or a file of the user's own cannot be run or defines
            something else.
    """
    module = _imported(package, name, attribute)
    if module is None:
        known = names_in(package, attribute)
        if name not in known:
            raise unknown_name(what, name, known)
        module = module_of(f"{package}.{name.replace('-', '_')}", what)
    part = getattr(module, attribute, None)
    if not isinstance(part, kind):
        raise refused(
            module.__file__,
            what,
            f"{attribute} is {brief(part)}; expected {getattr(kind, '__name__', kind)}",
        )
    return part


def _imported(package: str, name: str, attribute: str) -> Any:
    """The module of a name where it was imported before, so that no folder is searched again."""
    lay_over()
    module: Any = sys.modules.get(f"{package}.{name.replace('-', '_')}")
    file = getattr(module, "__file__", None)
    if "_" in name or name.startswith("-") or file is None:
        return None
    at_home = os.path.dirname(file) in sys.modules[package].__path__
    return module if at_home and _defined(file, attribute) else None


@cache
def _defined(file: str, attribute: str) -> bool:
    """``_defines`` of a file that was imported, whose content is that of then."""
    return _defines(Path(file), attribute)


def module_of(name: str, what: str = "part") -> Any:
    """The module of a dotted name.

    Args:
        name: Of the module.
        what: What it defines, for the error ("schedule").

    Raises:
        UserError: If it is a file of the user's own that cannot be run; names file and line.
    """
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.find_spec(name)
    file = spec.origin if spec is not None else None
    if file is None or Path(file).is_relative_to(Path(__file__).parent):
        return importlib.import_module(name)
    try:
        return importlib.import_module(name)
    except Exception as error:
        if isinstance(error, UserError) and OWN_FOLDERS in str(error):
            # Another file, which this one needs, was refused.
            raise
        raise refused(file, what, f"{type(error).__name__}: {error}", _line(error, file)) from error


def refused(file: str | None, what: str, reason: str, line: int | None = None) -> UserError:
    """The error for a file of the user's own that is not what it should be.

    Args:
        file: Its path.
        what: What it should define ("schedule").
        reason: What is wrong.
        line: Where.
    """
    place = f"line {line} of {file}" if line else file
    return UserError(
        f"No {what} can be had from {place}: {reason.rstrip('.')}. Mend it, or take it out of the "
        f"folder that {OWN_FOLDERS} names."
    )


def _line(error: Exception, file: str) -> int | None:
    """Where in a file an error was raised; the deepest place."""
    if isinstance(error, SyntaxError) and error.filename == file:
        return error.lineno
    frames = traceback.extract_tb(error.__traceback__)
    return next((one.lineno for one in reversed(frames) if one.filename == file), None)


def at_home(home: str) -> Any:
    """The object at "module:name"."""
    lay_over()
    module, _, name = home.partition(":")
    return getattr(module_of(module), name)


def _own_folders(named: str) -> list[Path]:
    folders = [Path(folder) for folder in named.split(os.pathsep) if folder]
    for folder in folders:
        if not folder.is_dir():
            raise UserError(
                f"The environment variable {OWN_FOLDERS} names {folder}, which is no folder; name "
                "folders that hold methods/, modalities/, schedules/ ... or unset it."
            )
    return folders
