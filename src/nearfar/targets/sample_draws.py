"""Random numbers that belong to a sample and a step, whoever draws them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_GOLDEN, _FIRST, _SECOND = -0x61C8864680B583EB, -0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15  # as signed 64-bit numbers


class SampleDraws(nn.Module):
    """Uniform numbers as a function of a key, the step and the sample's number alone.

    Several processes, the chunks of a gradient cache and a resumed run draw what one process draws in one go, which a generator
    that is used up in order does not give. The key is drawn once, from torch's global state.

    Attributes:
        key, step: int64 scalars.

    Source: Steele et al. 2014 (SplitMix64), as a hash of the counter.
    """

    key: Tensor
    step: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("key", torch.randint(2**62, ()))
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def forward(self, index: Tensor) -> Tensor:
        """Numbers (N,) float64 in [0, 1) for the samples ``index`` (N,) int64."""
        mixed = _mixed(_mixed(self.key + self.step * _GOLDEN) + index.to(self.key.device) * _GOLDEN)
        return torch.ldexp(_shifted(mixed, 11).double(), torch.tensor(-53))

    @torch.no_grad()
    def advance(self) -> None:
        """Go on to the next step's numbers."""
        self.step += 1


def _mixed(x: Tensor) -> Tensor:
    x = (x ^ _shifted(x, 30)) * _FIRST
    x = (x ^ _shifted(x, 27)) * _SECOND
    return x ^ _shifted(x, 31)


def _shifted(x: Tensor, places: int) -> Tensor:
    """To the right, zeros moving in."""
    return (x >> places) & (2 ** (64 - places) - 1)
