"""A network that follows another one slowly: the momentum (exponential moving average) copy and its
schedule.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import nn


class MomentumEncoder(nn.Module):
    """A frozen copy of ``module`` whose parameters are moved towards the online ones by ``update``.

    It starts as an exact copy and never receives gradient. Only parameters are averaged: batch norm
    statistics are buffers, and in train mode the copy normalises each batch by that batch, as
    MoCo's and BYOL's authors do.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = copy.deepcopy(module).requires_grad_(False)

    def restart(self) -> None:
        """Give every layer fresh random weights, as some papers' code has it; layers that cannot
        start anew keep the copied ones.
        """
        for layer in self.module.modules():
            reset = getattr(layer, "reset_parameters", None)
            if callable(reset):
                reset()

    @torch.no_grad()
    def forward(self, *inputs: Any) -> Any:
        """What ``module`` gives, without gradient."""
        return self.module(*inputs)

    @torch.no_grad()
    def update(self, online: nn.Module, momentum: float) -> None:
        """Set every parameter to ``momentum`` times itself plus ``1 - momentum`` times the online
        one.

        Args:
            online: a module with the same parameters in the same order as the one that was copied.
            momentum: in [0, 1]; 0 copies, 1 changes nothing.
        """
        torch._foreach_lerp_(
            list(self.module.parameters()), list(online.parameters()), 1.0 - momentum
        )


def cosine_momentum(base: float, progress: float) -> float:
    """Momentum that rises from ``base`` to 1 along half a cosine: 1 - (1 - base) (1 + cos(pi
    progress)) / 2.

    Args:
        base: at the start, in [0, 1].
        progress: share of the run that is done, in [0, 1].

    Source: Grill et al. 2020 (BYOL), section 3.2; the same in MoCo v3 and DINO.
    """
    return 1.0 - (1.0 - base) * (1.0 + math.cos(math.pi * progress)) / 2.0


def linear_momentum(base: float, progress: float) -> float:
    """Momentum that rises from ``base`` to 1 in a straight line: base + (1 - base) progress.

    Args:
        base: At the start, in [0, 1].
        progress: Share of the run that is done, in [0, 1].

    Example:
        >>> round(linear_momentum(0.996, 0.5), 3)
        0.998

    Source: Assran et al. 2023 (I-JEPA), section A.1.
    """
    return base + (1.0 - base) * progress
