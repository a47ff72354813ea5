"""How far outside of the training data features are, by Gaussians with one covariance."""

from __future__ import annotations

import torch
from torch import Tensor

from nearfar.errors import UserError

__all__ = ["insider_scores", "telling_apart"]


def insider_scores(
    features: Tensor, label: Tensor, queries: Tensor, *, relative: bool = False
) -> Tensor:
    """Minus the smallest squared Mahalanobis distance to a class; higher means more inside.

        score(x) = - min_c (x - m_c)^T S^+ (x - m_c)
        S = 1/N sum_i (f_i - m_c(i)) (f_i - m_c(i))^T
        relative: score(x) + the squared distance to one Gaussian of all features

    Args:
        features: (N, D) of training data.
        label: (N,) int64 classes.
        queries: (Q, D).
        relative: Whether the distance to all training data is taken off.

    Returns:
        (Q,) float64.

    Example:
        >>> features = torch.tensor([[0.0], [2.0], [10.0], [12.0]])
        >>> insider_scores(features, torch.tensor([0, 0, 1, 1]), torch.tensor([[1.0], [6.0]]))
        tensor([ -0., -25.], dtype=torch.float64)

    Source: Lee et al. 2018, "A Simple Unified Framework for Detecting Out-of-Distribution Samples";
    Ren et al. 2021, "A Simple Fix to Mahalanobis Distance for Improving Near-OOD Detection".
    """
    rows, asked = features.detach().cpu().double(), queries.detach().cpu().double()
    if rows.ndim != 2 or asked.shape[1:] != rows.shape[1:] or label.shape != (len(rows),):
        found = f"{tuple(rows.shape)}, {tuple(label.shape)} and {tuple(asked.shape)}"
        raise UserError(f"Features (N, D), labels (N,) and queries (Q, D); found {found}.")
    _, place = torch.unique(label.detach().cpu(), return_inverse=True)
    near = _squared(rows, place, asked).amin(dim=1)
    if not relative:
        return -near
    return _squared(rows, torch.zeros_like(place), asked)[:, 0] - near


def telling_apart(
    inside: Tensor, outside: Tensor, *, accepted: float = 0.95
) -> tuple[float, float]:
    """How well scores tell insiders, which score higher, from outsiders.

        AUROC = P(inside > outside) + P(inside = outside) / 2
        FPR = share of outsiders at or above the ceil(accepted n)-th best insider

    Args:
        inside: (n,) scores.
        outside: (m,) scores.
        accepted: Share of insiders that is accepted, above 0 and at most 1.

    Returns:
        AUROC in [0, 1] and FPR in [0, 1].

    Example:
        >>> telling_apart(torch.tensor([3.0, 2.0]), torch.tensor([1.0, 2.0]))
        (0.875, 0.5)

    Source: Hendrycks and Gimpel 2017, "A Baseline for Detecting Misclassified and
    Out-of-Distribution Examples".
    """
    if not len(inside) or not len(outside) or not 0 < accepted <= 1:
        found = f"{len(inside)} insiders, {len(outside)} outsiders, {accepted} accepted"
        raise UserError(f"Scores of both kinds are needed, and a share above 0; found {found}.")
    one, other = inside.detach().cpu().double(), outside.detach().cpu().double().sort()[0]
    below = torch.searchsorted(other, one)
    upto = torch.searchsorted(other, one, right=True)
    area = float((below + upto).double().mean()) / (2 * len(other))
    rank = -int(-accepted * len(one) // 1)
    threshold = one.sort(descending=True)[0][rank - 1]
    return area, float((other >= threshold).double().mean())


def _squared(rows: Tensor, place: Tensor, queries: Tensor) -> Tensor:
    """Squared Mahalanobis distances (Q, C) to class means."""
    count = torch.bincount(place)
    means = rows.new_zeros(len(count), rows.shape[1]).index_add_(0, place, rows) / count[:, None]
    centred = rows - means[place]
    inverse = torch.linalg.pinv(centred.T @ centred / len(rows), hermitian=True)
    offset = queries[:, None] - means
    return torch.einsum("qcd,de,qce->qc", offset, inverse, offset)
