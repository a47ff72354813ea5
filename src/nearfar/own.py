"""Objects of the user's own: an encoder, data or views, handed over in Python or named as
``FILE.py:NAME``.

A run folder remembers them by name alone and never runs code for it: whoever opens the run hands
the same object over again. Within ``handing`` the objects are at hand for whatever looks them up
by name. Nothing here imports torch.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nearfar.errors import UserError, unknown_name

OWN = "own:"
"""So begins the name of an object that was handed over in Python."""
FILE = re.compile(r"(?P<file>.+\.py):(?P<name>[^\W\d]\w*)")
_MODULES = "nearfar_own_"

KINDS = ("encoder", "data", "views")
_WHAT = {
    "encoder": "The encoder of this run",
    "data": "The data of this run",
    "views": "The views of this run",
}


@dataclass(frozen=True)
class Handed:
    """What is at hand.

    Attributes:
        encoder: A module, or what makes one; None where none was handed over.
        data: The data of the run, likewise.
        views: The views of the run, likewise.
        others: Further data by their names, such as those that a run is judged on.
    """

    encoder: Any = None
    data: Any = None
    views: Any = None
    others: Mapping[str, Any] = field(default_factory=dict)

    @contextmanager
    def at_hand(self) -> Iterator[None]:
        """Within the block these are found by name; what is None is as outside."""
        outer = _HANDED.get()
        given = {kind: getattr(self, kind) for kind in KINDS if getattr(self, kind) is not None}
        token = _HANDED.set(replace(outer, **given, others={**outer.others, **self.others}))
        try:
            yield
        finally:
            _HANDED.reset(token)


_NOTHING = Handed()
_HANDED: ContextVar[Handed] = ContextVar("handed", default=_NOTHING)


def current() -> Handed:
    """What is at hand here."""
    return _HANDED.get()


def is_own(name: Any) -> bool:
    """Whether a name stands for an object of the user's own.

    Example:
        >>> is_own("own:Net"), is_own("nets.py:make_encoder"), is_own("resnet18")
        (True, True, False)
    """
    return isinstance(name, str) and (name.startswith(OWN) or is_file(name))


def is_file(text: Any) -> bool:
    """Whether a text names something in a Python file: ``FILE.py:NAME``."""
    return isinstance(text, str) and FILE.fullmatch(text) is not None


def is_given(value: Any) -> bool:
    """Whether a value is such an object, or names one in a file."""
    return is_file(value) or not (value is None or isinstance(value, str | Path))


def same(one: str, other: str) -> bool:
    """Whether two names may stand for one object: equal names do, and any two of own objects, as
    the same object may be handed over in several ways.
    """
    return one == other or (is_own(one) and is_own(other))


def called(value: Any, given: Any) -> str:
    """The name that a run remembers of an object.

    Args:
        value: The object.
        given: As the user gave it, perhaps as ``FILE.py:NAME``, which is then the name.
    """
    if is_file(given):
        return str(given)
    if isinstance(value, tuple) and value:
        value = value[0]
    return OWN + str(getattr(value, "__name__", type(value).__name__)).strip("<>")


@contextmanager
def handing(**given: Any) -> Iterator[dict[str, str]]:
    """Within the block, objects of the user's own are found by their names, which are given.

    Args:
        given: By kind ("encoder", "data", "views"), what the user gave: an object, a text that
            names one in a file, which is run, or anything else, which is left alone.

    Yields:
        For each kind of which there is an object, its name.

    Raises:
        UserError: For a file that cannot be run or has no such name.
    """
    objects = {kind: resolved(value) for kind, value in given.items() if is_given(value)}
    names = {kind: called(value, given[kind]) for kind, value in objects.items()}
    if "data" in objects:
        objects["data"] = made_data(objects["data"])
    with Handed(**objects).at_hand():
        yield names


def made_data(data: Any) -> Any:
    """Data, or what a function makes that takes nothing."""
    if not callable(data) or hasattr(data, "__getitem__") or needed(data):
        return data
    try:
        return data()
    except UserError:
        raise
    except Exception as error:
        name = getattr(data, "__name__", type(data).__name__)
        raise UserError(f"{name} makes no data{failure(error)}; mend it.") from error


def handed(kind: str, name: str) -> Any:
    """The object of a kind that a name stands for.

    Raises:
        UserError: If none was handed over; says how it is.
    """
    found = _HANDED.get()
    if kind == "data" and name in found.others:
        return found.others[name]
    value = getattr(found, kind)
    if value is not None:
        return value
    option = name if is_file(name) else "FILE.py:NAME"
    shown = name if is_file(name) else name.removeprefix(OWN)
    raise UserError(
        f"{_WHAT[kind]}, {shown}, {'is' if kind == 'encoder' else 'are'} the user's own, and no "
        f"run folder holds code: hand the same over again, by --{kind} {option} or "
        f"nearfar.open_run(RUN, {kind}=...)."
    )


def resolved(value: Any) -> Any:
    """The object that a value is, or names in a file, which is run.

    Raises:
        UserError: As ``from_file``.
    """
    return from_file(value) if is_file(value) else value


def from_file(text: str) -> Any:
    """The object that ``FILE.py:NAME`` names. The file is run once, with its folder on the path of
    modules, because the user named it.

    Raises:
        UserError: If there is no such file, it cannot be run, or it does not define the name.
    """
    matched = FILE.fullmatch(text)
    assert matched is not None
    path = Path(matched["file"]).expanduser()
    if not path.is_file():
        raise UserError(f"There is no file {path}; give a Python file as FILE.py:NAME.")
    module = _module_of(path.resolve(), str(path))
    if not hasattr(module, matched["name"]):
        known = [name for name in vars(module) if not name.startswith("_")]
        raise unknown_name(f"name in {path}", matched["name"], known)
    return getattr(module, matched["name"])


def _module_of(path: Path, shown: str) -> Any:
    name = _MODULES + hashlib.blake2b(str(path).encode(), digest_size=8).hexdigest()
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickles look their module up
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise UserError(f"{shown} cannot be run{failure(error, path)}; mend it.") from error
    finally:
        sys.path.remove(str(path.parent))
    return module


def failure(error: BaseException, path: Path | None = None) -> str:
    """Where and why the user's own code failed, to stand behind a verb: " (line 3: ValueError:
    no)".
    """
    frames = traceback.extract_tb(error.__traceback__)
    lines = [one.lineno for one in frames if path is not None and one.filename == str(path)]
    if isinstance(error, SyntaxError):
        lines = [error.lineno]
    place = f"line {lines[-1]}: " if lines and lines[-1] else ""
    reason = " ".join(str(error).split())[:300].rstrip(".;")
    return f" ({place}{type(error).__name__}{': ' if reason else ''}{reason})"


def needed(function: Callable[..., Any]) -> int:
    """How many arguments a call must give; 1 where that cannot be told.

    Example:
        >>> needed(lambda x, y=1: x), needed(lambda: 0)
        (1, 0)
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 1
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(one.kind in kinds and one.default is one.empty for one in parameters)
