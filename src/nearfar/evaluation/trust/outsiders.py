"""Out-of-distribution detection: how far outside the training data a sample lies, and how well that
tells outsiders apart.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from sklearn.covariance import ledoit_wolf
from torch import Tensor

from nearfar.errors import UserError
from nearfar.evaluation.kernels.intervals import CONFIDENCE, Interval
from nearfar.evaluation.probes.knn import nearest

NEIGHBOURS = 10
RESAMPLES = 200
ACCEPTED = 0.95


def neighbour_distance(bank: Tensor, queries: Tensor, *, k: int = NEIGHBOURS) -> Tensor:
    """1 minus the cosine to the k-th nearest row of the bank (the last if it has fewer), (Q,), for
    bank (N, D) and queries (Q, D).

    Source: Sun et al. 2022, "Out-of-Distribution Detection with Deep Nearest Neighbors" (the same
        order as its Euclidean distance
    between unit features).
    """
    return 1 - nearest(bank, queries, k=k)[0][:, -1]


def mahalanobis(bank: Tensor, queries: Tensor, labels: Tensor | None = None) -> Tensor:
    """Squared Mahalanobis distance (Q,) to the nearest class mean, under one covariance within
    classes.

    The covariance is shrunk by Ledoit and Wolf's rule (scikit-learn), so that fewer samples than
    dimensions will do.

    Args:
        bank: (N, D).
        queries: (Q, D).
        labels: (N,) int64 classes of the bank; None takes all for one class.

    Source: Lee et al. 2018, "A Simple Unified Framework for Detecting Out-of-Distribution Samples
        and Adversarial Attacks", eq. 2.
    """
    x = bank.to("cpu", torch.float64)
    q = queries.to("cpu", torch.float64)
    place = (
        torch.zeros(len(x), dtype=torch.int64)
        if labels is None
        else torch.unique(labels.cpu(), return_inverse=True)[1]
    )
    means = (
        x.new_zeros(int(place.max()) + 1, x.shape[1]).index_add_(0, place, x)
        / place.bincount()[:, None]
    )
    covariance = torch.from_numpy(ledoit_wolf((x - means[place]).numpy(), assume_centered=True)[0])
    rounding = 1e-10 * max(float(covariance.diagonal().mean()), torch.finfo(torch.float64).tiny)
    root = torch.linalg.cholesky(
        covariance + rounding * torch.eye(len(covariance), dtype=torch.float64)
    )
    # In coordinates where the covariance is 1, Mahalanobis distances are Euclidean ones.
    white, white_means = (
        torch.linalg.solve_triangular(root, one.T, upper=False).T for one in (q, means)
    )
    return torch.cdist(white, white_means).square().amin(dim=1).to(queries)


def energy(logits: Tensor) -> Tensor:
    """Energy (Q,) of logits (Q, C) at temperature 1: -log sum exp; high for samples that no class
    claims.

    Source: Liu et al. 2020, "Energy-based Out-of-distribution Detection", eq. 4.
    """
    return -logits.logsumexp(dim=1)


class Detected(NamedTuple):
    """How well a score tells outsiders from insiders; intervals are percentiles of resampled
    samples.

    Attributes:
        auroc: area under the receiver operating characteristic, 0.5 by chance.
        aupr: average precision with outsiders as the positives; by chance their share.
        fpr95: share of the outsiders that is accepted where 95 % of the insiders are, 0.95 by
            chance.
    """

    auroc: Interval
    aupr: Interval
    fpr95: Interval


def detect(
    insiders: Tensor, outsiders: Tensor, *, resamples: int = RESAMPLES, seed: int = 0
) -> Detected:
    """Judge scores that should be higher for outsiders.

    Args:
        insiders: (N,) scores.
        outsiders: (M,) scores.
        resamples: bootstrap draws of both for the intervals.
        seed: of the draws.

    Raises:
        UserError: if there are no samples of either, or a score is NaN.
    """
    if not len(insiders) or not len(outsiders):
        raise UserError(
            f"There are {len(insiders)} insiders and {len(outsiders)} outsiders; expected at least "
            "one of each."
        )
    score = torch.cat([insiders, outsiders]).double().cpu()
    if score.isnan().any():
        raise UserError(
            f"{int(score.isnan().sum())} of {len(score)} scores are NaN; expected numbers."
        )
    generator = torch.Generator().manual_seed(seed)
    weights = torch.cat(
        [_counts(len(part), resamples, generator) for part in (insiders, outsiders)], dim=1
    )
    weights = torch.cat(
        [torch.ones(1, len(score), dtype=torch.float64), weights]
    )  # the first row: the samples themselves
    outside = torch.arange(len(score)) >= len(insiders)
    figures = _figures(score, outside, weights)
    return Detected(*(_interval(float(figure[0]), figure[1:]) for figure in figures))


def _interval(value: float, resampled: Tensor) -> Interval:
    """Percentiles, widened to the value itself: near 0 and 1 resampling, which repeats samples, can
    miss it.
    """
    tail = (1 - CONFIDENCE) / 2
    return Interval(
        value,
        min(value, float(resampled.quantile(tail))),
        max(value, float(resampled.quantile(1 - tail))),
    )


def _counts(samples: int, resamples: int, generator: torch.Generator) -> Tensor:
    """How often each sample occurs in each resample, (B, N)."""
    drawn = torch.randint(samples, (resamples, samples), generator=generator)
    return torch.zeros(resamples, samples, dtype=torch.float64).scatter_add_(
        1, drawn, torch.ones_like(drawn, dtype=torch.float64)
    )


def _figures(score: Tensor, outside: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """AUROC, AUPR and FPR95, each (B,), of samples weighted in B ways (B, N); equal scores are one
    threshold.
    """
    order = score.argsort(descending=True)
    end = torch.ones_like(outside)
    end[:-1] = score[order][1:] != score[order][:-1]
    weights = weights[:, order]
    outside = outside[order]
    found = (weights * outside).cumsum(dim=1)[:, end]  # outsiders at or above each threshold
    false = (weights * ~outside).cumsum(dim=1)[:, end]
    hits = found / found[:, -1:]
    alarms = false / false[:, -1:]
    hit_steps, alarm_steps = (
        x.diff(dim=1, prepend=torch.zeros_like(x[:, :1])) for x in (hits, alarms)
    )
    auroc = (alarm_steps * (hits - hit_steps / 2)).sum(dim=1)
    aupr = (hit_steps * found / (found + false).clamp(min=1)).sum(dim=1)
    allowed = alarms <= 1 - ACCEPTED + 1e-12
    return auroc, aupr, 1 - torch.where(allowed, hits, 0).amax(dim=1)
