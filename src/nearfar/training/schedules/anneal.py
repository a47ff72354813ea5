"""An exponential fall from where a run stands: what a branch of the infinite schedule does."""

from __future__ import annotations

from nearfar.training.schedules.infinite import annealing
from nearfar.training.schedules.warmup import expect_run

__all__ = ["factor"]


def factor(
    step: int, steps: int, warmup: int = 0, *, start: float = 1.0, final: float = 0.01
) -> float:
    """start (final / start)^(step / steps).

    Args:
        step: Finished steps.
        steps: Of the whole fall.
        warmup: Not used: a fall has none.
        start: Share of the peak at the start, above 0 and at most 1.
        final: Share of the peak at the end, above 0 and at most 1.

    Example:
        >>> from nearfar.training.schedules.anneal import factor
        >>> [round(factor(step, 2, start=0.25, final=0.01), 2) for step in range(3)]
        [0.25, 0.05, 0.01]

    Source: Singh et al. 2025, "Beyond Cosine Decay".
    """
    expect_run(step, steps, warmup)
    return annealing(min(step, steps), 0, steps, constant=start, final=final)
