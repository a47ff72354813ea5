"""Random draws of a loss that are the same on every process and after resuming."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class StepGenerator(nn.Module):
    """A generator for each training step, made from two buffers: a seed and the number of steps
    taken.

    A loss is computed on every process, so its draws must not come from a process's own random
    state, which dropout and unequal parts of the batch move on differently. Within a step the
    generator is always the same; ``advance`` ends the step.

    Attributes:
        seed: int64 scalar, drawn from torch's global random state.
        step: int64 scalar, finished steps.
    """

    seed: Tensor
    step: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seed", torch.randint(2**31, (), dtype=torch.int64))
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def forward(self) -> torch.Generator:
        """A fresh generator on the CPU, in the state that belongs to this step."""
        return torch.Generator().manual_seed(int(self.seed) * 1_000_003 + int(self.step))

    @torch.no_grad()
    def advance(self) -> None:
        """Go to the next step; call it in ``after_step``."""
        self.step.add_(1)
