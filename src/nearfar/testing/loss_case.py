"""A loss with its inputs, as the checks of the battery look at it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nearfar.testing.inputs import ROWS

__all__ = ["Inputs", "LossCase", "assert_finite", "gradients"]

Inputs = dict[str, Any]


@dataclass(frozen=True)
class LossCase:
    """What a check looks at.

    Attributes:
        function: the loss; gives a scalar, or a dict of scalars, which are added.
        make_inputs: from a number of samples and a generator to the function's arguments by name,
            in float64; those that should receive gradient have ``requires_grad``.
        tolerance: error of the value in float32 relative to the larger of 1 and the value;
            gradients may err by ten times as much, relative to their largest entry.
        exchanged: inputs that may be exchanged for one another, such as (("z1", "z2"),).
    """

    function: Callable[..., Tensor | dict[str, Tensor]]
    make_inputs: Callable[[int, torch.Generator], Inputs]
    tolerance: float = 1e-4
    exchanged: tuple[tuple[str, str], ...] = ()

    def make(self, rows: int = ROWS) -> Inputs:
        """The same inputs at each call."""
        return self.make_inputs(rows, torch.Generator().manual_seed(rows))

    def value(self, inputs: Inputs) -> Tensor:
        """The loss as one tensor."""
        found = self.function(**inputs)
        return torch.stack(list(found.values())).sum() if isinstance(found, dict) else found


def gradients(value: Tensor, inputs: Inputs) -> Iterable[tuple[str, Tensor]]:
    """The gradient of each input that asks for one, by name."""
    moving = {
        name: given
        for name, given in inputs.items()
        if isinstance(given, Tensor) and given.requires_grad
    }
    assert moving, "no input asks for a gradient"
    found = torch.autograd.grad(value, list(moving.values()), allow_unused=True)
    for name, gradient in zip(moving, found, strict=True):
        assert gradient is not None, f"no gradient reaches the input {name}"
        yield name, gradient


def assert_finite(value: Tensor, inputs: Inputs, where: str) -> None:
    """Fail unless the value and the gradients of all inputs are finite."""
    assert bool(value.isfinite()), f"the loss is {value.item()}{where}"
    for name, gradient in gradients(value, inputs):
        assert bool(gradient.isfinite().all()), f"the gradient of {name} is not finite{where}"
