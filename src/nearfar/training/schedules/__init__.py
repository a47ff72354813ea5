"""Courses of the learning rate over a run, one a file: ``factor(step, steps, warmup, **options)``.

``step`` is the number of finished steps, from 0; beyond ``steps`` the factor stays at its last
value. ``warmup`` is a number of steps on which the factor rises in a straight line from 0 to 1. The
factor multiplies the peak learning rate. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

from nearfar import found, named
from nearfar.errors import UserError, brief

__all__ = ["Schedule", "names", "schedule_of"]

Schedule = Callable[[int, int, int], float]
"""From finished steps, all steps and steps of the warm-up to the share of the peak."""
_LONG = 1_000_000
"""Steps of a run on which every schedule of valid options has a factor."""


def names() -> list[str]:
    """The names of all schedules, sorted."""
    return found.names_in(__name__, "factor")


@cache
def schedule_of(text: str) -> Schedule:
    """The schedule of a name with its options.

    Args:
        text: Such as "cosine" or "infinite:constant=0.3,final=0.05".

    Example:
        >>> [round(schedule_of("cosine:final=0.5")(step, 2, 0), 2) for step in range(3)]
        [1.0, 0.75, 0.5]

    Raises:
        UserError: For an unknown name or option, or a value out of its range.
    """
    given = named.parse(text, "The schedule")
    function = found.part_in(__name__, given.name, "factor", "schedule", Callable)
    schedule = partial(function, **named.made(function, given, "schedule"))
    try:
        schedule(0, _LONG, 0)
    except UserError as error:
        raise UserError(f"The schedule {brief(text)}: {error}") from error
    return schedule
