"""The rise at the start, and what all shapes check."""

from __future__ import annotations

from typing import Annotated

from nearfar.errors import UserError
from nearfar.ranges import Range, at_least, checked, unit_interval

__all__ = ["expect_run", "expect_share", "progress", "rise"]


def expect_run(step: int, steps: int, warmup: int) -> None:
    """Refuse numbers of steps that are no run.

    Raises:
        UserError: If a number is negative, or the warm-up is longer than the run.
    """
    for name, value in (("step", step), ("warmup", warmup)):
        checked(Annotated[int, at_least(0)], name, value)
    checked(Annotated[int, at_least(1)], "steps", steps)
    if warmup > steps:
        raise UserError(f"A warm-up of {warmup} steps is longer than the run of {steps}.")


def expect_share(name: str, value: float, allowed: Range | None = None) -> None:
    """Refuse a number that is no share; 0 to 1 unless said."""
    checked(Annotated[float, allowed or unit_interval()], name, value)


def rise(step: int, warmup: int) -> float | None:
    """The factor during the warm-up, or None after it.

    >>> from nearfar.training.schedules.warmup import rise
    >>> rise(1, 4), rise(4, 4)
    (0.25, None)
    """
    return step / warmup if step < warmup else None


def progress(step: int, steps: int, warmup: int) -> float:
    """The share of the run after the warm-up that is done, from 0 to 1.

    >>> from nearfar.training.schedules.warmup import progress
    >>> progress(6, 10, 2)
    0.5
    """
    return (min(step, steps) - warmup) / max(1, steps - warmup)
