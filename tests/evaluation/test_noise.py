"""The protocol for labels that were made wrong."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from nearfar.data.prepare import prepared
from nearfar.data.prepare.label_noise import CLEAN
from nearfar.data.samples import Source
from nearfar.errors import UserError
from nearfar.evaluation import Evaluation, Wanted, evaluate
from nearfar.methods.method import Method
from nearfar.results.classes import Classes
from nearfar.views import plain_view

from .toys import image_source

FOUND = "wrong labels found (AUC)"
LEARNED = "wrong labels learned"


class Known(Method):
    """Says of each sample, known by its pixels, what it was told."""

    predicts = Classes

    def __init__(self, source: Source, said: Tensor) -> None:
        encoder = nn.Flatten()
        encoder.dimension = 4  # type: ignore[assignment]
        super().__init__(encoder, source.spec)  # type: ignore[arg-type]
        x = plain_view(source.spec)(source.train.take(torch.arange(len(source.train))))
        self.known = x.flatten(1)
        self.said = said

    def predict(self, x: Any) -> Classes:
        nearest = torch.cdist(x.flatten(1), self.known).argmin(1)
        chance = 0.9 * one_hot(self.said[nearest], len(self.spec.classes)).float()
        return Classes(chance + 0.1 / len(self.spec.classes), self.spec.classes)


@pytest.fixture(scope="module")
def noisy() -> Source:
    return prepared(image_source(train=150), ("label-noise:rate=0.3",), seed=3)


def judged(source: Source, method: Any) -> Evaluation:
    return evaluate(
        method.eval(), source, plain_view(source.spec), wanted=Wanted(("noise",), seeds=1)
    )


def test_who_knows_the_truth_finds_all_and_learns_none(noisy: Source) -> None:
    found = judged(noisy, Known(noisy, noisy.train.annotations[CLEAN]))
    assert found.value(FOUND, "trained") == 1.0
    assert found.value(LEARNED, "trained") == 0.0


def test_who_learns_all_given_labels_finds_none(noisy: Source) -> None:
    assert noisy.train.label is not None
    found = judged(noisy, Known(noisy, noisy.train.label))
    assert found.value(FOUND, "trained") == 0.5
    assert found.value(LEARNED, "trained") == 1.0


def test_the_rows_beside_it(noisy: Source) -> None:
    found = judged(noisy, Known(noisy, noisy.train.annotations[CLEAN]))
    assert found.rows() == ["trained", "commonest class", "linear classifier"]
    assert abs(found.value(FOUND, "commonest class") - 0.5) < 0.1


def test_the_weights_of_a_method_that_weighs_decide(noisy: Source) -> None:
    class Weighing(Known):
        def trust(self, x: Any, label: Tensor) -> Tensor:
            return -super().trust(x, label)

    found = judged(noisy, Weighing(noisy, noisy.train.annotations[CLEAN]))
    assert found.value(FOUND, "trained") == 0.0


def test_labels_that_nobody_made_wrong_are_refused() -> None:
    source = image_source(train=150)
    assert source.train.label is not None
    with pytest.raises(UserError, match="label-noise"):
        judged(source, Known(source, source.train.label))


def test_a_method_without_classes_trusts_nothing(noisy: Source) -> None:
    class Silent(Known):
        predict = Method.predict

    assert noisy.train.label is not None
    with pytest.raises(UserError, match="predicts nothing"):
        Silent(noisy, noisy.train.label).trust(torch.zeros(1, 1, 8, 8), torch.zeros(1).long())
