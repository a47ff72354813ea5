"""What is compared: methods, each with the settings of one point of a grid."""

from __future__ import annotations

import ast
import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nearfar.errors import UserError, unknown_name
from nearfar.methods import registry
from nearfar.options import resolved_settings


@dataclass(frozen=True)
class Arm:
    """One competitor.

    Attributes:
        method: its name.
        settings: that differ from its recipe, by name.
    """

    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """ "simclr" or "simclr temperature=0.1"; also the folder's name, with "-" for the
        blanks.
        """
        return " ".join([self.method, *(f"{key}={value}" for key, value in self.settings.items())])

    @property
    def folder(self) -> str:
        """The name of the arm's folder."""
        return self.name.replace(" ", "-").replace("/", "_")


def arms_of(methods: Sequence[str], grid: Mapping[str, Sequence[Any]]) -> list[Arm]:
    """Every method with every combination of the grid's values of the settings that it has.

    Args:
        methods: names, the one that the others are compared with first.
        grid: values to try, by name of the setting; texts are read as numbers or truth values where
            they are such.

    Raises:
        UserError: for no method, one named twice, an unknown one, a setting that no method has, or
            a value of the wrong type.
    """
    if not methods:
        raise UserError(f"No method was named; name two or more of: {', '.join(registry.names())}.")
    twice = next((name for name in methods if list(methods).count(name) > 1), None)
    if twice:
        raise UserError(
            f"{twice} is named twice; name each method once and vary it by --settings.NAME "
            "VALUE,VALUE."
        )
    kinds = {name: registry.named_by_user(name).Settings for name in methods}
    own = {name: [f.name for f in dataclasses.fields(kind)] for name, kind in kinds.items()}
    known = {setting for settings in own.values() for setting in settings}
    for setting in grid:
        if setting not in known:
            raise unknown_name("setting", setting, known)
    arms = []
    for method in methods:
        axes = [
            [(key, _read(value)) for value in values]
            for key, values in grid.items()
            if key in own[method]
        ]
        for point in itertools.product(*axes):
            resolved_settings(kinds[method], dict(point))
            arms.append(Arm(method, dict(point)))
    return arms


def _read(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return ast.literal_eval({"true": "True", "false": "False"}.get(value.lower(), value))
    except (ValueError, SyntaxError):
        return value
