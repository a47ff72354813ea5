"""How methods treat the gradients of some parameters apart from others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn


def clip_each(parameters: Iterable[nn.Parameter], largest: float) -> None:
    """Scale each parameter's gradient by itself to a norm of at most ``largest``, above 0;
    parameters without one are left aside.

    Source: Caron et al. 2021 (DINO), authors' code; other methods clip the norm of all gradients
        together.
    """
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad.mul_((largest / (parameter.grad.norm() + 1e-6)).clamp(max=1.0))


def grouped_apart(method: nn.Module, part: nn.Module, **options: Any) -> list[dict[str, Any]]:
    """Two groups for the optimiser: all parameters of ``method`` that learn but for those of
    ``part``, and these with ``options``.
    """
    own = {id(p) for p in part.parameters()}
    learning = [p for p in method.parameters() if p.requires_grad]
    return [
        {"params": [p for p in learning if id(p) not in own]},
        {"params": [p for p in learning if id(p) in own], **options},
    ]
