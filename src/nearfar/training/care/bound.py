"""What a training step takes at least: the encoder alone, on views that are ready."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from nearfar.methods.method import Method
from nearfar.training.care.profile import seconds_of
from nearfar.training.optimisers.optimisers import optimizer_of
from nearfar.training.plan import Plan


def encoder_alone(method: Method, views: list[Any], plan: Plan) -> Callable[[], None] | None:
    """One step of a copy of the encoder: forward of the views, concatenated where their samples
    have the same shape, backward from a quadratic loss, optimiser. None if the method does not
    simply pass its views through its encoder.

    Args:
        views: one batch's, on the run's device.
        plan: precision, optimiser and compilation are the run's.
    """
    wanted = method.wanted_views
    if (
        getattr(wanted, "noise", 0)
        or getattr(wanted, "boxes", False)
        or not all(isinstance(view, Tensor) and view.is_floating_point() for view in views)
    ):
        return None
    encoder = copy.deepcopy(method.encoder).train()
    if plan.compile:
        encoder.compile()
    ready = [torch.cat(list(run)) for _, run in groupby(views, key=lambda view: view.shape[1:])]
    learning = [p for p in encoder.parameters() if p.requires_grad]
    group = {"params": learning, "lr": 1e-6, "weight_decay": plan.recipe.weight_decay}
    optimizer = optimizer_of(plan.recipe.optimizer, [group], 1e-6, plan.precision)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(plan.device.type, torch.bfloat16, enabled=plan.precision == "bfloat16"):
            features = [encoder(view) for view in ready]
        total = torch.stack([f.float().square().mean() for f in features]).sum()
        torch.autograd.backward(total)
        optimizer.step()

    return step


def bound_seconds(method: Method, views: list[Any], plan: Plan) -> float | None:
    """Median seconds of ``encoder_alone``; the run's weights and random state stay as they are."""
    step = encoder_alone(method, views, plan)
    if step is None:
        return None
    with torch.random.fork_rng(devices=[plan.device] if plan.device.type == "cuda" else []):
        return seconds_of(step, plan.device)
