"""How many samples each class has, of which a part is labelled and other classes are unknown."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.functional import normalize

from nearfar.errors import UserError

__all__ = ["counts_from_clusters", "estimate_class_counts"]


def estimate_class_counts(
    features: Tensor, label: Tensor, labelled: Tensor, *, classes: int, known: int, seed: int = 0
) -> Tensor:
    """Sizes of all classes by k-means on unit features.

    Args:
        features: (N, D) of all samples.
        label: (N,) int64, read where ``labelled``; known classes are 0 to ``known`` - 1.
        labelled: (N,) bool.
        classes: K, known and novel together.
        known: Number of known classes, each with a labelled sample.
        seed: Of k-means.

    Returns:
        (K,) float64: known classes in order, then novel ones, the largest first.

    Raises:
        UserError: If a known class has no labelled sample, or there are fewer samples than classes.

    Source: Bai et al. 2023, "Towards Distribution-Agnostic Generalized Category Discovery",
    section 3.2.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    if not 1 <= known <= classes <= len(features):
        raise UserError(
            f"There are {known} known of {classes} classes and {len(features)} samples;"
            " expected known at most classes at most samples."
        )
    rows = normalize(features.detach().cpu().double(), dim=1).numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct rows than clusters
        cluster = KMeans(classes, n_init=10, random_state=seed).fit_predict(rows)
    given = np.where(labelled.cpu().numpy(), label.cpu().numpy(), -1)
    return torch.from_numpy(counts_from_clusters(cluster, given, classes=classes, known=known))


def counts_from_clusters(
    cluster: NDArray[np.int64], label: NDArray[np.int64], *, classes: int, known: int
) -> NDArray[np.float64]:
    """Sizes of classes from clusters: clusters are matched with known classes, sizes by their rank.

    Each known class takes, of the sizes of the clusters that are matched with known classes, the
    one whose rank is the rank of its number of labelled samples.

    Args:
        cluster: (N,) cluster of each sample, 0 to K - 1.
        label: (N,) known class of labelled samples, -1 of others.
        classes: K.
        known: Number of known classes.

    Returns:
        (K,) sizes.

    Example:
        >>> cluster, label = np.array([0, 0, 0, 1, 1, 2]), np.array([-1, -1, -1, 0, 0, 1])
        >>> counts_from_clusters(cluster, label, classes=3, known=2).tolist()
        [2.0, 1.0, 3.0]
    """
    held = np.bincount(label[label >= 0], minlength=known)
    if len(held) > known or (held[:known] == 0).any():
        lacking = np.flatnonzero(held[:known] == 0).tolist()
        raise UserError(
            f"Every known class needs a labelled sample, and labels go to {known - 1};"
            f" classes without one: {lacking}, largest label: {int(label.max())}."
        )
    sizes = np.bincount(cluster, minlength=classes)
    table = np.zeros((classes, known))
    np.add.at(table, (cluster[label >= 0], label[label >= 0]), 1)
    share = table / np.maximum(sizes, 1)[:, None]
    matched, _ = linear_sum_assignment(share.max() - share)
    counts = np.empty(classes)
    counts[np.argsort(held, kind="stable")] = np.sort(sizes[matched])
    others = np.delete(sizes, matched)
    counts[known:] = np.sort(others)[::-1]
    return counts
