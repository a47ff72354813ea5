"""One pass of a phase: forward on own samples, and the loss of the joined batch."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from nearfar.batch import Batch
from nearfar.errors import UserError
from nearfar.methods.method import Method, Outputs, Phase
from nearfar.training.outputs import widened
from nearfar.training.plan import Plan
from nearfar.training.processes import dropout
from nearfar.training.processes.joining import join, join_rows, summed_terms


def forward_pass(model: nn.Module, phase: Phase, batch: Batch, plan: Plan) -> Outputs:
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
