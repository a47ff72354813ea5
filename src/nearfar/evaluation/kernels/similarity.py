"""Semantic similarity: are texts near in meaning near in the space?"""

from __future__ import annotations

import math

import torch
from scipy.special import ndtri
from scipy.stats import rankdata
from torch import Tensor
from torch.nn.functional import cosine_similarity

from nearfar.errors import UserError
from nearfar.evaluation.features import check_features
from nearfar.evaluation.kernels.intervals import CONFIDENCE, Interval


def similarity(first: Tensor, second: Tensor, closeness: Tensor) -> Interval:
    """Rank correlation of the cosines of paired features with annotated closeness, in [-1, 1]; NaN
    where one of them is constant.

    Args:
        first: (N, D), N at least 4.
        second: (N, D), the partners.
        closeness: (N,), higher for nearer.

    Returns:
        Spearman's coefficient with its interval.

    Raises:
        UserError: if shapes differ, there are fewer than 4 pairs, or a feature is not finite.

    Source: Bonett and Wright 2000, "Sample Size Requirements for Estimating Pearson, Kendall and
        Spearman Correlations", eq. 8.
    """
    check_features(first, "first texts")
    check_features(second, "second texts")
    if first.shape != second.shape or closeness.shape != first.shape[:1] or len(first) < 4:
        shapes = f"{tuple(first.shape)}, {tuple(second.shape)} and {tuple(closeness.shape)}"
        raise UserError(
            f"Features of two texts and their closeness have shapes {shapes}; expected (N, D) "
            "twice and (N,), N at least 4."
        )
    cosine = cosine_similarity(first.double(), second.double(), dim=1)
    ranks = [torch.from_numpy(rankdata(x.cpu().numpy())) for x in (cosine, closeness)]
    r = (
        float(torch.corrcoef(torch.stack(ranks))[0, 1])
        if all(float(rank.std()) for rank in ranks)
        else math.nan
    )
    half = float(ndtri((1 + CONFIDENCE) / 2)) * math.sqrt((1 + r * r / 2) / (len(first) - 3))
    z = math.atanh(max(-1 + 1e-12, min(1 - 1e-12, r))) if not math.isnan(r) else math.nan
    return Interval(r, math.tanh(z - half), math.tanh(z + half))
