"""Measures of the medical benchmark: golden values, extremes, errors."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from nearfar.errors import UserError
from nearfar.evaluation.measures.probabilities import judge_probabilities
from nearfar.evaluation.trust.gaussian_outsiders import insider_scores, telling_apart
from tests.losses.cases import close, named
from tests.references import ReferenceCase

Golden = Callable[[str], ReferenceCase]


@pytest.mark.parametrize("name", named("e-bench-ood-*"))
def test_outsiders_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    given = case["in_train_features"], case["in_train_labels"]
    scores = {}
    for part in ("id", "ood"):
        for relative, key in ((False, ""), (True, "rel_")):
            found = insider_scores(*given, case[f"in_{part}_features"], relative=relative)
            close(found, case[f"out_{key}score_{part}"])
            scores[key + part] = found
    area, rate = telling_apart(scores["id"], scores["ood"])
    assert area == pytest.approx(case["out_auroc"].item(), 1e-8)
    assert rate == pytest.approx(case["out_fpr95"].item(), 1e-8)
    relative_area, _ = telling_apart(scores["rel_id"], scores["rel_ood"])
    assert relative_area == pytest.approx(case["out_rel_auroc"].item(), 1e-8)


@pytest.mark.parametrize("name", named("e-bench-metrics-*"))
def test_probabilities_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    found = judge_probabilities(case["in_probabilities"], case["in_labels"])
    assert found.accuracy == pytest.approx(case["out_accuracy"].item(), 1e-8)
    assert found.balanced_accuracy == pytest.approx(case["out_balanced_accuracy"].item(), 1e-8)
    assert found.auc == pytest.approx(case["out_auc"].item(), 1e-8)
    assert found.calibration_error == pytest.approx(case["out_ece"].item(), 1e-8)


def test_many_classes_are_judged_one_against_the_rest() -> None:
    chance = torch.eye(3).repeat(2, 1) * 0.8 + 0.2 / 3
    found = judge_probabilities(chance, torch.tensor([0, 1, 2, 0, 1, 2]))
    assert found[:3] == (1, 1, 1)
    assert found.calibration_error == pytest.approx(1 - 0.8 - 0.2 / 3)
    assert math.isnan(judge_probabilities(chance[:1], torch.tensor([0])).auc)


def test_a_singular_covariance_is_no_error() -> None:
    features = torch.randn(6, 10)
    assert torch.isfinite(insider_scores(features, torch.tensor([0, 1] * 3), features)).all()


def test_wrong_inputs_get_one_sentence() -> None:
    with pytest.raises(UserError, match="Features"):
        insider_scores(torch.zeros(2, 3), torch.zeros(2), torch.zeros(2, 4))
    with pytest.raises(UserError, match="both kinds"):
        telling_apart(torch.zeros(0), torch.zeros(1))
    with pytest.raises(UserError, match="Probabilities"):
        judge_probabilities(torch.zeros(0, 2), torch.zeros(0))
