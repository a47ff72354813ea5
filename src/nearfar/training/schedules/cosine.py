"""Half a cosine from the peak to the end."""

from __future__ import annotations

import math

from nearfar.training.schedules.warmup import expect_run, expect_share, progress, rise

__all__ = ["factor"]


def factor(step: int, steps: int, warmup: int = 0, *, final: float = 0.0) -> float:
    """final + (1 - final) (1 + cos(pi p)) / 2, p the share done of the run after the warm-up.

    Args:
        step: Finished steps.
        steps: Of the whole run.
        warmup: Steps of the rise.
        final: Share of the peak that is left at the end, from 0 to 1.

    Example:
        >>> from nearfar.training.schedules.cosine import factor
        >>> [round(factor(step, 4, final=0.1), 3) for step in range(5)]
        [1.0, 0.868, 0.55, 0.232, 0.1]

    Source: Loshchilov and Hutter 2017 (SGDR), equation 5, without restarts.
    """
    expect_run(step, steps, warmup)
    expect_share("final", final)
    early = rise(step, warmup)
    if early is not None:
        return early
    done = progress(step, steps, warmup)
    return final + (1 - final) * (1 + math.cos(math.pi * done)) / 2
