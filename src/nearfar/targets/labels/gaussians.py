"""Gaussians of classes: cleaned of outliers, and calibrated for classes with few samples.

Source: Zhang et al. 2023, "When Noisy Labels Meet Long Tail Dilemmas: A Representation Calibration
Method" (RCAL); what is not in its abstract is chosen here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nearfar.errors import UserError

__all__ = [
    "ClassGaussians",
    "calibrated",
    "draw_balanced",
    "local_outlier_factor",
    "robust_gaussians",
]


@dataclass(frozen=True)
class ClassGaussians:
    """A Gaussian for each of K classes.

    Attributes:
        mean: (K, D).
        covariance: (K, D, D), with n - 1; 0 for a class of one sample.
        count: (K,) int64 samples with the label, outliers among them.
        factor: (N,) local outlier factor of each sample within its class.
        kept: (N,) bool, samples that are no outliers.
    """

    mean: Tensor
    covariance: Tensor
    count: Tensor
    factor: Tensor
    kept: Tensor


def local_outlier_factor(features: Tensor, *, neighbours: int = 20) -> Tensor:
    """How much sparser it is around each row than around its neighbours; about 1 for inliers.

        reach(a, b) = max(kdist(b), |a - b|)
        lrd(a) = 1 / (mean over neighbours b of reach(a, b) + 1e-10)
        LOF(a) = mean over neighbours b of lrd(b) / lrd(a)

    Args:
        features: (N, D).
        neighbours: k, at least 1; at most N - 1 are used. A single row has 1.

    Returns:
        (N,) float64.

    Example:
        >>> local_outlier_factor(torch.tensor([[0.0], [1.0], [2.0], [30.0]]), neighbours=2).argmax()
        tensor(3)

    Source: Breunig et al. 2000, "LOF: Identifying Density-Based Local Outliers", as scikit-learn
    has it.
    """
    from sklearn.neighbors import LocalOutlierFactor

    if neighbours < 1:
        raise UserError(f"The outlier factor by {neighbours} neighbours was asked for; expected 1.")
    rows = features.detach().cpu().double()
    if len(rows) < 2:
        return torch.ones(len(rows), dtype=torch.float64)
    model = LocalOutlierFactor(n_neighbors=min(neighbours, len(rows) - 1))
    model.fit(rows.numpy())
    return torch.from_numpy(-np.asarray(model.negative_outlier_factor_))


def robust_gaussians(
    features: Tensor,
    label: Tensor,
    *,
    classes: int,
    neighbours: int = 20,
    limit: float = 1.5,
    noise_rate: float | None = None,
) -> ClassGaussians:
    """Mean and covariance of each class without its outliers.

    Args:
        features: (N, D).
        label: (N,) int64 noisy classes, each with at least one sample.
        classes: K.
        neighbours: Of the outlier factor within a class.
        limit: A larger factor is an outlier.
        noise_rate: Share of each class with the largest factors that is dropped instead.

    Raises:
        UserError: If a class has no sample, or the noise rate is not in [0, 1).

    Example:
        >>> label = torch.tensor([0, 1, 0, 1])
        >>> found = robust_gaussians(torch.eye(2).repeat(2, 1), label, classes=2)
        >>> found.mean
        tensor([[1., 0.],
                [0., 1.]], dtype=torch.float64)
    """
    rows, place = features.detach().cpu().double(), label.detach().cpu()
    if rows.ndim != 2 or place.shape != (len(rows),):
        raise UserError(
            f"Features (N, D) and labels (N,); found {tuple(rows.shape)} and {tuple(place.shape)}."
        )
    if noise_rate is not None and not 0 <= noise_rate < 1:
        raise UserError(f"The noise rate is {noise_rate}; expected 0 to below 1.")
    count = torch.bincount(place, minlength=classes)
    if len(count) > classes or bool((count == 0).any()):
        raise UserError(
            f"Each of the {classes} classes needs a sample; found {count.tolist()[:20]}."
        )
    factor = torch.ones(len(rows), dtype=torch.float64)
    kept = torch.ones(len(rows), dtype=torch.bool)
    means, covariances = [], []
    for one in range(classes):
        members = (place == one).nonzero()[:, 0]
        factor[members] = local_outlier_factor(rows[members], neighbours=neighbours)
        if noise_rate is None:
            kept[members] = factor[members] <= limit
        else:
            dropped = int(noise_rate * len(members))
            order = factor[members].argsort(descending=True, stable=True)
            kept[members[order[:dropped]]] = False
        inside = rows[members[kept[members]]]
        means.append(inside.mean(dim=0))
        centred = inside - inside.mean(dim=0)
        covariances.append(centred.T @ centred / max(len(inside) - 1, 1))
    return ClassGaussians(torch.stack(means), torch.stack(covariances), count, factor, kept)


def calibrated(
    gaussians: ClassGaussians,
    *,
    heads: int,
    nearest: int = 3,
    share: float = 0.3,
    disturbance: float = 0.1,
    squared: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Classes with few samples borrow from the nearest classes with many.

        m'_k = g sum_c w_c m_c + (1 - g) m_k
        S'_k = g sum_c w_c S_c + (1 - g) S_k + a,   w_c = n_c / sum n over the nearest head classes

    Args:
        gaussians: Of K classes.
        heads: Number of classes, those with most samples, that lend and do not borrow; 1 to K.
        nearest: q, heads that a class borrows from.
        share: g, from 0 to 1.
        disturbance: a, added to every number of a borrower's covariance, from 0 on.
        squared: Whether covariances are mixed with g^2, w^2 and (1 - g)^2.

    Returns:
        (K, D) means, (K, D, D) covariances and (K,) bool, which classes are heads.

    Example:
        >>> features, label = torch.tensor([[0.0], [2], [9]]), torch.tensor([0, 0, 1])
        >>> ones = robust_gaussians(features, label, classes=2)
        >>> calibrated(ones, heads=1)[0]
        tensor([[1.0000],
                [6.6000]], dtype=torch.float64)
    """
    classes = len(gaussians.mean)
    if not 1 <= heads <= classes or nearest < 1 or not 0 <= share <= 1 or not disturbance >= 0:
        raise UserError(
            f"Calibration with {heads} heads of {classes} classes, {nearest} nearest, share {share}"
            f" and disturbance {disturbance}; expected heads from 1 to {classes}, at least 1,"
            " 0 to 1 and at least 0."
        )
    order = gaussians.count.argsort(descending=True, stable=True)
    is_head = torch.zeros(classes, dtype=torch.bool)
    is_head[order[:heads]] = True
    lenders = is_head.nonzero()[:, 0]
    mean, covariance = gaussians.mean.clone(), gaussians.covariance.clone()
    power = 2 if squared else 1
    for one in (~is_head).nonzero()[:, 0].tolist():
        distance = (gaussians.mean[lenders] - gaussians.mean[one]).norm(dim=1)
        chosen = lenders[distance.argsort(stable=True)[:nearest]]
        weight = gaussians.count[chosen].double()
        weight = weight / weight.sum()
        mean[one] = share * weight @ gaussians.mean[chosen] + (1 - share) * gaussians.mean[one]
        lent = torch.einsum("c,cij->ij", weight**power, gaussians.covariance[chosen])
        own = (1 - share) ** power * gaussians.covariance[one]
        covariance[one] = share**power * lent + own + disturbance
    return mean, covariance, is_head


