"""VISReg: where a batch lies, how wide it is and what shape it has, each held by a term.

A batch of embeddings is standardised by its own mean and by its deviation. No gradient goes through
the deviation. Along random directions a of unit length the sorted values are then compared with the
normal distribution's quantiles: this is Wasserstein's distance in one dimension. The width has a
term whose gradient does not vanish where all embeddings are alike.

Source: Wu, Balestriero and Levine 2026, "VISReg: Variance-Invariance-Sketching Regularization for
JEPA training", equations 1 to 6.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nearfar.losses.kernels.blocks import in_row_blocks
from nearfar.losses.kernels.similarity import expect_shapes, full_precision

__all__ = ["normal_quantiles", "visreg_terms"]

_EPSILON = 1e-4


def normal_quantiles(count: int) -> Tensor:
    """The standard normal distribution's quantiles at i / (count + 1), i = 1 to count.

    Args:
        count: Number of samples, at least 1.

    Returns:
        (count,) float64.

    Example:
        >>> normal_quantiles(3)
        tensor([-0.6745,  0.0000,  0.6745], dtype=torch.float64)
    """
    shares = torch.arange(1, count + 1, dtype=torch.float64) / (count + 1)
    quantiles: Tensor = torch.special.ndtri(shares)
    return quantiles


@full_precision
def visreg_terms(views: Tensor, directions: Tensor) -> dict[str, Tensor]:
    """VISReg's three terms that hold embeddings against collapse, unweighted.

        centre = mean over v, d of (mean_n z_vnd)^2
        scale  = mean over v, d of (1 - s_vd)^2
        shape  = mean over v, a, i of (sorted_n((z_vn - mean) / (s_v + 1e-4) . a)_i - q_i)^2

    s is the population's deviation, constant in the shape, q_i the normal quantile at i / (N + 1).
    A block of directions is made at a time, so that memory does not grow with their number.

    Args:
        views: (V, N, D) embeddings of V views, N at least 2; each view is a batch by itself.
        directions: (M, D) unit vectors; constants.

    Returns:
        Scalars by the names "centre", "scale" and "shape".

    Raises:
        ValueError: If shapes do not fit.

    Example:
        >>> import torch
        >>> from nearfar.losses.redundancy.sketching import visreg_terms
        >>> terms = visreg_terms(torch.zeros(1, 4, 2), torch.eye(2))
        >>> terms["centre"], terms["scale"]
        (tensor(0.), tensor(1.))

    Source: Wu et al. 2026 (VISReg), equations 1 to 6 and algorithm 1.
    """
    expect_shapes(views=(views, "V N D"), directions=(directions, "M D"))
    samples = views.shape[1]
    if samples < 2:
        raise ValueError(f"A batch of {samples} has no width; expected at least 2 samples.")
    mean = views.mean(dim=1, keepdim=True)
    centred = views - mean
    # the root's gradient at 0 is infinite, and 0 times that is no number
    variance = centred.square().mean(dim=1)
    is_flat = variance == 0
    deviation = variance.masked_fill(is_flat, 1.0).sqrt().masked_fill(is_flat, 0.0)
    standard = centred / (deviation.detach()[:, None] + _EPSILON)
    wanted = normal_quantiles(samples).to(views)[:, None]
    along = directions.detach().to(views)

    def distance(block: slice) -> Tensor:
        values = (standard @ along[block].T).sort(dim=1).values
        return (values - wanted).square().mean(dim=(0, 1))

    shape = in_row_blocks(distance, along, columns=views.shape[0] * samples)
    return {
        "centre": mean.square().mean(),
        "scale": (1 - deviation).square().mean(),
        "shape": shape.mean(),
    }
