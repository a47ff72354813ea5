"""Contrast of slices by their partition: the same part of each volume shows the same anatomy."""

from __future__ import annotations

import torch
from torch import Tensor

from nearfar.losses.kernels.similarity import (
    expect_shapes,
    expect_temperature,
    full_precision,
    unit,
)

__all__ = ["partition_alignment", "partition_contrast"]


@full_precision
def partition_contrast(
    z: Tensor,
    *,
    partitions: int = 4,
    temperature: float | Tensor = 0.1,
    reduction: str = "mean",
) -> Tensor:
    """G^{D-}: a slice must find its augmentations; slices of the same partition are no negatives.

        l(a, b) = -s_ab + log( exp(s_ab) + sum over rows n of other partitions of exp(s_an) )
        s = cosine / tau;   pairs (x, x'), (x, x''), (x', x''), each in both directions

    Args:
        z: (3 B, D): B originals x, then their first and their second augmentation. Row r is of
            partition r mod ``partitions``, which divides B. Made unit rows here.
        partitions: P, at least 2.
        temperature: tau, above 0; a scalar tensor receives its gradient.
        reduction: "mean" over the 6 B directed pairs, or "released": the sum over 3 B rows, as in
            the authors' code, twice as much.

    Example:
        >>> import torch
        >>> partition_contrast(torch.eye(2).repeat(3, 1), partitions=2, temperature=1.0)
        tensor(0.7437)

    Source: Chaitanya et al. 2020, "Contrastive learning of global and local features for medical
    image segmentation with limited annotations", equation 1 and section 3.1.
    """
    expect_shapes(z=(z, "rows D"))
    rows = _checked(z, 3, partitions)
    first, second, third = torch.arange(len(z), device=z.device).view(3, rows)
    anchor = torch.cat([first, second, first, third, second, third])
    partner = torch.cat([second, first, third, first, third, second])
    return _reduced(z, anchor, partner, partitions, temperature, reduction)


@full_precision
def partition_alignment(
    z: Tensor,
    *,
    partitions: int = 4,
    temperature: float | Tensor = 0.1,
    reduction: str = "mean",
) -> Tensor:
    """G^D: a slice must find its augmentation and the same partition of another volume.

        l(a, b) as in ``partition_contrast``;  for each block x of originals, with the next three
        blocks x', y, y':  pairs (x, x'), (x, y), (y, y'), (x', y'), each in both directions

    Args:
        z: (4 B, D) in blocks of P rows: originals of a volume, their augmentations, originals of
            another volume, their augmentations, the originals of the next volume and so on; blocks
            wrap round. Made unit rows here.
        partitions: P, at least 2.
        temperature: tau, above 0; a scalar tensor receives its gradient.
        reduction: "mean" over the directed pairs, or "released": the sum over all rows, as in the
            authors' code.

    Example:
        >>> import torch
        >>> partition_alignment(torch.eye(2).repeat(4, 1), partitions=2, temperature=1.0)
        tensor(0.9048)

    Source: Chaitanya et al. 2020, section 3.1 (G^D).
    """
    expect_shapes(z=(z, "rows D"))
    _checked(z, 4, partitions)
    block = torch.arange(len(z), device=z.device).view(-1, partitions)
    original, augmented, other, other_augmented = (block.roll(-step, 0)[::2] for step in range(4))
    one = torch.cat([original, original, other, augmented]).flatten()
    two = torch.cat([augmented, other, other_augmented, other_augmented]).flatten()
    anchor, partner = torch.cat([one, two]), torch.cat([two, one])
    return _reduced(z, anchor, partner, partitions, temperature, reduction)


def _checked(z: Tensor, sets: int, partitions: int) -> int:
    """The number of rows in a set."""
    if partitions < 2 or len(z) % (sets * partitions):
        raise ValueError(
            f"z must hold {sets} sets of a multiple of the {partitions} partitions, at least 2;"
            f" found {len(z)} rows."
        )
    return len(z) // sets


def _reduced(
    z: Tensor,
    anchor: Tensor,
    partner: Tensor,
    partitions: int,
    temperature: float | Tensor,
    reduction: str,
) -> Tensor:
    expect_temperature(temperature)
    if reduction not in ("mean", "released"):
        raise ValueError(f"Unknown reduction {reduction!r}: valid are 'mean' and 'released'.")
    rows = unit(z)
    similarity = rows @ rows.T / temperature
    place = torch.arange(len(z), device=z.device) % partitions
    same = place[:, None] == place
    negatives = similarity.masked_fill(same, -torch.inf).logsumexp(dim=1)
    positive = similarity[anchor, partner]
    losses = torch.logaddexp(positive, negatives[anchor]) - positive
    return losses.mean() if reduction == "mean" else losses.sum() / len(z)
