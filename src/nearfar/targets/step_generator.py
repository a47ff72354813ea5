"""Random draws of a loss that are the same on every process and after resuming."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class StepGenerator(nn.Module):
    """A generator for each training step, made from two buffers: a seed and the number of steps
    taken.

    A loss is computed on every process, so its draws must not come from a process's own random
    state, which dropout and unequal parts of the batch move on differently. Within a step the
    generator is always the same; ``advance`` ends the step. Both numbers are kept beside their
    buffers as well, so that no step waits for a device to tell them.

    Attributes:
        seed: int64 scalar, drawn from torch's global random state.
        step: int64 scalar, finished steps.
    """

    seed: Tensor
    step: Tensor
    _known: tuple[int, int] | None

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seed", torch.randint(2**31, (), dtype=torch.int64))
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        is_described = self.seed.is_meta or self.step.is_meta  # a card builds no numbers
        self._known = None if is_described else (int(self.seed), int(self.step))
        self.register_load_state_dict_post_hook(_forget)  # type: ignore[no-untyped-call]

    def forward(self) -> torch.Generator:
        """A fresh generator on the CPU, in the state that belongs to this step."""
        if self._known is None:
            self._known = int(self.seed), int(self.step)
        seed, step = self._known
        return torch.Generator().manual_seed(seed * 1_000_003 + step)

    @torch.no_grad()
    def advance(self) -> None:
        """Go to the next step; call it in ``after_step``."""
        self.step.add_(1)
        if self._known is not None:
            self._known = self._known[0], self._known[1] + 1


def _forget(generator: StepGenerator, _: object) -> None:
    """After loading, the buffers hold other numbers than were kept."""
    generator._known = None
