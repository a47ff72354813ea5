"""Differentiable sorting networks: a fixed pattern of comparisons whose swaps are soft, so that the
order has a gradient.

A comparison of two wires keeps them as they are with probability F(steepness (upper - lower)) and
swaps them otherwise; both outputs are the mixtures of the two inputs, and the permutation matrix
mixes along. F is a symmetric distribution function. The number of layers depends on the number of
wires alone, and all comparisons of a layer happen at once.

Source: Petersen et al. 2021, "Differentiable Sorting Networks for Scalable Sorting and Ranking
Supervision" (odd-even, bitonic, logistic, logistic_phi); Petersen et al. 2022, "Monotonic
Differentiable Sorting Networks" (the other distributions).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from nearfar.losses.kernels.similarity import full_precision

__all__ = ["bitonic_layers", "odd_even_layers", "soft_sort"]


def odd_even_layers(wires: int, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """The odd-even network: as many layers as wires; layer l compares (i, i + 1) for i = l mod 2, l
    mod 2 + 2, ...

    Returns:
        ``partner`` (layers, wires) int64: which wire each wire is compared with, itself where it is
        not compared; and ``minimum`` (layers, wires) bool: whether a wire receives the smaller of
        the two values.
    """
    wire = torch.arange(wires, device=device)
    minimum = (wire - wire[:, None]) % 2 == 0
    partner = torch.where(minimum, wire + 1, wire - 1)
    return torch.where((partner < 0) | (partner >= wires), wire, partner), minimum


def bitonic_layers(wires: int, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """The bitonic network: k (k + 1) / 2 layers for up to 2^k wires, of which fewer wires take the
    last places.

    In layer j = 0..b of block b = 0..k-1 places are compared over a distance of 2^(b - j), falling
    instead of rising in every second run of 2^(b + 1) places. Comparisons with a place that no wire
    takes are left out.

    Returns:
        ``partner`` and ``minimum`` as for ``odd_even_layers``.
    """
    blocks = (wires - 1).bit_length()
    steps = [(b, 2 ** (b - j)) for b in range(blocks) for j in range(b + 1)]
    block, distance = torch.tensor(steps, dtype=torch.int64, device=device).view(-1, 2, 1).unbind(1)
    missing = 2**blocks - wires
    place = torch.arange(missing, 2**blocks, device=device)
    partner = (place ^ distance) - missing
    falling = (place >> (block + 1)) % 2 == 1
    minimum = ((place & distance) == 0) ^ falling
    return torch.where(partner < 0, place - missing, partner), minimum


def _optimal(v: Tensor) -> Tensor:
    """Linear in the middle, hyperbolic outside: the monotonic choice with the least error."""
    return 0.5 + torch.where(
        v.abs() <= 0.25, v, v.sign() * (0.5 - 0.0625 / v.abs().clamp(min=0.25))
    )


_DISTRIBUTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "cauchy": lambda v: torch.atan(v) / math.pi + 0.5,
    "logistic": torch.sigmoid,
    "gaussian": lambda v: 0.5 + 0.5 * torch.erf(v / math.sqrt(2.0)),
    "reciprocal": lambda v: 0.5 + 0.5 * v / (2.0 + v.abs()),
    "optimal": _optimal,
}
"""Of steepness times difference; "logistic_phi" is the logistic one of a rescaled difference."""

_NETWORKS = {"odd_even": odd_even_layers, "bitonic": bitonic_layers}


def _probability(
    difference: Tensor, steepness: float, distribution: str, exponent: float
) -> Tensor:
    """How likely a wire keeps its value, given by how much it is right in doing so."""
    if distribution == "logistic_phi":
        return torch.sigmoid(steepness * difference / (difference.abs() + 1e-10) ** exponent)
    return _DISTRIBUTIONS[distribution](steepness * difference)


@full_precision
def soft_sort(
    values: Tensor,
    *,
    steepness: float = 1.0,
    network: str = "odd_even",
    distribution: str = "cauchy",
    exponent: float = 0.25,
) -> tuple[Tensor, Tensor]:
    """Sort softly along the last axis, smallest first.

    Args:
        values: (..., n).
        steepness: inverse scale of the distribution, above 0; towards infinity the sort becomes
            exact.
        network: "odd_even" or "bitonic".
        distribution: "cauchy", "logistic", "logistic_phi", "gaussian", "reciprocal" or "optimal".
        exponent: lambda of "logistic_phi", in [0, 1): differences are divided by
            |difference|^lambda.

    Returns:
        sorted values (..., n), and the doubly stochastic matrix (..., n, n) of how much input i
        (row) takes rank r (column).

    Raises:
        ValueError: for an unknown network or distribution.
    """
    distributions = [*_DISTRIBUTIONS, "logistic_phi"]
    if network not in _NETWORKS or distribution not in distributions:
        raise ValueError(
            f"Unknown sorting network {network!r} with distribution {distribution!r}: "
            f"networks are {', '.join(_NETWORKS)}, distributions are {', '.join(distributions)}."
        )
    wires = values.shape[-1]
    permutation = torch.eye(wires, dtype=values.dtype, device=values.device).expand(
        *values.shape, wires
    )
    for partner, minimum in zip(*_NETWORKS[network](wires, values.device), strict=True):
        other = values[..., partner]
        gain = torch.where(minimum, other - values, values - other)
        keep = _probability(gain, steepness, distribution, exponent)
        values = torch.lerp(other, values, keep)
        permutation = torch.lerp(permutation[..., partner], permutation, keep.unsqueeze(-2))
    return values, permutation
