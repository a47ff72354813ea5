"""A straight line from the peak to the end."""

from __future__ import annotations

from nearfar.training.schedules.warmup import expect_run, expect_share, progress, rise

__all__ = ["factor"]


def factor(
    step: int, steps: int, warmup: int = 0, *, final: float = 0.0, flat: float = 0.0
) -> float:
    """1 for a share ``flat`` of the run, then a straight line to ``final``.

    Args:
        step: Finished steps.
        steps: Of the whole run.
        warmup: Steps of the rise.
        final: Share of the peak that is left at the end, from 0 to 1.
        flat: Share of the run after the warm-up that stays at the peak, from 0 to below 1.

    Example:
        >>> from nearfar.training.schedules.linear import factor
        >>> [factor(step, 4, flat=0.5) for step in range(5)]
        [1.0, 1.0, 1.0, 0.5, 0.0]
    """
    expect_run(step, steps, warmup)
    expect_share("final", final)
    expect_share("flat", flat)
    early = rise(step, warmup)
    if early is not None:
        return early
    done = progress(step, steps, warmup)
    if done <= flat:
        return 1.0
    return 1 + (final - 1) * (done - flat) / (1 - flat)
