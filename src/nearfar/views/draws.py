"""Random parameters of a whole batch at once, from a generator, on its device."""

from __future__ import annotations

import torch
from torch import Tensor


def uniform(count: int, limits: tuple[float, float], generator: torch.Generator) -> Tensor:
    """(N,) uniform in [least, most)."""
    least, most = limits
    return least + (most - least) * torch.rand(count, generator=generator, device=generator.device)


def rows_drawn(count: int, probability: float, generator: torch.Generator) -> Tensor:
    """Rising int64 numbers of the samples that drew an operation; none at probability 0, all at 1."""
    return (uniform(count, (0, 1), generator) < probability).nonzero().flatten()
