"""Verbs on finished runs that take the user's own objects."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

from nearfar import own
from nearfar.runs.folder import RunFolder

F = TypeVar("F", bound=Callable[..., Any])


def takes_own(verb: F) -> F:
    """A verb on finished runs that also takes the user's own objects: those that a run was trained
    with by ``encoder``, ``views`` and (of a page) ``data``, and other data by ``data``.

    Other data that are named as those of the run were, by a file's name, are the run's own. A
    ``Run`` in the place of its folder brings the objects along that it was opened with.
    """
    parameters = inspect.signature(verb).parameters
    places = list(parameters)
    are_of_run = "views" in parameters
    place = places.index("data") if "data" in places and not are_of_run else len(places)

    @wraps(verb)
    def taking(*args: Any, **options: Any) -> Any:
        if place < len(args):
            options["data"] = args[place]
            args = args[:place]
        given: dict[str, Any] = {
            kind: options[kind] for kind in ("encoder", "views") if kind in options
        }
        data = options.get("data")
        others: dict[str, Any] = {}
        run = args[0] if args else options.get("run")
        if own.is_given(data) and (are_of_run or _is_of_run(data, run)):
            given["data"] = data
            options["data"] = None
        elif own.is_given(data):
            value = own.resolved(data)
            name = f"{own.OWN}{own.called(value, data).removeprefix(own.OWN)} as given"
            others[name] = own.made_data(value)
            options["data"] = name
        brought: own.Handed = getattr(run, "handed", own.Handed())
        with brought.at_hand(), own.handing(**given), own.Handed(others=others).at_hand():
            return verb(*args, **options)

    return taking  # type: ignore[return-value]


def _is_of_run(data: Any, run: Any) -> bool:
    """Whether a file's name was the one of the run's own data."""
    if not own.is_file(data) or run is None:
        return False
    kept = own.FILE.fullmatch(RunFolder(run).config.options.data)
    asked = own.FILE.fullmatch(data)
    if kept is None or asked is None:
        return False
    return (Path(kept["file"]).name, kept["name"]) == (Path(asked["file"]).name, asked["name"])
