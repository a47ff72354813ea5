"""Warm-up, stable, decay."""

from __future__ import annotations

import math

from nearfar.errors import UserError
from nearfar.training.schedules.warmup import expect_run, expect_share, rise

__all__ = ["SHAPES", "factor"]

SHAPES = ("linear", "cosine", "root", "exponential")
"""How the rate may fall at the end."""


def factor(
    step: int,
    steps: int,
    warmup: int = 0,
    *,
    decay: float = 0.2,
    final: float = 0.0,
    shape: str = "linear",
) -> float:
    """1 after the warm-up, and a fall to ``final`` over the last share ``decay`` of the run.

    With p the share of the fall that is done: 1 - p ("linear"), (1 + cos(pi p)) / 2 ("cosine") or
    1 - sqrt(p) ("root") of the way from ``final`` to 1; or final^p ("exponential").

    Args:
        step: Finished steps.
        steps: Of the whole run.
        warmup: Steps of the rise.
        decay: Share of the whole run that falls, from 0 to 1.
        final: Share of the peak that is left at the end, from 0 to 1; above 0 for "exponential".
        shape: One of ``SHAPES``.

    Example:
        >>> from nearfar.training.schedules.wsd import factor
        >>> [factor(step, 4, 1, decay=0.5) for step in range(5)]
        [0.0, 1.0, 1.0, 0.5, 0.0]

    Source: Hu et al. 2024 (MiniCPM); the root of Haegele et al. 2024.
    """
    expect_run(step, steps, warmup)
    expect_share("decay", decay)
    expect_share("final", final)
    if shape not in SHAPES or (shape == "exponential" and final == 0):
        raise UserError(
            f"shape is {shape!r} with final {final:g}; valid are 'linear', 'cosine', 'root' and,"
            " with a final share above 0, 'exponential'."
        )
    early = rise(step, warmup)
    if early is not None:
        return early
    start = max(warmup, steps * (1 - decay))
    if step <= start or start == steps:
        return 1.0
    done = min(1.0, (step - start) / (steps - start))
    if shape == "exponential":
        return float(final**done)
    left = {
        "linear": 1 - done,
        "cosine": (1 + math.cos(math.pi * done)) / 2,
        "root": 1 - math.sqrt(done),
    }[shape]
    return final + (1 - final) * left
