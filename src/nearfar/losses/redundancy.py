"""Losses that make embedding dimensions informative and unlike each other: Barlow Twins and VICReg."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import relu

from nearfar.losses.similarity import expect_rows, full_precision

__all__ = ["barlow_twins", "cross_correlation", "standardise", "vicreg", "vicreg_terms"]

_EPSILON = 1e-5
"""Of batch norm, which the authors of Barlow Twins standardise with."""


@full_precision
def barlow_twins(z1: Tensor, z2: Tensor, *, off_diagonal: float = 0.0051) -> Tensor:
    """Make the cross-correlation of two views the identity.

        sum_i (C_ii - 1)^2 + lambda sum_{i != j} C_ij^2,  C = zhat1^T zhat2 / N, columns standardised over the batch

    Args:
        z1: (N, D) embeddings of view 1, not normalised; N at least 2.
        z2: (N, D) of view 2.
        off_diagonal: lambda, at least 0.

    Source: Zbontar et al. 2021 (Barlow Twins), equations 1 and 2; sums, not means, and biased variance with 1e-5 added, as in
    the authors' code.
    """
    correlation = cross_correlation(z1, z2)
    diagonal = correlation.diagonal()
    return (diagonal - 1).square().sum() + off_diagonal * (correlation.square().sum() - diagonal.square().sum())


@full_precision
def cross_correlation(z1: Tensor, z2: Tensor) -> Tensor:
    """C = zhat1^T zhat2 / N, (D, D), of embeddings (N, D) with columns standardised over the batch."""
    expect_rows(least=2, z1=z1, z2=z2)
    return standardise(z1).T @ standardise(z2) / len(z1)


def standardise(z: Tensor) -> Tensor:
    """Columns of (N, D) to mean 0 and variance 1 over the batch, as batch norm does: biased variance, 1e-5 added."""
    variance, mean = torch.var_mean(z, dim=0, correction=0)
    return (z - mean) * (variance + _EPSILON).rsqrt()


@full_precision
def vicreg(z1: Tensor, z2: Tensor, *, invariance: float = 25.0, variance: float = 25.0, covariance: float = 1.0) -> Tensor:
    """Views alike, every dimension spread out, no two dimensions alike.

        invariance inv + variance var + covariance cov, see ``vicreg_terms``

    Args:
        z1: (N, D) embeddings of view 1, not normalised; N at least 2.
        z2: (N, D) of view 2.
        invariance: weight of inv.
        variance: weight of var.
        covariance: weight of cov.

    Source: Bardes et al. 2021 (VICReg), equation 6.
    """
    terms = vicreg_terms(z1, z2)
    return invariance * terms["invariance"] + variance * terms["variance"] + covariance * terms["covariance"]


@full_precision
def vicreg_terms(z1: Tensor, z2: Tensor) -> dict[str, Tensor]:
    """VICReg's three terms without their weights.

        inv = mean over N D of (z1 - z2)^2
        var = 1/2 sum over views of mean_d max(0, 1 - sqrt(Var_d + 1e-4)), unbiased variance
        cov = sum over views of 1/D sum_{i != j} Cov_ij^2, Cov = centred^T centred / (N - 1)

    Args:
        z1: (N, D), N at least 2.
        z2: (N, D).

    Source: Bardes et al. 2021 (VICReg), equations 1 to 5; var is halved as in the authors' code.
    """
    expect_rows(least=2, z1=z1, z2=z2)
    parts = [_spread(z) for z in (z1, z2)]
    return {
        "invariance": (z1 - z2).square().mean(),
        "variance": (parts[0][0] + parts[1][0]) / 2,
        "covariance": parts[0][1] + parts[1][1],
    }


def _spread(z: Tensor) -> tuple[Tensor, Tensor]:
    """The variance hinge and the covariance penalty of one view, from one covariance matrix."""
    centred = z - z.mean(dim=0)
    covariance = centred.T @ centred / (len(z) - 1)
    variance = covariance.diagonal()
    hinge = relu(1 - (variance + 1e-4).sqrt()).mean()
    return hinge, (covariance.square().sum() - variance.square().sum()) / z.shape[1]
