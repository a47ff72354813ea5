"""Losses on the statistics of a batch: the two views agree, and no dimension repeats another.

Embeddings are not made unit rows; statistics are over the whole batch given. Half types are
computed in float32.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import batch_norm, mse_loss

from nearfar.losses.kernels.similarity import expect_rows, full_precision

__all__ = ["barlow_twins", "vicreg", "vicreg_terms"]


@full_precision
def barlow_twins(z1: Tensor, z2: Tensor, *, off_diagonal: float = 0.0051) -> Tensor:
    """Barlow Twins' loss: the cross-correlation of the two views' dimensions should be the
    identity.

        loss = sum_i (C_ii - 1)^2 + lambda sum_{i != j} C_ij^2,   C = zhat1^T zhat2 / N

    zhat is z standardised over the batch, as batch norm does: biased variance, 1e-5 added.

    Args:
        z1, z2: (N, D) embeddings of the two views, N at least 2.
        off_diagonal: lambda, the weight of the second term.

    Example:
        >>> import torch
        >>> from nearfar.losses import barlow_twins
        >>> z = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
        >>> barlow_twins(z, z.flip(1))
        tensor(2.0102)

    Source: Zbontar et al. 2021, "Barlow Twins: Self-Supervised Learning via Redundancy Reduction",
    equations 1 and 2.
    """
    expect_rows(least=2, z1=z1, z2=z2)
    x: Tensor = batch_norm(z1, None, None, training=True, eps=1e-5) / len(z1) ** 0.5
    y: Tensor = batch_norm(z2, None, None, training=True, eps=1e-5) / len(z2) ** 0.5
    return ((x * y).sum(dim=0) - 1).square().sum() + off_diagonal * _off_diagonal_squares(x, y)


@full_precision
def vicreg(
    z1: Tensor,
    z2: Tensor,
    *,
    invariance: float = 25.0,
    variance: float = 25.0,
    covariance: float = 1.0,
) -> Tensor:
    """VICReg's loss: the weighted sum of the three terms of :func:`vicreg_terms`.

    Example:
        >>> import torch
        >>> from nearfar.losses import vicreg
        >>> z = torch.eye(3)
        >>> vicreg(z, z)
        tensor(10.6752)

    Source: Bardes et al. 2021, "VICReg: Variance-Invariance-Covariance Regularization", equation 6.
    """
    terms = vicreg_terms(z1, z2)
    return (
        invariance * terms["invariance"]
        + variance * terms["variance"]
        + covariance * terms["covariance"]
    )


@full_precision
def vicreg_terms(z1: Tensor, z2: Tensor) -> dict[str, Tensor]:
    """VICReg's three terms, unweighted.

        invariance = mean over samples and dimensions of (z1 - z2)^2
        variance   = 1/2 sum over views of mean_d max(0, 1 - sqrt(var_d + 1e-4))
        covariance = sum over views of (1 / D) sum_{i != j} cov_ij^2

    Variances and covariances are unbiased. The half in the variance term is the authors' code's,
    not the paper's.

    Args:
        z1, z2: (N, D) embeddings of the two views, N at least 2.

    Returns:
        Scalars by the names "invariance", "variance" and "covariance".

    Example:
        >>> import torch
        >>> from nearfar.losses import vicreg_terms
        >>> z = torch.eye(3)
        >>> vicreg_terms(z, z)["covariance"]
        tensor(0.1111)

    Source: Bardes et al. 2021, "VICReg: Variance-Invariance-Covariance Regularization", equations 1
    to 5.
    """
    expect_rows(least=2, z1=z1, z2=z2)
    n, dimensions = z1.shape
    centred = [(z - z.mean(dim=0)) / (n - 1) ** 0.5 for z in (z1, z2)]
    spread = [(x.square().sum(dim=0) + 1e-4).sqrt() for x in centred]
    return {
        "invariance": mse_loss(z1, z2),
        "variance": sum(((1 - std).relu().mean() / 2 for std in spread), z1.new_zeros(())),
        "covariance": sum(
            (_off_diagonal_squares(x, x) / dimensions for x in centred), z1.new_zeros(())
        ),
    }


def _off_diagonal_squares(x: Tensor, y: Tensor) -> Tensor:
    """sum_{i != j} (x^T y)_ij^2 for x and y (N, D), by way of whichever is smaller, D x D or N x N.

    The full sum of squares is also the sum of (x x^T) * (y y^T). With far fewer samples than
    dimensions it costs less by a factor D / 2N, and since the rank is at most N, the diagonal that
    is then taken off is a small part of it.
    """
    samples, dimensions = x.shape
    if 2 * samples > dimensions:
        return (x.T @ y).fill_diagonal_(0.0).square().sum()
    first = x @ x.T
    second = first if y is x else y @ y.T
    return (first * second).sum() - (x * y).sum(dim=0).square().sum()