def draw_balanced(
    mean: Tensor,
    covariance: Tensor,
    count: Tensor,
    generator: torch.Generator,
    *,
    ridge: float = 1e-6,
) -> tuple[Tensor, Tensor]:
    """Points from each class's Gaussian, so that with its samples it is as large as the largest.

    Args:
        mean: (K, D).
        covariance: (K, D, D).
        count: (K,) samples that are there.
        generator: Source of the draws.
        ridge: Added to the diagonal, relative to its mean and at least itself.

    Returns:
        (M, D) points and (M,) int64 classes.

    Example:
        >>> points, label = draw_balanced(
        ...     torch.zeros(2, 1), torch.ones(2, 1, 1), torch.tensor([3, 1]), torch.Generator()
        ... )
        >>> points.shape, label.tolist()
        (torch.Size([2, 1]), [1, 1])
    """
    lacking = count.max() - count
    label = torch.repeat_interleave(torch.arange(len(mean)), lacking)
    eye = torch.eye(mean.shape[1], dtype=mean.dtype)
    values, vectors = torch.linalg.eigh(covariance + ridge * eye)
    root = vectors * values.clamp(min=0).sqrt()[:, None]
    noise = torch.randn(len(label), mean.shape[1], generator=generator, dtype=mean.dtype)
    return mean[label] + torch.einsum("mij,mj->mi", root[label], noise), label
