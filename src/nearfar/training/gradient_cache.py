"""The gradient cache: the loss of a whole batch at the memory of a chunk."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from nearfar import collectives
from nearfar.batch import Batch
from nearfar.methods.method import Method, Outputs, Phase
from nearfar.training.objective import forward_pass, joined_loss
from nearfar.training.outputs import detached, flat, merged, with_leaves
from nearfar.training.plan import Plan


def cached_gradients(
    method: Method, phase: Phase, batch: Batch, plan: Plan
) -> tuple[dict[str, Tensor], Outputs]:
    """The gradient cache (Gao et al. 2021): embed chunk by chunk without a graph, take the loss of
    the whole batch and its gradient with respect to the embeddings, then embed again chunk by chunk
    and continue backward from there.

    The loss is that of the whole batch at the memory of a chunk. Batch norm sees the statistics of
    a chunk.
    """
    count = math.ceil(
        plan.recipe.batch_size / collectives.world() / plan.gradient_cache
    )  # the same on every process
    parts = slices(len(batch), count)
    states: list[tuple[Tensor, ...]] = []
    embedded: list[Outputs] = []
    buffers = {name: value.clone() for name, value in method.named_buffers()}
    with plan.profile("forward"), torch.no_grad():
        for rows in parts:
            states.append(_random_state(plan.device))
            embedded.append(forward_pass(method, phase, batch[rows], plan))
        for (
            name,
            value,
        ) in (
            method.named_buffers()
        ):  # the second pass updates running statistics again, from the same start
            value.copy_(buffers[name])
    leaves: list[Tensor] = []
    with plan.profile("objective"):
        outputs, terms = joined_loss(method, phase, with_leaves(merged(embedded), leaves))
        terms["loss"].backward()  # type: ignore[no-untyped-call]
    own_rows = _rows_of_chunks(
        [[len(v) if v.ndim else 0 for v, _ in flat(one)] for one in embedded]
    )
    for number, rows in enumerate(parts):
        _set_random_state(states[number], plan.device)  # dropout repeats itself
        with plan.profile("forward"):
            again = flat(forward_pass(method, phase, batch[rows], plan))
        pairs = [
            (value, leaf.grad if summed else leaf.grad[own])
            for (value, summed), leaf, own in zip(again, leaves, own_rows[number], strict=True)
            if leaf.grad is not None and value.requires_grad
        ]
        with plan.profile("backward"):
            torch.autograd.backward(
                [value for value, _ in pairs], [gradient for _, gradient in pairs]
            )
    return {name: value.detach() for name, value in terms.items()}, detached(outputs)


def slices(length: int, count: int) -> list[slice]:
    """``count`` nearly equal slices of ``length`` rows."""
    bounds = [length * number // count for number in range(count + 1)]
    return [slice(start, stop) for start, stop in pairwise(bounds)]


def _rows_of_chunks(counts: Sequence[Sequence[int]]) -> list[list[slice]]:
    """For each chunk and each of its outputs, which rows of the whole output it is; outputs of one
    of several streams have fewer rows than the batch.

    >>> _rows_of_chunks([[2, 1], [2, 2]])
    [[slice(0, 2, None), slice(0, 1, None)], [slice(2, 4, None), slice(1, 3, None)]]
    """
    ends = [0] * len(counts[0])
    found = []
    for chunk in counts:
        starts = ends
        ends = [start + count for start, count in zip(starts, chunk, strict=True)]
        found.append([slice(a, b) for a, b in zip(starts, ends, strict=True)])
    return found


def _random_state(device: torch.device) -> tuple[Tensor, ...]:
    """The global random states that a forward pass on the device draws from."""
    return (
        torch.get_rng_state(),
        *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else []),
    )


def _set_random_state(states: tuple[Tensor, ...], device: torch.device) -> None:
    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)
