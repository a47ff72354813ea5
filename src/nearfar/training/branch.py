"""Branches: what a run that goes through tasks delivers at the end of each of them.

The run itself holds its learning rate. At the end of a task a copy of the method and of its
optimisers falls to a small rate on that task, and the copy is delivered. The run goes on as if
there had been no branch, so that a resumed run is the uninterrupted one to the bit.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from nearfar import collectives
from nearfar.methods.method import Method
from nearfar.training.phases import Optimizers
from nearfar.training.plan import Plan
from nearfar.training.schedules import schedule_of

_FINAL = 0.01
"""Share of the peak learning rate at the end of a branch."""


@dataclass(frozen=True)
class Branch:
    """What is done at the end of each task.

    Attributes:
        steps: Of the fall.
        deliver: (method, number of the task) writes what a user gets; called on the first process.
        is_delivered: (number of the task) whether that was done before.
    """

    steps: int
    deliver: Callable[[Method, int], None]
    is_delivered: Callable[[int], bool] = lambda _: False


@dataclass(frozen=True)
class GoingOn:
    """Where a branch starts.

    Attributes:
        optimised: State of the optimisers.
        rows: (M,) int64, the samples of the task.
        progress: Share of the run that is done, which the method keeps seeing.
    """

    optimised: Mapping[str, Any]
    rows: Tensor
    progress: float


Fit = Callable[[Method, Plan, GoingOn], bool]
"""Trains a copy to the end of its plan; False where that was interrupted."""


def branched(
    branch: Branch,
    method: Method,
    optimizers: Optimizers,
    plan: Plan,
    task: int,
    rows: Tensor,
    *,
    step: int,
    steps: int,
    fit: Fit,
) -> bool:
    """Fall on one task and deliver; nothing of the run is changed.

    Where the learning rate has fallen already, the copy is delivered as it stands.

    Args:
        branch: What is wanted.
        method: Of the run.
        optimizers: Of the run.
        plan: Of the run.
        task: Number of the task that is over.
        rows: (M,) int64, its samples.
        step: Finished steps of the run.
        steps: All of the run.
        fit: What trains.

    Returns:
        False where it was interrupted; nothing is delivered then.
    """
    (done,) = collectives.any_of(collectives.is_first() and branch.is_delivered(task))
    if done:
        return True
    recipe = plan.recipe
    share = schedule_of(recipe.schedule)(step, steps, round(recipe.warmup * steps))
    copied = copy.deepcopy(method)
    devices = list(range(torch.cuda.device_count()))
    with torch.random.fork_rng(devices=devices):
        if share > _FINAL:
            fall = f"anneal:start={share:.12g},final={_FINAL:g}"
            falling = replace(
                plan,
                recipe=replace(recipe, schedule=fall, warmup=0.0, final_weight_decay=None),
                steps=branch.steps,
                seed=(plan.seed * 1_000_003 + 7_919 * (task + 1)) % (1 << 31),
                order="",
                branch=None,
                config="",
            )
            optimised = copy.deepcopy(optimizers.state_dict())
            if not fit(copied, falling, GoingOn(optimised, rows, step / steps)):
                return False
        if collectives.is_first():
            branch.deliver(copied.eval(), task)
    collectives.patient_barrier()
    return True
