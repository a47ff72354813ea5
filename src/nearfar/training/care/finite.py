"""Losses, gradients and weights that are no longer finite: found before they are saved, without
waiting for an accelerator at each step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from nearfar import collectives
from nearfar.batch import Batch
from nearfar.errors import UserError
from nearfar.rows import Parts

HUGE = 1e6
"""Normalised values are rarely above 10; from here on a float32 network loses all else."""
_NAMED = 3  # samples
_BLOCK = 1024  # samples


class BadStep(NamedTuple):
    """The first step whose gradients were not finite.

    Attributes:
        step: from 1.
        layer: name of the first parameter with such a gradient.
    """

    step: int
    layer: str


class FiniteSteps:
    """Looks at the gradients of every step, and remembers on the device what it saw until it is
    asked.

    Args:
        method: whose gradients are looked at.
        explained: from what went wrong and the step to the error.
        at_once: whether each step is judged before its optimiser, which costs nothing where the
            device is the CPU.
    """

    def __init__(
        self, method: nn.Module, explained: Callable[[str, int], UserError], *, at_once: bool
    ) -> None:
        self.explained = explained
        self.at_once = at_once
        self._names = {parameter: name for name, parameter in method.named_parameters()}
        self._seen: list[tuple[int, list[str], Tensor]] = []

    def look(
        self, parameters: Iterable[nn.Parameter], terms: Mapping[str, Tensor], step: int
    ) -> None:
        """Called after the backward pass of step ``step``, from 1, and before the optimiser; unless
        ``at_once``, nothing waits.

        Raises:
            UserError: as ``check``, if ``at_once``.
        """
        known = [
            (self._names.get(p, "a parameter"), p.grad) for p in parameters if p.grad is not None
        ]
        gradients = [
            gradient.to_local() if isinstance(gradient, DTensor) else gradient
            for _, gradient in known
        ]
        filled = [
            (name, gradient)
            for (name, _), gradient in zip(known, gradients, strict=True)
            if gradient.numel()
        ]
        if filled:
            largest = torch._foreach_norm([gradient for _, gradient in filled], math.inf)
            self._seen.append(
                (
                    step,
                    [name for name, _ in filled],
                    torch.stack([value.float() for value in largest]),
                )
            )
        if self.at_once:
            self.check(terms, step)

    def check(self, terms: Mapping[str, Tensor], step: int) -> None:
        """Stop the run if a gradient since the last call, or a loss term of this step, was not
        finite; all processes come here together.

        Raises:
            UserError: names the term or the layer, the step and the samples.
        """
        bad = self.first_bad()
        term = bad_terms(terms)
        at = step if bad is None else bad.step
        what = f"{term} at step {step}" if term and at == step else ""
        if bad is not None and not what:
            what = f"The gradient of {bad.layer} was no longer finite at step {bad.step}"
        if collectives.any_process(bool(what)):
            raise self.explained(
                what or f"A gradient of another process was no longer finite before step {step}", at
            )

    def first_bad(self) -> BadStep | None:
        """The first bad step since the last call; waits for the device."""
        seen = self._seen
        self._seen = []
        for step, names, largest in seen:
            finite = largest.isfinite()
            if not bool(finite.all()):
                return BadStep(step, names[int(finite.int().argmin())])
        return None


def bad_terms(terms: Mapping[str, Tensor]) -> str:
    """The first loss term that is not finite, with its value; "" where all are."""
    for name, value in terms.items():
        if not math.isfinite(number := float(value)):
            return f"The loss term {name} became {number}"
    return ""


def not_finite(what: str, batch: Batch | None, ids: Sequence[str]) -> UserError:
    """The error for a step that went wrong.

    Args:
        what: the loss term or the layer, and the step.
        batch: of the step.
        ids: of all training samples.
    """
    samples = "" if batch is None else f" {told_of(batch, ids)}"
    return UserError(
        f"{what}; usual causes are a learning rate that is too high, a temperature that is too low "
        "or values in the data that are not"
        f" finite.{samples} Nothing saved is lost: lower --learning-rate or set --clip 1 and start "
        "again, or --resume the last checkpoint."
    )


def told_of(batch: Batch, ids: Sequence[str]) -> str:
    """One sentence about the samples of a batch whose views hold values that are not finite or very
    large.
    """
    worst = torch.stack(
        [_largest(view) for view in batch.views if _largest(view).numel()]
        or [torch.zeros(len(batch))]
    ).amax(0)
    strange = (~worst.isfinite() | (worst > HUGE)).nonzero().flatten().tolist()
    if not strange:
        return "The samples of that batch hold ordinary values."
    named = ", ".join(
        f"{ids[int(batch.index[row])]} ({float(worst[row]):.2g})" for row in strange[:_NAMED]
    )
    more = f" and {len(strange) - _NAMED} more" if len(strange) > _NAMED else ""
    return f"Samples of that batch with extreme values: {named}{more}."


def extremes(source: Any) -> list[str]:
    """A sentence where single samples of measured values (series, sound, points) hold what would
    drown all others.
    """
    samples = source.train
    example = samples.take(torch.arange(min(1, len(samples))))
    if not isinstance(example, Tensor) or not len(example) or not example.is_floating_point():
        return []
    blocks = [
        torch.arange(first, min(first + _BLOCK, len(samples)))
        for first in range(0, len(samples), _BLOCK)
    ]
    largest = torch.cat(
        [samples.take(block).flatten(1).abs().amax(1).float().cpu() for block in blocks]
    )
    usual = float(largest.median())
    strange = (
        (~largest.isfinite() | (largest > HUGE * max(usual, torch.finfo(torch.float32).tiny)))
        .nonzero()
        .flatten()
        .tolist()
    )
    if not strange:
        return []
    row = max(strange, key=lambda place: float(largest[place]))
    return [
        f"{len(strange)} of {len(samples)} training samples hold values of up to "
        f"{float(largest[row]):.2g} (sample {samples.ids[row]}),"
        f" where the usual sample's largest is {usual:.2g}; such a value drowns all others, so "
        "look at those samples."
    ]


def check_state(state: Mapping[str, Any], step: int) -> None:
    """Refuse weights and buffers that are not finite, so that no checkpoint holds them.

    Raises:
        UserError: names the first.
    """
    for name, value in state.items():
        if (
            isinstance(value, Tensor)
            and value.is_floating_point()
            and not bool(value.isfinite().all())
        ):
            raise UserError(
                f"The weights {name} are not finite after step {step}, so they are not saved and "
                "not taken: lower --learning-rate or set"
                " --clip 1 and start again, or --resume the checkpoint before."
            )


def _largest(view: Any) -> Tensor:
    """(N,) largest absolute value of each sample, NaN where it has one; empty for texts."""
    if isinstance(view, Parts):
        return next(
            (found for part in view.values() if (found := _largest(part)).numel()), torch.zeros(0)
        )
    if not isinstance(view, Tensor) or not view.is_floating_point():
        return torch.zeros(0)
    return view.detach().flatten(1).abs().amax(1).float().cpu()
