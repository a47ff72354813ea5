"""Contrast of regions within a feature map: thirteen places, each against the places around it."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from nearfar.losses.kernels.similarity import (
    expect_shapes,
    expect_temperature,
    full_precision,
    unit,
)

__all__ = ["region_contrast", "region_places", "volume_region_contrast"]

_PLACES = ("00", "0h", "0m", "h0", "hh", "hm", "m0", "mh", "mm", "qq", "qt", "tq", "tt")
_NEAR_LARGE = (
    "0h qq qh h0 hq",
    "00 0m qq qt hh",
    "0h qh qt ht hm",
    "00 qq hh m0 tq",
    "qq qt tq tt h0",
    "0m hh mm qt tt",
    "h0 hq mh tq th",
    "hh m0 mm tq tt",
    "ht hm mh tt th",
    "00 0h h0 hh qt",
    "0h 0m qq hh hm",
    "h0 hh m0 mh tt",
    "hh hm mh mm tq",
)
_NEAR_SMALL = (
    "0h h0 hh qq qt",
    "00 0m hh qq qt",
    "0h hh hm tq qt",
    "00 hh m0 qq tq",
    "qq qt tq tt h0",
    "0m hh mm qt tt",
    "h0 hh mh tq qq",
    "hh m0 mm tq tt",
    "hh hm mh tt tq",
    "00 0h h0 hh qt",
    "0h 0m hh hm tt",
    "h0 hh m0 0h qq",
    "hh hm mh mm qt",
)


def region_places(side: int, region: Literal[1, 3] = 3) -> tuple[Tensor, Tensor]:
    """Corners of the thirteen regions of a feature map, and of five negatives near each.

    Args:
        side: Of the map.
        region: Side of a region.

    Returns:
        (13, 2) int64 rows and columns, and (13, 5, 2).

    Example:
        >>> places, near = region_places(10)
        >>> places[4].tolist(), near[4].tolist()
        ([3, 3], [[1, 1], [1, 4], [4, 1], [4, 4], [3, 0]])

    Source: Chaitanya et al. 2020, authors' code.
    """
    if region not in (1, 3):
        raise ValueError(f"A region is 1 or 3 wide; found {region}.")
    most = side - 4 if region == 3 else side - 1
    if most < 1:
        raise ValueError(f"A map of side {side} is too small for regions of side {region}.")
    step = {"0": 0, "m": most, "h": most // 2, "q": most // 4, "t": 3 * most // 4}

    def corners(text: str) -> list[list[int]]:
        return [[step[one[0]], step[one[1]]] for one in text.split()]

    near = [corners(text) for text in (_NEAR_LARGE if region == 3 else _NEAR_SMALL)]
    return torch.tensor(corners(" ".join(_PLACES))), torch.tensor(near)


@full_precision
def region_contrast(
    first: Tensor,
    second: Tensor,
    weight: Tensor | None = None,
    *,
    temperature: float | Tensor = 0.1,
    negatives: Literal["near", "all"] = "near",
) -> Tensor:
    """L^R: each region must find itself in the other view of the map, among regions around it.

        l(a, b) = -s(a_r, b_r) + log( exp(s(a_r, b_r)) + sum_n exp(s(a_r, a_n)) + exp(s(a_r, b_n)) )
        s = cosine / tau;  n runs over the regions near r
        loss = sum of l / (13 * 2 B) over images, both directions and the 13 regions r

    Args:
        first: (B, C, S, S) maps of B images after one change of intensity.
        second: (B, C, S, S) after another.
        weight: (9 C, D) maps a 3 x 3 region, row by row with channels last, to its vector; None
            takes single places with their C numbers.
        temperature: tau, above 0; a scalar tensor receives its gradient.
        negatives: "near" for the five listed, "all" for the twelve other regions.

    Example:
        >>> import torch
        >>> maps = torch.ones(1, 2, 5, 5)
        >>> region_contrast(maps, maps)
        tensor(2.3979)

    Source: Chaitanya et al. 2020, equation 2; the listed negatives are of the authors' code.
    """
    if negatives not in ("near", "all"):
        raise ValueError(f"Unknown negatives {negatives!r}: valid are 'near' and 'all'.")
    expect_shapes(first=(first, "B C S S"), second=(second, "B C S S"))
    expect_temperature(temperature)
    a, b = _views((first, second), weight, negatives, 5)
    both = _terms(a, b, temperature) + _terms(b, a, temperature)
    return both.sum() / (13 * 2 * len(first))


@full_precision
def volume_region_contrast(
    first: Tensor,
    second: Tensor,
    weight: Tensor | None = None,
    *,
    partitions: int = 4,
    temperature: float | Tensor = 0.1,
) -> Tensor:
    """L^D: a region must find itself in its augmentation and in its partition of other volumes.

        anchor map k against the augmented map k and the maps k + P, k + 2 P (mod B) of other
        volumes;  l(a, b) as in ``region_contrast`` with four negatives;  loss = sum / (13 * 2 B)

    Args:
        first: (B, C, S, S) maps of B = V P slices, volume by volume.
        second: (B, C, S, S) of their augmentations.
        weight: As in ``region_contrast``.
        partitions: P; B must be at least 3 P, so that there are two other volumes.
        temperature: tau, above 0; a scalar tensor receives its gradient.

    Example:
        >>> import torch
        >>> maps = torch.ones(3, 2, 5, 5)
        >>> volume_region_contrast(maps, maps, partitions=1)
        tensor(3.2958)

    Source: Chaitanya et al. 2020, section 3.2, authors' code.
    """
    expect_shapes(first=(first, "B C S S"), second=(second, "B C S S"))
    if partitions < 1 or len(first) % partitions or len(first) < 3 * partitions:
        raise ValueError(
            f"Slices must be those of at least 3 volumes of {partitions} partitions;"
            f" found {len(first)}."
        )
    expect_temperature(temperature)
    a, b = _views((first, second), weight, "near", 4)
    others = [(a[0].roll(-s, 0), a[1].roll(-s, 0)) for s in (partitions, 2 * partitions)]
    total = torch.stack([_terms(a, one, temperature).sum() for one in (b, *others)]).sum()
    return total / (13 * 2 * len(first))


def _vectors(maps: Tensor, weight: Tensor | None, corners: Tensor) -> Tensor:
    """Unit vectors (B, K, D) of the regions at K corners."""
    side = 1 if weight is None else 3
    parts = [
        maps[:, :, row : row + side, column : column + side].permute(0, 2, 3, 1).flatten(1)
        for row, column in corners.tolist()
    ]
    flat = torch.stack(parts, dim=1)
    return unit(flat if weight is None else flat @ weight)


def _views(
    maps: tuple[Tensor, Tensor], weight: Tensor | None, negatives: str, count: int
) -> list[tuple[Tensor, Tensor]]:
    """The thirteen regions (B, 13, D) of each map, and those near each (B, 13, k, D)."""
    if weight is not None and weight.shape[0] != 9 * maps[0].shape[1]:
        expected = f"({9 * maps[0].shape[1]}, D)"
        raise ValueError(f"weight must be {expected}; found {tuple(weight.shape)}.")
    places, near = region_places(maps[0].shape[2], 1 if weight is None else 3)
    found = []
    for one in maps:
        regions = _vectors(one, weight, places)
        if negatives == "all":
            other = [[j for j in range(len(places)) if j != i] for i in range(len(places))]
            around = regions[:, torch.tensor(other, device=one.device)]
        else:
            around = _vectors(one, weight, near[:, :count].flatten(0, 1))
            around = around.view(len(one), len(places), count, -1)
        found.append((regions, around))
    return found


def _terms(
    anchor: tuple[Tensor, Tensor], partner: tuple[Tensor, Tensor], temperature: float | Tensor
) -> Tensor:
    """l(a, b) of each region, (B, 13)."""
    regions, around = anchor
    positive = (regions * partner[0]).sum(dim=2, keepdim=True)
    others = [torch.einsum("bpd,bpkd->bpk", regions, one) for one in (around, partner[1])]
    logits = torch.cat([positive, *others], dim=2) / temperature
    return logits.logsumexp(dim=2) - logits[..., 0]
