"""Half a cosine again and again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

from nearfar.errors import UserError
from nearfar.ranges import at_least, checked
from nearfar.training.schedules.warmup import expect_run, expect_share

__all__ = ["factor"]


def factor(
    step: int,
    steps: int,
    warmup: int = 0,
    *,
    cycles: int = 3,
    final: float = 0.0,
    weights: Sequence[float] | None = None,
) -> float:
    """The run in equal cycles, each a warm-up and half a cosine from its weight to ``final``.

    Args:
        step: Finished steps; the last one of the run belongs to the last cycle.
        steps: Of the whole run.
        warmup: Steps of the rise of each cycle.
        cycles: How many, at least 1.
        final: Share of the peak that is left at the end of a cycle, from 0 to 1.
        weights: Share of the peak at which each cycle starts; None for 1.

    Example:
        >>> from nearfar.training.schedules.restarts import factor
        >>> [round(factor(step, 4, cycles=2), 2) for step in range(5)]
        [1.0, 0.5, 1.0, 0.5, 0.0]

    Source: Loshchilov and Hutter 2017 (SGDR), equation 5.
    """
    expect_run(step, steps, warmup)
    expect_share("final", final)
    checked(Annotated[int, at_least(1)], "cycles", cycles)
    peaks = [1.0] * cycles if weights is None else list(weights)
    if len(peaks) != cycles:
        raise UserError(f"{cycles} cycles need as many weights; found {len(peaks)}.")
    for peak in peaks:
        expect_share("weights", peak)
    step = min(step, steps)
    cycle = min(step * cycles // steps, cycles - 1)
    start, stop = cycle * steps / cycles, (cycle + 1) * steps / cycles
    inside = step - start
    if inside < warmup:
        return peaks[cycle] * inside / warmup
    done = (inside - warmup) / max(1.0, stop - start - warmup)
    low = min(final, peaks[cycle])
    return low + (peaks[cycle] - low) * (1 + math.cos(math.pi * min(1.0, done))) / 2
