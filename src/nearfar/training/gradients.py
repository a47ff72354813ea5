"""Gradients of one batch: forward on own samples, join, loss of the joined batch, backward; whole,
in parts, or cached.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from nearfar import collectives
from nearfar.batch import Batch
from nearfar.data.batches.samplers import parts_of
from nearfar.methods.method import Method, Outputs, Phase
from nearfar.training.gradient_cache import cached_gradients
from nearfar.training.objective import forward_pass, joined_loss
from nearfar.training.outputs import detached, merged
from nearfar.training.plan import Plan


def gradients(
    model: nn.Module, method: Method, phase: Phase, batch: Batch, plan: Plan
) -> tuple[dict[str, Tensor], Outputs]:
    """Add the gradients of one phase's loss to the parameters.

    With ``plan.accumulate`` parts, each part is contrasted with itself only and the parts' losses
    are averaged. With a ``plan.gradient_cache``, see ``cached_gradients``.

    Args:
        model: ``method`` itself or its data-parallel wrapper.

    Returns:
        The detached loss ("loss") and its terms, and the joined, detached outputs of the whole
        batch.
    """
    found = (
        cached_gradients(method, phase, batch, plan)
        if plan.gradient_cache
        else _in_parts(model, method, phase, batch, plan)
    )
    # Data parallel's hooks would exchange after the gradient cache's first backward pass, before
    # the chunks': exchange once, here. Sharding's hooks leave out what is not divided.
    if plan.gradient_cache or plan.shard or model is method:
        collectives.average_gradients(p for p in phase.parameters if not isinstance(p, DTensor))
    return found


def _in_parts(
    model: nn.Module, method: Method, phase: Phase, batch: Batch, plan: Plan
) -> tuple[dict[str, Tensor], Outputs]:
    totals: dict[str, Tensor] = {}
    joined: list[Outputs] = []
    for number, part in enumerate(parts_of(batch, plan.accumulate)):
        with _synchronising(model, number == plan.accumulate - 1):
            with plan.profile("forward"):
                outputs = forward_pass(model, phase, part, plan)
            with plan.profile("objective"):
                outputs, terms = joined_loss(method, phase, outputs)
            with plan.profile("backward"):
                (terms["loss"] / plan.accumulate).backward()  # type: ignore[no-untyped-call]
        for name, value in terms.items():
            totals[name] = (
                totals.get(name, torch.zeros_like(value.detach()))
                + value.detach() / plan.accumulate
            )
        joined.append(detached(outputs))
    return totals, merged(joined)


def _synchronising(model: nn.Module, last: bool) -> AbstractContextManager[Any]:
    """Gradients are exchanged once, with the last part."""
    return (
        model.no_sync()
        if isinstance(model, DistributedDataParallel) and not last
        else nullcontext()
    )
