"""How the learning rate and the weight decay move during a run."""

from __future__ import annotations

import math

from torch.optim import Optimizer

from nearfar.methods.method import Recipe


def learning_rate_factor(step: int, steps: int, warmup_steps: int, final: float = 0.0) -> float:
    """Share of the peak learning rate at one step: a straight line from 0 to 1, then half a cosine
    to ``final``.

    Args:
        step: number of finished steps, from 0; beyond ``steps`` the factor stays at ``final``.
        steps: of the whole run.
        warmup_steps: length of the straight line, from 0 to ``steps``.
        final: share that is left at the end, in [0, 1].

    Source: Loshchilov and Hutter 2017 (SGDR), equation 5, without restarts; Goyal et al. 2017,
        section 2.2, for the
    warm-up, by steps as in the authors' code of Barlow Twins.
    """
    if step < warmup_steps:
        return step / warmup_steps
    progress = min(1.0, (step - warmup_steps) / max(1, steps - warmup_steps))
    return final + (1.0 - final) * (1.0 + math.cos(math.pi * progress)) / 2.0


def apply_schedule(optimizer: Optimizer, recipe: Recipe, step: int, steps: int) -> None:
    """Set each group's learning rate by ``learning_rate_factor``, but for groups with
    ``constant_learning_rate``; and, where the recipe has a final weight decay, the weight decay of
    those that have any, along half a cosine over the whole run.

    Args:
        optimizer: from ``optimisers.build_optimizer`` with the same recipe.
        step: number of finished steps, from 0.
        steps: of the whole run.

    Source of the rising weight decay: Caron et al. 2021 (DINO), section 3.2.
    """
    factor = learning_rate_factor(step, steps, round(recipe.warmup * steps))
    for group in optimizer.param_groups:
        group["lr"] = group["peak_learning_rate"] * (
            1.0 if group["constant_learning_rate"] else factor
        )
        if recipe.final_weight_decay is not None and group["decays"]:
            left = learning_rate_factor(step, steps, 0)
            group["weight_decay"] = (
                recipe.final_weight_decay + (recipe.weight_decay - recipe.final_weight_decay) * left
            )
