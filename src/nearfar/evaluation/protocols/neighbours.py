"""Retrieval of samples of the same class, and clusters that should be the classes; nothing is
fitted to labels.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from nearfar.evaluation.features import Labelled
from nearfar.evaluation.measures.clustering import cluster
from nearfar.evaluation.measures.retrieval import retrieve
from nearfar.evaluation.protocol import Protocol, Row, averaged, needs_classes, share
from nearfar.evaluation.result import Score

MOST = 10_000
"""Test samples that are searched or clustered; more are drawn from at random."""


def _some(data: Labelled) -> Labelled:
    """At most ``MOST`` test samples, in random order, so that equal features are not found in the
    order of the classes.
    """
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[:MOST]
    return data[order.to(data.labels.device)]


def _retrieval(row: Row) -> Iterator[Score]:
    found = retrieve(_some(row.labelled[1]))
    if not len(found.precision):
        return
    for k in (1, 5, 10):
        yield share(
            row.name, RETRIEVAL.version, f"recall@{k}", [found.recall_at(k)], len(found.precision)
        )
    yield averaged(
        row.name,
        RETRIEVAL.version,
        "mean average precision",
        found.precision.tolist(),
        "test samples",
    )


def _clustering(row: Row) -> Iterator[Score]:
    data = _some(row.labelled[1])
    found = [cluster(data, seed=seed) for seed in range(row.task.wanted.seeds)]
    setting = f"{len(torch.unique(data.labels))} clusters"
    yield averaged(
        row.name,
        CLUSTERING.version,
        "cluster NMI",
        [one.information for one in found],
        "starts",
        unit="",
        setting=setting,
    )
    yield averaged(
        row.name,
        CLUSTERING.version,
        "cluster ARI",
        [one.rand for one in found],
        "starts",
        unit="",
        setting=setting,
    )
    accuracies = [one.accuracy for one in found]
    yield share(
        row.name,
        CLUSTERING.version,
        "cluster accuracy",
        accuracies,
        len(data),
        over="starts",
        setting=setting,
    )


RETRIEVAL = Protocol(
    "retrieval",
    "retrieval-v1",
    f"each test sample searches the other test samples (at most {MOST:,}) by cosine; recall@k: "
    "whether one of the k nearest has its "
    "class; mean average precision over the whole ranking; samples alone in their class do not "
    "search; interval over test samples",
    _retrieval,
    needs_classes,
    rank=60,
)
CLUSTERING = Protocol(
    "clustering",
    "clustering-v1",
    f"k-means (10 starts, the best) on the unit features of the test samples (at most {MOST:,}), "
    "as many clusters as they have "
    "classes; accuracy under the best matching of clusters and classes; mean over seeds; interval "
    "over seeds (t) or test samples "
    "(Wilson), the wider",
    _clustering,
    needs_classes,
    rank=65,
)
PROTOCOLS = (
    RETRIEVAL,
    CLUSTERING,
)
