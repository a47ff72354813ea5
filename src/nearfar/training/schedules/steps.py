"""A factor at each milestone."""

from __future__ import annotations

from collections.abc import Sequence

from nearfar.errors import UserError
from nearfar.ranges import unit_interval
from nearfar.training.schedules.warmup import expect_run, expect_share, rise

__all__ = ["factor"]


def factor(
    step: int,
    steps: int,
    warmup: int = 0,
    *,
    milestones: Sequence[float] = (0.75,),
    drop: float = 0.1,
) -> float:
    """drop to the number of milestones passed.

    Args:
        step: Finished steps.
        steps: Of the whole run.
        warmup: Steps of the rise.
        milestones: Shares of the run, ascending, from 0 to 1.
        drop: What multiplies the rate at each milestone, above 0 and at most 1.

    Example:
        >>> from nearfar.training.schedules.steps import factor
        >>> [factor(step, 4, milestones=(0.5, 0.75), drop=0.5) for step in range(5)]
        [1.0, 1.0, 0.5, 0.25, 0.25]

    Source: He et al. 2016.
    """
    expect_run(step, steps, warmup)
    expect_share("drop", drop, unit_interval(zero=False))
    for milestone in milestones:
        expect_share("milestones", milestone)
    if list(milestones) != sorted(milestones):
        raise UserError(f"milestones are {tuple(milestones)}; expected shares in ascending order.")
    early = rise(step, warmup)
    if early is not None:
        return early
    passed = sum(step >= milestone * steps for milestone in milestones)
    return float(drop**passed)
