"""Clusters of features, and how well they are the classes."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix
from torch.nn import functional as F

from nearfar.evaluation.features import Labelled, check_features


class Clustered(NamedTuple):
    """Agreement of clusters and classes.

    Attributes:
        information: normalised mutual information, in [0, 1].
        rand: adjusted Rand index, 0 by chance, at most 1.
        accuracy: share of samples in the cluster that is matched with their class, in (0, 1].
    """

    information: float
    rand: float
    accuracy: float


def cluster(data: Labelled, *, seed: int = 0) -> Clustered:
    """k-means (scikit-learn, the best of 10 starts) on unit features, as many clusters as classes
    occur.
    """
    unit = F.normalize(check_features(data.features, "clustering"), dim=1).float().cpu().numpy()
    labels = data.labels.cpu().numpy()
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", ConvergenceWarning
        )  # fewer distinct points than clusters: collapsed, which the scores show
        assigned = KMeans(len(np.unique(labels)), n_init=10, random_state=seed).fit_predict(unit)
    return agreement(labels, assigned)


def agreement(labels: NDArray[np.int64], assigned: NDArray[np.int64]) -> Clustered:
    """Agreement of classes (N,) and clusters (N,), both integers; clusters are matched with classes
    by the Hungarian method.
    """
    table = contingency_matrix(labels, assigned)
    matched = table[linear_sum_assignment(table, maximize=True)].sum()
    return Clustered(
        float(normalized_mutual_info_score(labels, assigned)),
        float(adjusted_rand_score(labels, assigned)),
        float(matched) / len(labels),
    )
