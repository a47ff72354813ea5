"""How the learning rate and the weight decay move during a run."""

from __future__ import annotations

from torch.optim import Optimizer

from nearfar.methods.method import Recipe
from nearfar.training.schedules import cosine, schedule_of


def apply_schedule(optimizer: Optimizer, recipe: Recipe, step: int, steps: int) -> None:
    """Set each group's learning rate by the recipe's schedule, but for groups with
    ``constant_learning_rate``; and, where the recipe has a final weight decay, the weight decay of
    those that have any, along half a cosine over the whole run.

    Args:
        optimizer: from ``optimisers.build_optimizer`` with the same recipe.
        step: number of finished steps, from 0.
        steps: of the whole run.

    Source of the rising weight decay: Caron et al. 2021 (DINO), section 3.2.
    """
    factor = schedule_of(recipe.schedule)(step, steps, round(recipe.warmup * steps))
    for group in optimizer.param_groups:
        group["lr"] = group["peak_learning_rate"] * (
            1.0 if group["constant_learning_rate"] else factor
        )
        if recipe.final_weight_decay is not None and group["decays"]:
            left = cosine.factor(step, steps)
            group["weight_decay"] = (
                recipe.final_weight_decay + (recipe.weight_decay - recipe.final_weight_decay) * left
            )
