"""Gradients of one batch: forward on own samples, join, loss of the joined batch, backward; whole,
in parts, or cached.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from nearfar import collectives
from nearfar.batch import Batch
from nearfar.data.batches.samplers import parts_of
from nearfar.errors import UserError
from nearfar.methods.method import Method, Outputs, Phase, Summed
from nearfar.training.plan import Plan
from nearfar.training.processes import dropout
from nearfar.training.processes.joining import join, join_rows, summed_terms


def gradients(
    model: nn.Module, method: Method, phase: Phase, batch: Batch, plan: Plan
) -> tuple[dict[str, Tensor], Outputs]:
    """Add the gradients of one phase's loss to the parameters.

    With ``plan.accumulate`` parts, each part is contrasted with itself only and the parts' losses
    are averaged. With a ``plan.gradient_cache``, see ``_cached``.

    Args:
        model: ``method`` itself or its data-parallel wrapper.

    Returns:
        The detached loss ("loss") and its terms, and the joined, detached outputs of the whole
        batch.
    """
    found = (
        _cached(method, phase, batch, plan)
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
                outputs = _forward(model, phase, part, plan)
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


def _cached(
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
            embedded.append(_forward(method, phase, batch[rows], plan))
        for (
            name,
            value,
        ) in (
            method.named_buffers()
        ):  # the second pass updates running statistics again, from the same start
            value.copy_(buffers[name])
    leaves: list[Tensor] = []
    with plan.profile("objective"):
        outputs, terms = joined_loss(method, phase, _with_leaves(merged(embedded), leaves))
        terms["loss"].backward()  # type: ignore[no-untyped-call]
    own_rows = _rows_of_chunks(
        [[len(v) if v.ndim else 0 for v, _ in _flat(one)] for one in embedded]
    )
    for number, rows in enumerate(parts):
        _set_random_state(states[number], plan.device)  # dropout repeats itself
        with plan.profile("forward"):
            again = _flat(_forward(method, phase, batch[rows], plan))
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


def _forward(model: nn.Module, phase: Phase, batch: Batch, plan: Plan) -> Outputs:
    """Outputs in float32 or wider: the loss is never computed in less. Autocast is entered anew for
    each pass, as it keeps its half-precision weights until it is left.
    """
    with (
        torch.autocast(plan.device.type, torch.bfloat16, enabled=plan.precision == "bfloat16"),
        dropout.of(batch.place),
    ):
        outputs = (
            model(batch) if phase.forward == "forward" else getattr(model, phase.forward)(batch)
        )
    if not isinstance(outputs, dict):
        raise UserError(
            f"The method's {phase.forward} returned a {type(outputs).__name__};"
            " expected a dict of named outputs, such as {'z1': z1, 'z2': z2}."
        )
    return widened(outputs)


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


def widened(outputs: Outputs) -> Outputs:
    """The same outputs, half-precision ones in float32."""
    return dict(
        _mapped(outputs, lambda t: t.float() if t.dtype in (torch.bfloat16, torch.float16) else t)
    )


def slices(length: int, count: int) -> list[slice]:
    """``count`` nearly equal slices of ``length`` rows."""
    bounds = [length * number // count for number in range(count + 1)]
    return [slice(start, stop) for start, stop in pairwise(bounds)]


def joined_loss(
    method: Method, phase: Phase, outputs: Outputs
) -> tuple[Outputs, dict[str, Tensor]]:
    """Outputs of the joined batch, and its loss terms in float32 or wider, whatever the forward
    pass computed in.

    Under "loss" is what is minimised, the sum of the terms that have a gradient; the others are
    diagnostics. Where the method's loss takes ``rows``, this process computes its own samples'
    share alone; the terms are the whole's either way.
    """
    compute: Callable[..., dict[str, Tensor]] = getattr(method, phase.loss)
    outputs, share = join_rows(outputs) if takes_rows(method, phase) else (join(outputs), None)
    with torch.autocast(next(method.parameters()).device.type, enabled=False):
        found = compute(outputs) if share is None else compute(outputs, rows=share.rows)
        _expect_terms(method, phase, found)
        terms = found if share is None else summed_terms(found, share)
        return outputs, {
            **terms,
            "loss": torch.stack([term for term in terms.values() if term.requires_grad]).sum(),
        }


def _expect_terms(method: Method, phase: Phase, found: Any) -> None:
    """Refuse what is no loss: a method of the user's own says here what it lacks.

    Raises:
        UserError: if it is no dict of tensors, or none of them can be learned from.
    """
    name = f"{type(method).__name__}.{phase.loss}"
    if not isinstance(found, Mapping):
        raise UserError(
            f"{name} returned a {type(found).__name__}; expected a dict of named terms, such as "
            f"{{'contrast': loss}}."
        )
    for term, value in found.items():
        if not isinstance(value, Tensor):
            raise UserError(
                f"{name} gives {term!r} as a {type(value).__name__}; expected a tensor of no axis."
            )
    if not any(value.requires_grad for value in found.values()):
        raise UserError(
            f"None of the terms of {name} has a gradient, so nothing would be learned; compute one "
            "from the outputs."
        )


def takes_rows(method: Method, phase: Phase) -> bool:
    """Whether the phase's loss can be asked for a range of the samples' share."""
    return "rows" in inspect.signature(getattr(method, phase.loss)).parameters


def _synchronising(model: nn.Module, last: bool) -> AbstractContextManager[Any]:
    """Gradients are exchanged once, with the last part."""
    return (
        model.no_sync()
        if isinstance(model, DistributedDataParallel) and not last
        else nullcontext()
    )


def _mapped(value: Any, change: Any) -> Any:
    if isinstance(value, Summed):
        return Summed(change(value.value))
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {name: _mapped(item, change) for name, item in value.items()}
    return type(value)(_mapped(item, change) for item in value)


def detached(outputs: Outputs) -> Outputs:
    """The same outputs without their graph."""
    return dict(_mapped(outputs, lambda t: t.detach()))


def _with_leaves(outputs: Outputs, leaves: list[Tensor]) -> Outputs:
    def leaf(value: Tensor) -> Tensor:
        value = value.detach().requires_grad_(value.is_floating_point())
        leaves.append(value)
        return value

    return dict(_mapped(outputs, leaf))


def _flat(value: Any) -> list[tuple[Tensor, bool]]:
    """All tensors of the outputs, each with whether it is a summed statistic, in the order of
    ``_mapped``.
    """
    if isinstance(value, Summed):
        return [(value.value, True)]
    if isinstance(value, Tensor):
        return [(value, False)]
    return [
        leaf
        for item in (value.values() if isinstance(value, dict) else value)
        for leaf in _flat(item)
    ]


def merged(parts: Sequence[Any]) -> Any:
    """Outputs of consecutive parts as those of the whole batch: rows concatenated, statistics
    summed.
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    if isinstance(first, Summed):
        return Summed(torch.stack([p.value for p in parts]).sum(0))
    if isinstance(first, Tensor):
        return torch.cat(list(parts))
    if isinstance(first, dict):
        return {name: merged([p[name] for p in parts]) for name in first}
    return type(first)(merged([p[i] for p in parts]) for i in range(len(first)))
