"""What a study is: methods under several conditions, and what is read off them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from nearfar.comparison.options import CompareOptions
from nearfar.errors import UserError, unknown_name
from nearfar.methods.method import Paper

CARRIED = "carried"
"""The folder of the judgements on other conditions' data."""
_NAME = re.compile(r"\w[\w.-]*")
"""Of a condition, which is a folder too."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """A paper's benchmark: every arm under every condition, on the same seeds.

    Attributes:
        paper: Where the benchmark comes from.
        question: What it asks, in one sentence.
        arms: Names of methods; the others are compared with the first.
        settings: Values to try of a setting, by its name, as in ``nearfar compare``.
        conditions: Name to the options of ``nearfar compare`` that differ there: other data,
            other preparations, another encoder.
        options: Options that all runs share at the paper's scale.
        small: Options that differ at a laptop's scale, which is the default.
        small_conditions: The conditions at a laptop's scale, where they are others.
        protocols: How every run is judged, as in ``nearfar evaluate``.
        judged_on: "own": every run on the data of its condition; "all": on those of every
            condition, which shows what carries over.

    Raises:
        UserError: If it has no arm or no condition, or names an option that comparisons do not
            have, or a condition has a name that no folder can have.
    """

    paper: Paper
    question: str
    arms: tuple[str, ...]
    conditions: Mapping[str, Mapping[str, Any]]
    settings: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    small: Mapping[str, Any] = field(default_factory=dict)
    small_conditions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    protocols: tuple[str, ...] = ("quick",)
    judged_on: Literal["own", "all"] = "own"

    def __post_init__(self) -> None:
        if not self.arms or not self.conditions:
            raise UserError("A study needs at least one arm and one condition.")
        known = {one.name for one in fields(CompareOptions)} - {"output", "seeds", "pairs"}
        for name in (*self.conditions, *self.small_conditions):
            if not _NAME.fullmatch(name) or name == CARRIED:
                raise UserError(
                    f"The condition {name!r} of a study names a folder; expected letters, digits, "
                    f'"-", "_" and ".", a letter or digit first, and not {CARRIED!r}, which holds '
                    "what carries over."
                )
        each = (*self.conditions.values(), *self.small_conditions.values())
        for options in (self.options, self.small, *each):
            for name in options:
                if name not in known:
                    raise unknown_name("option of a study", name, known)

    def conditions_of(self, *, full: bool = False) -> Mapping[str, Mapping[str, Any]]:
        """The conditions at the paper's scale, or at a laptop's."""
        return self.conditions if full or not self.small_conditions else self.small_conditions

    def options_of(self, condition: str, *, full: bool = False) -> dict[str, Any]:
        """The options of a comparison under a condition.

        Args:
            condition: Its name.
            full: Whether at the paper's scale instead of a laptop's.
        """
        scale = {} if full else self.small
        return {**self.options, **scale, **self.conditions_of(full=full)[condition]}


def with_data(study: Study, given: Sequence[str], *, full: bool = False) -> Study:
    """A study on data of the user's own.

    Args:
        study: The study.
        given: CONDITION=DATA for each condition whose data are replaced.
        full: Whether the conditions are those of the paper's scale.

    Raises:
        UserError: For a word without "=", or a condition that the study does not have.
    """
    from dataclasses import replace

    chosen = study.conditions_of(full=full)
    conditions = {name: dict(options) for name, options in chosen.items()}
    for word in given:
        name, equals, data = word.partition("=")
        if not equals or not data:
            raise UserError(f"--data is {word!r}; expected CONDITION=DATA.")
        if name not in conditions:
            raise unknown_name("condition of the study", name, conditions)
        conditions[name]["data"] = data
    return replace(study, conditions=conditions, small_conditions={})
