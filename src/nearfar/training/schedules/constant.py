"""The peak from the warm-up to the end."""

from __future__ import annotations

from nearfar.training.schedules.warmup import expect_run, rise

__all__ = ["factor"]


def factor(step: int, steps: int, warmup: int = 0) -> float:
    """1 after the warm-up.

    Args:
        step: Finished steps.
        steps: Of the whole run.
        warmup: Steps of the rise.

    Example:
        >>> from nearfar.training.schedules.constant import factor
        >>> [factor(step, 4, 2) for step in range(5)]
        [0.0, 0.5, 1.0, 1.0, 1.0]
    """
    expect_run(step, steps, warmup)
    early = rise(step, warmup)
    return 1.0 if early is None else early
