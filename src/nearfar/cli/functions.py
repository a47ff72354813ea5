"""Functions from which the parser makes commands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast


def with_positional_first(function: Callable[..., Any]) -> Callable[..., Any]:
    """From its arguments to a call of the function that is still to be made; its
    positional-or-keyword arguments are positional words of the command line.
    """
    import inspect
    import os
    import typing
    from pathlib import Path

    import tyro

    hints = typing.get_type_hints(function, include_extras=True, localns=_annotation_names())
    signature = inspect.signature(function)

    several = next(
        (name for name, p in signature.parameters.items() if p.kind is p.VAR_POSITIONAL), None
    )

    def command(*args: Any, **kwargs: Any) -> Any:
        return lambda: function(*args, *kwargs.pop(several or "", ()), **kwargs)

    parameters = []
    positional = cast(Any, tyro.conf.Positional)
    for parameter in signature.parameters.values():
        hint = hints[parameter.name]
        if hint == os.PathLike[str] | str:  # a run, which is a path to who types it
            hint = Path | str
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            hint = positional[hint]
        if parameter.kind is parameter.VAR_POSITIONAL:
            parameter = parameter.replace(kind=parameter.KEYWORD_ONLY)
            hint = positional[tuple[hint, ...]]  # type: ignore[valid-type]
        parameters.append(parameter.replace(annotation=hint))
    changed = signature.replace(parameters=parameters, return_annotation=Any)
    command.__signature__ = changed  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__name__ = function.__name__
    command.__doc__ = function.__doc__
    return command


def _annotation_names() -> dict[str, Any]:
    """Names that verbs import for type checkers only; the command line has no use for a return
    type.
    """
    return {"Evaluation": Any, "Outcome": Any, "Result": Any, "Source": Any, "np": Any}


def command_of(parameters: Mapping[str, tuple[Any, Any]], text: str) -> Callable[..., Any]:
    """A function that returns the keywords that it is called with.

    Args:
        parameters: Name to annotation and default, in the order of the command line.
        text: Its docstring, which help prints.
    """
    import inspect

    def command(**found: Any) -> dict[str, Any]:
        return found

    kinds = {True: inspect.Parameter.POSITIONAL_OR_KEYWORD, False: inspect.Parameter.KEYWORD_ONLY}
    made = [
        inspect.Parameter(name, kinds[place == 0], default=default, annotation=hint)
        for place, (name, (hint, default)) in enumerate(parameters.items())
    ]
    command.__signature__ = inspect.Signature(made)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in made}
    command.__doc__ = text
    return command
