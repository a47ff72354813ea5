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


def beta(shape: tuple[int, ...], parameters: tuple[float, float], generator: torch.Generator) -> Tensor:
    """Draws from Beta(a, b): the share of a gamma variate of shape a in its sum with one of shape b."""
    first, second = (torch._standard_gamma(torch.full(shape, p, device=generator.device), generator=generator) for p in parameters)
    share: Tensor = first / (first + second)
    return share
