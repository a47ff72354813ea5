"""The infinite schedule of a task among several, by shares of the task's steps."""

from __future__ import annotations

from nearfar.errors import UserError
from nearfar.training.schedules import infinite
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
    ends = [round(share * steps) for share in (warm, cool, keep)]
    if task:
        ends[:2] = [0, 0]
    return infinite.factor(
        step,
        steps,
        ends[0],
        cooldown=ends[1] - ends[0],
        hold=ends[2] - ends[1],
        constant=constant,
        final=final,
    )
