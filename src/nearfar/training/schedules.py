"""The learning rate over the run."""

from __future__ import annotations

import math

from torch.optim import Optimizer


def learning_rate_factor(step: int, steps: int, warmup_steps: int, *, final: float = 0.0) -> float:
    """Share of the peak learning rate: a linear rise, then half a cosine down to ``final``.

    Args:
        step: from 0, below ``steps``.
        steps: of the whole run.
        warmup_steps: over which the rate rises from 0; the first of them already takes a small step.
        final: share of the peak at the end, in [0, 1].

    Source: Goyal et al. 2017 (warm-up); Loshchilov and Hutter 2017 (cosine, without restarts).
    """
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    along = (step - warmup_steps) / max(1, steps - warmup_steps)
    return final + (1 - final) * (1 + math.cos(math.pi * along)) / 2


def apply_schedule(optimizer: Optimizer, factor: float) -> None:
    """Set each group's rate to its peak times ``factor``; groups with ``constant_learning_rate`` keep their peak."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * (1.0 if group["constant_learning_rate"] else factor)
