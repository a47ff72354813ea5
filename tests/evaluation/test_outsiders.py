"""Scores of outsiders against scikit-learn, and detection against scikit-learn and torchmetrics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.covariance import LedoitWolf
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve
from sklearn.neighbors import NearestNeighbors
from torch.nn import functional as F
from torchmetrics.classification import BinaryAUROC, BinaryAveragePrecision

from nearfar.errors import UserError
from nearfar.evaluation import Wanted, evaluate
from nearfar.evaluation.trust.outsiders import detect, energy, mahalanobis, neighbour_distance
from nearfar.views import plain_view

from .toys import Flatten, blobs, image_source


@pytest.mark.parametrize("digits", [1, 8])  # with ties and without
def test_detection_equals_scikit_learn_and_torchmetrics(digits: int) -> None:
    inside = torch.randn(300).double().round(decimals=digits)
    outside = (torch.randn(120).double() + 1).round(decimals=digits)
    score = torch.cat([inside, outside])
    truth = torch.arange(420) >= 300
    found = detect(inside, outside)
    assert found.auroc.value == pytest.approx(roc_auc_score(truth, score))
    assert found.aupr.value == pytest.approx(average_precision_score(truth, score))
    false, true, _ = roc_curve(~truth, -score, drop_intermediate=False)
    assert found.fpr95.value == pytest.approx(false[np.argmax(true >= 0.95 - 1e-12)])
    squashed = (score - score.min()) / (
        score.max() - score.min()
    )  # torchmetrics wants probabilities
    assert found.auroc.value == pytest.approx(
        float(BinaryAUROC()(squashed.float(), truth.int())), abs=1e-4
    )
    assert found.aupr.value == pytest.approx(
        float(BinaryAveragePrecision()(squashed.float(), truth.int())), abs=1e-3
    )
    for low, value, high in ((i.low, i.value, i.high) for i in found):
        assert 0 <= low <= value <= high <= 1
        assert 0.02 < high - low < 0.5


def test_chance_perfection_and_equal_scores() -> None:
    found = detect(torch.zeros(50), torch.zeros(30))
    assert (found.auroc.value, found.aupr.value, found.fpr95.value) == pytest.approx(
        (0.5, 30 / 80, 1)
    )
    assert [i.value for i in detect(torch.zeros(50), torch.ones(30))] == [1, 1, 0]
    same = detect(torch.randn(2000), torch.randn(2000))
    assert same.auroc.low < 0.5 < same.auroc.high
    assert same.fpr95.value == pytest.approx(0.95, abs=0.03)


def test_intervals_repeat_and_cover() -> None:
    assert detect(torch.arange(20.0), torch.arange(10.0)) == detect(
        torch.arange(20.0), torch.arange(10.0)
    )
    covered = 0
    for _ in range(60):
        found = detect(torch.randn(150), torch.randn(150) + 1).auroc
        covered += (
            found.low <= 0.7602 <= found.high
        )  # the normal distribution's value at 1 / sqrt(2)
    assert covered >= 52


def test_neighbour_distance_orders_like_scikit_learns() -> None:
    bank = torch.randn(80, 5).double()
    queries = torch.randn(30, 5).double()
    unit, asked = (F.normalize(x, dim=1).numpy() for x in (bank, queries))
    distance = NearestNeighbors(n_neighbors=10).fit(unit).kneighbors(asked)[0][:, -1]
    torch.testing.assert_close(2 * neighbour_distance(bank, queries), torch.from_numpy(distance**2))
    assert neighbour_distance(bank[:3], queries).shape == (30,)


def test_mahalanobis_equals_scikit_learn() -> None:
    bank = torch.randn(200, 6).double() * torch.logspace(-1, 1, 6)
    queries = torch.randn(40, 6).double()
    expected = LedoitWolf().fit(bank.numpy()).mahalanobis(queries.numpy())
    torch.testing.assert_close(
        mahalanobis(bank, queries), torch.from_numpy(expected), rtol=1e-5, atol=1e-8
    )


def test_mahalanobis_takes_the_nearest_class_and_survives_few_samples() -> None:
    data = blobs(200, spread=0.5)
    near = mahalanobis(data.features, data.features, data.labels)
    assert float(near.mean()) < float(mahalanobis(data.features, data.features).mean()) + 12
    far = mahalanobis(data.features, data.features + 20, data.labels)
    assert float(far.min()) > float(near.max())
    few = mahalanobis(torch.randn(5, 50), torch.randn(7, 50), torch.tensor([0, 0, 4, 4, 4]))
    assert few.isfinite().all()
    assert mahalanobis(torch.ones(5, 3), torch.ones(2, 3)).tolist() == [0, 0]


def test_energy_is_low_where_a_class_is_sure() -> None:
    sure, unsure = energy(torch.tensor([[9.0, 0, 0], [0.1, 0, 0]])).tolist()
    assert sure < unsure
    assert unsure == pytest.approx(-float(np.log(np.exp(0.1) + 2)), rel=1e-6)


def test_errors() -> None:
    with pytest.raises(UserError, match="0 insiders and 3 outsiders"):
        detect(torch.ones(0), torch.ones(3))
    with pytest.raises(UserError, match="1 of 4 scores are NaN"):
        detect(torch.tensor([1.0, float("nan")]), torch.ones(2))


def test_the_protocol_needs_outsiders_and_tells_them_apart() -> None:
    source = image_source()
    view = plain_view(image_source().spec)
    noise = image_source(target="none", train=40, test=None).train
    noise.content[:] = torch.randint(0, 255, noise.content.shape, dtype=torch.uint8)
    with pytest.raises(
        UserError, match=r"'ood' needs other data to tell apart \(--outsiders DATA\)"
    ):
        evaluate(Flatten().eval(), source, view, wanted=Wanted(("ood",)))
    found = evaluate(
        Flatten().eval(), source, view, wanted=Wanted(("ood",), seeds=1, outsiders=noise)
    )
    assert len(found.metrics()) == 9
    assert found.value("outsiders by Mahalanobis: AUROC") > 0.8
    assert found.score("outsiders by energy: AUPR").setting == "40 outsiders"
    values = evaluate(
        Flatten().eval(),
        image_source(target="none"),
        view,
        wanted=Wanted(("ood",), seeds=1, outsiders=noise),
    )
    assert len(values.metrics()) == 6, "no logits, no energy"
