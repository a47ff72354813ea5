"""The mean of a network's weights over all steps."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

__all__ = ["RunningAverage"]


class RunningAverage(nn.Module):
    """A copy of a network whose weights are the plain mean of the first ones and all that followed.

        mean <- mean + (weights - mean) / (n + 1), n the number of weights in the mean

    Attributes:
        module: The copy; buffers are those of the last update.
        count: n.

    Source: Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima and Better
    Generalization".
    """

    count: Tensor

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = copy.deepcopy(module).requires_grad_(False)
        self.register_buffer("count", torch.tensor(1))

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take the weights of a network into the mean."""
        for mean, new in zip(self.module.parameters(), module.parameters(), strict=True):
            mean.add_((new.detach() - mean) / (self.count + 1))
        for held, now in zip(self.module.buffers(), module.buffers(), strict=True):
            held.copy_(now)
        self.count.add_(1)
