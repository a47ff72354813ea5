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
from nearfar.options import PretrainOptions, changed, resolved_settings

VIEWS = "views."
"""So begin the names of strengths of views among the settings of an arm."""


TRAINING = "training."
"""So begin the names of options of training among them."""
_OF_TRAINING = (
    "learning_rate",
    "weight_decay",
    "final_weight_decay",
    "layer_decay",
    "freeze",
    "warmup",
    "clip",
)


@dataclass(frozen=True)
class Arm:
    """One competitor.

    Attributes:
        method: its name.
        settings: that differ from its recipe, by name; strengths of views as "views.NAME", options
            of training as "training.NAME".
    """

    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def of_method(self) -> dict[str, Any]:
        """The settings of the method."""
        others = (VIEWS, TRAINING)
        return {key: one for key, one in self.settings.items() if not key.startswith(others)}

    @property
    def of_training(self) -> dict[str, Any]:
        """The options of training, by their bare names."""
        found = {key: one for key, one in self.settings.items() if key.startswith(TRAINING)}
        return {key.removeprefix(TRAINING): one for key, one in found.items()}

    @property
    def of_views(self) -> dict[str, Any]:
        """The strengths of the views, by their bare names."""
        found = {key: one for key, one in self.settings.items() if key.startswith(VIEWS)}
        return {key.removeprefix(VIEWS): one for key, one in found.items()}

    @property
    def name(self) -> str:
        """ "simclr" or "simclr temperature=0.1"; also the folder's name, with "-" for the
        blanks.
        """
        told = [f"{key}={_told(value)}" for key, value in self.settings.items()]
        return " ".join([self.method, *told])

    @property
    def folder(self) -> str:
        """The name of the arm's folder."""
        return self.name.replace(" ", "-").replace("/", "_")


def _told(value: Any) -> str:
    """A value of a setting as a word; of two values both."""
    return "..".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def arms_of(methods: Sequence[str], grid: Mapping[str, Sequence[Any]]) -> list[Arm]:
    """Every method with every combination of the grid's values of the settings that it has.

    Args:
        methods: names, the one that the others are compared with first.
        grid: values to try, by name of the setting, "views.NAME" for a strength of views, or
            "training.NAME" for an option of training; texts are read as numbers, pairs of numbers
            ("0.3:1") or truth values where they are such.

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
        if setting.startswith(TRAINING):
            if setting.removeprefix(TRAINING) not in _OF_TRAINING:
                name = setting.removeprefix(TRAINING)
                raise unknown_name("option of training in a grid", name, _OF_TRAINING)
        elif setting not in known and not setting.startswith(VIEWS):
            raise unknown_name("setting", setting, known)
    arms = []
    for method in methods:
        axes = [
            [(key, _read(value)) for value in values]
            for key, values in grid.items()
            if key in own[method] or key.startswith((VIEWS, TRAINING))
        ]
        for point in itertools.product(*axes):
            arm = Arm(method, dict(point))
            resolved_settings(kinds[method], arm.of_method)
            changed(PretrainOptions(), arm.of_training)
            arms.append(arm)
    return arms


def _read(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if ":" in value and all(_is_number(one) for one in value.split(":")):
        return tuple(float(one) for one in value.split(":"))
    try:
        return ast.literal_eval({"true": "True", "false": "False"}.get(value.lower(), value))
    except (ValueError, SyntaxError):
        return value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
