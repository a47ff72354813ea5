"""Random parameters of a whole batch at once, from a generator, on its device.

Views draw through the functions below, because several processes share a batch: each draws what one
process would draw for the whole batch and keeps the rows of its own samples, so that the number of
processes changes no view.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from nearfar.batch import Place


class PartGenerator(torch.Generator):
    """A generator for the samples of a batch that this process has.

    Attributes:
        place: Where these samples are in the whole batch; None when they are the whole batch.
    """

    place: Place | None

    def __new__(
        cls, seed: int, place: Place | None = None, device: torch.device | str = "cpu"
    ) -> PartGenerator:
        return super().__new__(cls, device)  # type: ignore[call-arg]

    def __init__(
        self, seed: int, place: Place | None = None, device: torch.device | str = "cpu"
    ) -> None:
        super().__init__()
        self.manual_seed(seed)
        self.place = place


def rand(shape: Sequence[int], generator: torch.Generator, *, axis: int = 0) -> Tensor:
    """Uniform draws in [0, 1) of this shape; ``axis`` is the one of the samples."""
    return _own(torch.rand, shape, generator, axis)


def randn(shape: Sequence[int], generator: torch.Generator, *, axis: int = 0) -> Tensor:
    """Standard normal draws of this shape; ``axis`` is the one of the samples."""
    return _own(torch.randn, shape, generator, axis)


def _own(
    draw: Callable[..., Any], shape: Sequence[int], generator: torch.Generator, axis: int
) -> Tensor:
    place = getattr(generator, "place", None)
    if place is None:
        drawn: Tensor = draw(shape, generator=generator, device=generator.device)
        return drawn
    if shape[axis] != len(place.rows):
        raise RuntimeError(
            f"drawn for {shape[axis]} samples where this process has {len(place.rows)} of the batch"
        )
    whole = list(shape)
    whole[axis] = place.total
    drawn = draw(whole, generator=generator, device=generator.device)
    return drawn.index_select(axis, place.rows)


def branch(generator: torch.Generator) -> PartGenerator:
    """A generator for draws whose number depends on the samples, so that whatever is drawn later
    from ``generator`` does not.
    """
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    return PartGenerator(seed, getattr(generator, "place", None), generator.device)


def uniform(count: int, limits: tuple[float, float], generator: torch.Generator) -> Tensor:
    """(N,) uniform in [least, most)."""
    least, most = limits
    return least + (most - least) * rand((count,), generator)


def rows_drawn(count: int, probability: float, generator: torch.Generator) -> Tensor:
    """Rising int64 numbers of the samples that drew an operation; none at probability 0, all at
    1.
    """
    return (uniform(count, (0, 1), generator) < probability).nonzero().flatten()


def beta(
    shape: tuple[int, ...], parameters: tuple[float, float], generator: torch.Generator
) -> Tensor:
    """Draws from Beta(a, b): the share of a gamma variate of shape a in its sum with one of shape
    b.
    """
    first, second = (
        torch._standard_gamma(torch.full(shape, p, device=generator.device), generator=generator)
        for p in parameters
    )
    share: Tensor = first / (first + second)
    return share
