"""The spectral contrastive loss and what a linear network learns from it."""

from __future__ import annotations

import torch
from torch import Tensor

from nearfar.losses.kernels.similarity import expect_rows, full_precision

__all__ = ["feature_gains", "linear_minimiser", "spectral_contrast"]


@full_precision
def spectral_contrast(z1: Tensor, z2: Tensor) -> Tensor:
    """Spectral contrastive loss of un-normalised embeddings.

        - 2 mean_i z1_i . z2_i + mean_{i != j} (z1_i . z2_j)^2

    Args:
        z1: (N, D) embeddings of one view, N at least 2.
        z2: (N, D) embeddings of the other.

    Example:
        >>> import torch
        >>> from nearfar.losses.instance.spectral import spectral_contrast
        >>> spectral_contrast(torch.eye(3), torch.eye(3))
        tensor(-2.)

    Source: HaoChen et al. 2021, equation 6; the sum over squares is taken through D x D moments, so
    no N x N matrix is kept.
    """
    expect_rows(z1=z1, z2=z2)
    count = len(z1)
    if count < 2:
        raise ValueError(
            f"spectral_contrast needs at least 2 samples to have negatives, found {count}."
        )
    positive = (z1 * z2).sum(1)
    squares = ((z1.T @ z1) * (z2.T @ z2)).sum() - positive.square().sum()
    return -2 * positive.mean() + squares / (count * (count - 1))


def linear_minimiser(
    second_moment: Tensor, pair_moment: Tensor, rank: int
) -> tuple[Tensor, Tensor]:
    """Population minimiser of the spectral loss over f(x) = W x with ``rank`` rows.

        minimise - 2 tr(G Sp) + tr(G S G S), G = W^T W:  G = S^(-1/2) [ S^(-1/2) Sp S^(-1/2) ]_rank
        S^(-1/2)

    Args:
        second_moment: S = E[x x^T], (D, D), positive definite.
        pair_moment: Sp = E[x x'^T] of two views, (D, D), symmetric.
        rank: width of W; [.]_rank keeps the largest positive eigenvalues.

    Returns:
        G (D, D) and the kept eigenvalues in falling order; the minimum is minus the sum of their
        squares.

    Source: Xue et al. 2024 (benefits of the projection head), linear case; re-derived.
    """
    values, vectors = torch.linalg.eigh(second_moment)
    whitening = vectors @ torch.diag(values.rsqrt()) @ vectors.T
    kept, directions = torch.linalg.eigh(whitening @ pair_moment @ whitening)
    kept = kept[-rank:].clamp(min=0).flip(0)
    directions = directions[:, -rank:].flip(1)
    root = whitening @ directions
    return root @ torch.diag(kept) @ root.T, kept


def feature_gains(strength: Tensor, noise: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """How strongly a trained linear model passes on orthogonal features, after and before its
    projection head.

        after: phi / (phi^2 + sigma^2) for the ``rank`` features with the largest phi^2 / (phi^2 +
            sigma^2), else 0;
        before (after the first of two balanced layers): the square root, so weights are more even
        there

    Args:
        strength: (D,) phi, above 0.
        noise: (D,) sigma, what augmentation changes along each feature.
        rank: features that are kept.

    Returns:
        Gains (D,) after the head and before it.

    Source: Xue et al. 2024, theorem on layer-wise feature weighting.
    """
    share = strength.square() / (strength.square() + noise.square())
    after = torch.zeros_like(strength)
    kept = share.topk(rank).indices
    after[kept] = (strength / (strength.square() + noise.square()))[kept]
    return after, after.sqrt()
