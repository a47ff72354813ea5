"""The geometry of a set of features: how spread, how tight within classes, how many dimensions are
used.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from nearfar.errors import UserError
from nearfar.evaluation.features import Labelled, check_features
from nearfar.evaluation.probes.knn import nearest
from nearfar.losses.instance.behaviour import penalty_entropy

UNIFORMITY_LIMIT = 10_000
_BLOCK = 1024


def alignment(first: Tensor, second: Tensor) -> float:
    """Mean squared distance between the unit embeddings of two views of the same samples, both (N,
    D); 0 (best) to 4.

    Source: Wang and Isola 2020, "Understanding Contrastive Representation Learning through
        Alignment and Uniformity
    on the Hypersphere", section 4.1, with exponent 2.
    """
    if first.shape != second.shape:
        raise UserError(
            f"The views have shapes {tuple(first.shape)} and {tuple(second.shape)}; expected the "
            "same."
        )
    return float((_unit(first) - _unit(second)).square().sum(dim=1).mean())


def penalty_evenness(first: Tensor, second: Tensor, *, temperature: float = 0.1) -> float:
    """How evenly a contrastive loss would push other samples away: mean entropy of their shares in
    its gradient, over log(N - 1).

    0 where the nearest sample takes all, 1 where all are equally near. ``first`` and ``second``:
    unit or other embeddings (N, D) of two views of the same N samples, N at least 3 (below, NaN).

    Source: Wang and Liu 2021, "Understanding the Behaviour of Contrastive Loss", the entropy of the
        relative penalty.
    """
    if first.shape != second.shape:
        raise UserError(
            f"The views have shapes {tuple(first.shape)} and {tuple(second.shape)}; expected the "
            "same."
        )
    if len(first) < 3:
        return math.nan
    entropy = penalty_entropy(_unit(first) @ _unit(second).T, temperature=temperature)
    return float(entropy.double().mean()) / math.log(len(first) - 1)


def uniformity(
    features: Tensor, *, t: float = 2.0, limit: int = UNIFORMITY_LIMIT, seed: int = 0
) -> float:
    """log of the mean over distinct pairs of exp(-t |u - v|^2) on unit features (N, D); -4 t
    (spread) to 0 (one point).

    Above ``limit`` samples a random ``limit`` of them, drawn from ``seed``, stand for all.

    Source: Wang and Isola 2020, section 4.1.
    """
    u = _unit(features)
    if len(u) > limit:
        u = u[
            torch.randperm(len(u), generator=torch.Generator().manual_seed(seed))[:limit].to(
                u.device
            )
        ]
    if len(u) < 2:
        raise UserError("Uniformity is defined for pairs; found 1 sample, expected at least 2.")
    total = 0.0
    for start in range(0, len(u), _BLOCK):
        cosine = u[start : start + _BLOCK] @ u[start:].T
        potential = (2 * t * (cosine - 1)).clamp_(max=0).exp_()
        total += float(potential.triu_(diagonal=1).sum())
    return math.log(total / (len(u) * (len(u) - 1) / 2))


def tolerance(data: Labelled) -> float:
    """Mean cosine between distinct samples of one class; -1 to 1, high where classes are tight.

    Source: Wang and Liu 2021, "Understanding the Behaviour of Contrastive Loss", read as the mean
        within classes.
    """
    u = _unit(data.features)
    count = data.labels.bincount(minlength=data.classes).to(u.dtype)
    pairs = float((count * (count - 1)).sum())
    if not pairs:
        raise UserError("Tolerance is defined for pairs of one class; no class has two samples.")
    sums = u.new_zeros(data.classes, u.shape[1]).index_add_(0, data.labels, u)
    return float(sums.square().sum() - u.square().sum()) / pairs


def scatter_ratio(data: Labelled) -> float:
    """Mean squared distance between distinct samples of one class, over that between samples of
    different classes; 0 is best.

    A common scale of all features does not matter.

    Raises:
        UserError: if no class has two samples, or there is one class.

    Source: after Zhang et al. 2021 ("Unleashing the Power of Contrastive Self-Supervised Visual
        Models"), its analysis of intra and inter
    class distances.
    """
    x = data.features.double() - data.features.double().mean(dim=0)
    label = data.labels
    count = label.bincount(minlength=data.classes).to(x)
    sums = x.new_zeros(data.classes, x.shape[1]).index_add_(0, label, x)
    squares = x.new_zeros(data.classes).index_add_(0, label, x.square().sum(dim=1))
    # Over ordered pairs sum |a - b|^2 = 2 n sum |a|^2 - 2 |sum a|^2.
    within = float((2 * count * squares - 2 * sums.square().sum(dim=1)).sum())
    total = float(2 * len(x) * squares.sum() - 2 * sums.sum(dim=0).square().sum())
    pairs_within = float((count * (count - 1)).sum())
    pairs = float(len(x) * (len(x) - 1))
    if not 0 < pairs_within < pairs:
        raise UserError(
            "The scatter ratio compares pairs of one class with pairs of two; expected both, in at "
            "least 2 classes."
        )
    between = (total - within) / (pairs - pairs_within)
    return within / pairs_within / between if between else math.nan


def neighbourhood_purity(data: Labelled, *, k: int = 10) -> float:
    """Share of each sample's k nearest others that have its label, averaged over samples; in [0,
    1].
    """
    if len(data) < 2:
        raise UserError("Neighbourhood purity needs at least 2 samples; found 1.")
    _, row = nearest(data.features, data.features, k=k + 1)
    # Among exact copies of a sample it need not be its own first neighbour: drop it wherever it
    # stands, else the last.
    own = row == torch.arange(len(data), device=row.device)[:, None]
    own[:, -1] |= ~own.any(dim=1)
    others = row[~own].view(len(data), -1)
    return float((data.labels[others] == data.labels[:, None]).double().mean())


def effective_rank(features: Tensor) -> float:
    """Number of dimensions in use: exp of the entropy of the centred features' singular values, as
    shares of their sum.

    Args:
        features: (N, D).

    Returns:
        0 if all rows are equal (up to rounding), otherwise 1 to min(N - 1, D).

    Source: Roy and Vetterli 2007, "The effective rank". RankMe (Garrido et al. 2023) is the same
        without centring.
    """
    check_features(features, "geometry")
    x = features.to("cpu", torch.float64)
    rounding = torch.finfo(torch.float32).eps * float(
        x.norm()
    )  # below, a singular value of float32 features says nothing
    x = x - x.mean(dim=0)
    gram = x.T @ x if len(x) > x.shape[1] else x @ x.T
    singular = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt()
    singular = singular[singular > rounding]
    if not len(singular):
        return 0.0
    share = singular / singular.sum()
    return float(torch.special.entr(share).sum().exp())


def relative_std(features: Tensor) -> float:
    """Mean standard deviation per dimension of the unit features (N, D), relative to 1 / sqrt(D).

    About 1 where features fill the sphere, 0 where all are one point.

    Source: Chen and He 2021, "Exploring Simple Siamese Representation Learning", section 4.1.
    """
    u = _unit(features)
    return float(u.std(dim=0, correction=0).mean()) * math.sqrt(u.shape[1])


def _unit(features: Tensor) -> Tensor:
    return F.normalize(check_features(features, "geometry"), dim=1)
