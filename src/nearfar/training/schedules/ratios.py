"""The infinite schedule of a task among several, by shares of the task's steps."""

from __future__ import annotations

import math

from nearfar.errors import UserError
from nearfar.ranges import unit_interval
from nearfar.training.schedules.warmup import expect_share

__all__ = ["task_factor"]


def task_factor(
    step: int,
    steps: int,
    task: int = 0,
    *,
    warm: float = 0.05,
    cool: float = 0.3,
    keep: float = 0.8,
    constant: float = 0.25,
    final: float = 0.01,
) -> float:
    """The factor at one step of a task: only the first task rises and cools down.

    Ends of the parts need not be whole steps.

    Args:
        step: Finished steps of this task.
        steps: Of this task, T.
        task: Number of the task, from 0.
        warm: The rise ends at warm T.
        cool: The cooldown ends at cool T.
        keep: The held rate ends at keep T; the rest falls.
        constant: Share of the peak that is held, above 0 and at most 1.
        final: Share of the peak at the end, above 0 and at most 1.

    Raises:
        UserError: If the shares are not in ascending order.

    Example:
        >>> from nearfar.training.schedules.ratios import task_factor
        >>> [round(task_factor(step, 10, task=1, keep=0.8), 2) for step in (0, 8, 9, 10)]
        [0.25, 0.25, 0.05, 0.01]

    Source: Singh et al. 2025, "Beyond Cosine Decay", the masked autoencoder runs.
    """
    for name, share in (("warm", warm), ("cool", cool), ("keep", keep)):
        expect_share(name, share)
    if not warm <= cool <= keep:
        raise UserError(f"warm, cool and keep are {warm}, {cool}, {keep}; expected ascending.")
    if task < 0:
        raise UserError(f"task is {task}; expected at least 0.")
    if step < 0 or steps < 1:
        raise UserError(f"step is {step} of {steps}; expected at least 0 of at least 1.")
    done = min(step / steps, 1.0)
    expect_share("constant", constant, unit_interval(zero=False))
    expect_share("final", final, unit_interval(zero=False))
    if done > keep:
        return constant * math.exp(math.log(final / constant) * (done - keep) / (1 - keep))
    if task or done >= cool:
        return constant
    if done < warm:
        return done / warm
    share = (done - warm) / (cool - warm)
    return constant + (1 - constant) * (1 + math.cos(math.pi * share)) / 2
