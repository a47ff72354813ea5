"""Names of the methods, found from the files under ``methods/`` without importing torch.

``methods/<family>/barlow_twins.py`` defines the method "barlow-twins". No list is kept anywhere: a
new file is a new method.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from nearfar import found
from nearfar.errors import UserError, unknown_name

if TYPE_CHECKING:
    from nearfar.methods.method import Method

_FOLDER = Path(__file__).parent
COSTS = _FOLDER / "costs.json"
"""What a step of each method costs, measured."""
_PLACES: dict[str, ModuleType] = {}
"""The modules of methods that were asked for, by name: folders are searched once for each."""


def families() -> dict[str, list[str]]:
    """Family name to the sorted method names in it."""
    members: dict[str, set[str]] = {}
    for place in _folders():
        for file in place.glob("*/[!_]*.py"):
            members.setdefault(file.parent.name, set()).add(file.stem.replace("_", "-"))
    return {family: sorted(names) for family, names in sorted(members.items())}


def _folders() -> list[Path]:
    """Ours, and those that the user laid over it."""
    return found.folders_of("nearfar.methods")


def names() -> list[str]:
    """All method names, sorted."""
    return sorted(name for members in families().values() for name in members)


def path_of(name: str) -> Path:
    """The file that defines a method."""
    file = f"{name.replace('-', '_')}.py"
    return next(path for place in _folders() for path in place.glob(f"*/{file}"))


def get(name: str) -> type[Method]:
    """The method class of that name; ``package.module:Class`` names one outside nearfar whose
    module is imported already.

    Nothing outside nearfar is imported here, because the name may come from a file that somebody
    else wrote.

    Raises:
        UserError: if there is no such method; names the nearest, or says how to import one from
            outside.
    """
    if ":" in name:
        return _from_outside(name, importing=False)
    place = _PLACES.get(name)
    if place is not None and _is_there(place):
        return _defined_in(place.__name__)
    for family, members in families().items():
        if name in members:
            kind = _defined_in(f"nearfar.methods.{family}.{name.replace('-', '_')}")
            _PLACES[name] = sys.modules[kind.__module__]
            return kind
    raise unknown_name("method", name, names())


def _is_there(module: ModuleType) -> bool:
    """Whether a module is still imported and its folder still one of ours or the user's."""
    folder = Path(module.__file__ or "").parents[1]
    return sys.modules.get(module.__name__) is module and folder in _folders()


def named_by_user(name: str) -> type[Method]:
    """The method class of a name that the user gave on the command line or in the call; its module
    is imported.

    Raises:
        UserError: if there is no such method, or its module cannot be imported.
    """
    return _from_outside(name, importing=True) if ":" in name else get(name)


def _defined_in(module_name: str) -> type[Method]:
    from nearfar.methods.method import Method

    module = found.module_of(module_name, "method")
    for value in vars(module).values():
        if (
            isinstance(value, type)
            and issubclass(value, Method)
            and value.__module__ == module_name
        ):
            return value
    raise found.refused(module.__file__, "method", "it defines no class that extends Method")


def _from_outside(name: str, *, importing: bool) -> type[Method]:
    from nearfar.methods.method import Method

    module_name, _, attribute = name.partition(":")
    if not importing and module_name not in sys.modules:
        raise UserError(
            f"The method {name!r} lies outside nearfar, and what a file says is not imported. If "
            "you trust it, name it yourself:"
            f" nearfar pretrain {name} ..., or import {module_name} in Python first."
        )
    try:
        value = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise UserError(
            f"Cannot import the method {name!r}: {error}; expected package.module:Class on the "
            "Python path."
        ) from error
    if not (isinstance(value, type) and issubclass(value, Method)):
        raise UserError(
            f"{name!r} is not a method: expected a subclass of nearfar.methods.method.Method."
        )
    return value
