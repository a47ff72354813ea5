"""Weights of real-valued labels by how rare their neighbourhood is."""

from __future__ import annotations

import torch
from torch import Tensor

from nearfar.errors import UserError, unknown_name

KINDS = ("none", "inverse", "inverse-root")

_BLOCK = 2**22


def density_weights(label: Tensor, *, kind: str = "inverse-root", bandwidth: float = 2.0) -> Tensor:
    """A weight for each sample, 1 on average: the inverse of the smoothed number of samples around
    its label, or of its root.

        density(y) = sum_j exp(-|y - y_j|^2 / (2 bandwidth^2))

    Args:
        label: (N,) or (N, K) floats.
        kind: "inverse", "inverse-root", or "none" (all 1).
        bandwidth: standard deviation of the smoothing in units of the label, above 0.

    Returns:
        (N,) float32.

    Raises:
        UserError: for an unknown kind or a bandwidth that is not above 0.

    Source: Yang et al. 2021, "Delving into Deep Imbalanced Regression", section 3.1 (label
        distribution smoothing), with the kernel
    over labels instead of bins.
    """
    if kind not in KINDS:
        raise unknown_name("density weight", kind, KINDS)
    if bandwidth <= 0:
        raise UserError(
            f"The bandwidth of the density of labels is {bandwidth}; expected a number above 0."
        )
    if kind == "none":
        return torch.ones(len(label), device=label.device)
    values, place, count = torch.unique(
        label.double().view(len(label), -1), dim=0, return_inverse=True, return_counts=True
    )
    rows = max(1, _BLOCK // len(values))
    parts = [
        torch.exp(-(torch.cdist(part, values) / bandwidth).square() / 2) @ count.double()
        for part in torch.split(values, rows)
    ]
    weight = torch.cat(parts)[place].pow(-1.0 if kind == "inverse" else -0.5)
    return (weight / weight.mean()).float()
