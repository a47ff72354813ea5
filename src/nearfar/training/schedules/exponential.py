"""The same share of the rate lost at each step."""

from __future__ import annotations

from nearfar.ranges import unit_interval
from nearfar.training.schedules.warmup import expect_run, expect_share, progress, rise

__all__ = ["factor"]


def factor(step: int, steps: int, warmup: int = 0, *, final: float = 0.01) -> float:
    """final^p, p the share of the run after the warm-up that is done.

    Args:
        step: Finished steps.
        steps: Of the whole run.
        warmup: Steps of the rise.
        final: Share of the peak that is left at the end, above 0 and at most 1.

    Example:
        >>> from nearfar.training.schedules.exponential import factor
        >>> [round(factor(step, 4, final=0.0625), 4) for step in range(5)]
        [1.0, 0.5, 0.25, 0.125, 0.0625]
    """
    expect_run(step, steps, warmup)
    expect_share("final", final, unit_interval(zero=False))
    early = rise(step, warmup)
    return final ** progress(step, steps, warmup) if early is None else early
