"""Retrieval and clustering against torchmetrics, scikit-learn and loops."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from torch.nn import functional as F
from torchmetrics.clustering import AdjustedRandScore, NormalizedMutualInfoScore
from torchmetrics.retrieval import RetrievalHitRate, RetrievalMAP

from nearfar.evaluation.features import Labelled
from nearfar.evaluation.measures.clustering import agreement, cluster
from nearfar.evaluation.measures.retrieval import retrieve

from .toys import blobs


@pytest.mark.parametrize("block", [1, 2**23])
def test_retrieval_equals_torchmetrics(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nearfar.evaluation.measures.retrieval._BLOCK", block)
    data = blobs(80, spread=2.5)
    data = Labelled(data.features.double(), data.labels, 4)
    unit = F.normalize(data.features, dim=1)
    others = ~torch.eye(80, dtype=torch.bool)
    # torchmetrics takes relevant samples of negative similarity for irrelevant, so that it is
    # shifted here
    similarity = (unit @ unit.T + 1)[others]
    relevant = (data.labels[:, None] == data.labels)[others]
    query = torch.arange(80).repeat_interleave(79)
    found = retrieve(data)
    assert 0.3 < float(found.precision.mean()) < 0.9
    assert float(found.precision.mean()) == pytest.approx(
        float(RetrievalMAP()(similarity, relevant, indexes=query)), rel=1e-5
    )
    for k in (1, 5, 10):
        assert found.recall_at(k) == pytest.approx(
            float(RetrievalHitRate(top_k=k)(similarity, relevant, indexes=query))
        )


def test_samples_alone_in_their_class_do_not_search() -> None:
    data = Labelled(torch.randn(7, 3), torch.tensor([0, 0, 1, 1, 1, 2, 3]), 5)
    assert len(retrieve(data).precision) == 5
    assert len(retrieve(Labelled(torch.randn(3, 3), torch.arange(3), 3)).precision) == 0


def test_perfect_and_collapsed_features() -> None:
    labels = torch.arange(40) % 4
    perfect = retrieve(Labelled(F.one_hot(labels).float(), labels, 4))
    assert float(perfect.precision.min()) == 1.0
    assert perfect.recall_at(1) == 1.0
    drawn = torch.randint(4, (400,))
    assert abs(retrieve(Labelled(torch.ones(400, 5), drawn, 4)).recall_at(1) - 0.25) < 0.08


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")  # torchmetrics' own
def test_agreement_equals_torchmetrics_and_scikit_learn_and_the_best_of_all_matchings() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(4, size=60)
    assigned = np.where(random.random(60) < 0.6, (labels + 1) % 4, random.integers(4, size=60))
    found = agreement(labels, assigned)
    best = max(np.mean(np.array(order)[assigned] == labels) for order in permutations(range(4)))
    assert found.accuracy == pytest.approx(best)
    assert found.information == pytest.approx(normalized_mutual_info_score(labels, assigned))
    assert found.rand == pytest.approx(adjusted_rand_score(labels, assigned))
    tensors = torch.from_numpy(assigned), torch.from_numpy(labels)
    assert found.information == pytest.approx(
        float(NormalizedMutualInfoScore()(*tensors)), rel=1e-4
    )
    assert found.rand == pytest.approx(float(AdjustedRandScore()(*tensors)), rel=1e-4)


def test_clusters_of_blobs_are_the_classes_and_seeds_repeat() -> None:
    data = blobs(200, spread=0.3)
    found = cluster(data)
    assert found == (1.0, 1.0, 1.0)
    assert cluster(blobs(200, spread=3.0), seed=2) == cluster(blobs(200, spread=3.0), seed=2)


def test_collapsed_features_have_no_clusters() -> None:
    labels = torch.arange(40) % 4
    found = cluster(Labelled(torch.ones(40, 3), labels, 4))
    assert found.rand == 0
    assert found.accuracy == 0.25
