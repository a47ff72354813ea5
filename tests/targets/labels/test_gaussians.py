"""Gaussians of classes: golden values, draws, errors."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from nearfar.errors import UserError
from nearfar.targets.labels.gaussians import (
    calibrated,
    draw_balanced,
    local_outlier_factor,
    robust_gaussians,
)
from tests.losses.cases import close, named
from tests.references import ReferenceCase


@pytest.mark.parametrize("name", named("e-rcal-gauss-*"))
def test_reference(golden: Callable[[str], ReferenceCase], name: str) -> None:
    case = golden(name)
    found = robust_gaussians(
        case["in_features"],
        case["in_noisy_labels"],
        classes=len(case["out_mean"]),
        neighbours=int(case["hp_k"]),
        limit=case["hp_lof_threshold"].item(),
    )
    close(found.factor, case["out_lof"])
    assert torch.equal(found.kept, case["out_keep"].bool())
    close(found.mean, case["out_mean"])
    close(found.covariance, case["out_cov"])
    how = {
        "heads": int(case["hp_num_head"]),
        "nearest": int(case["hp_q"]),
        "share": case["hp_gamma"].item(),
        "disturbance": case["hp_alpha"].item(),
    }
    mean, covariance, heads = calibrated(found, **how)
    close(mean, case["out_mean_calibrated"])
    close(covariance, case["out_cov_calibrated"])
    assert torch.equal(heads, case["out_is_head"].bool())
    close(calibrated(found, **how, squared=True)[1], case["out_cov_calibrated_squared"])


def test_a_share_of_each_class_may_be_dropped_instead() -> None:
    features = torch.cat([torch.randn(9, 2), torch.full((1, 2), 50.0)])
    label = torch.zeros(10, dtype=torch.int64)
    found = robust_gaussians(features, label, classes=1, neighbours=3, noise_rate=0.1)
    assert found.kept.tolist() == [True] * 9 + [False]


def test_a_class_of_one_sample_has_no_spread_and_borrows_it() -> None:
    features = torch.cat([torch.randn(30, 2), torch.ones(1, 2)]).double()
    label = torch.tensor([0] * 30 + [1])
    found = robust_gaussians(features, label, classes=2)
    assert found.covariance[1].abs().sum() == 0
    _, covariance, _ = calibrated(found, heads=1, share=0.5, disturbance=0.0)
    close(covariance[1], found.covariance[0] / 2)


def test_draws_balance_classes_and_follow_their_gaussians() -> None:
    mean = torch.tensor([[0.0, 0.0], [5.0, 5.0]], dtype=torch.float64)
    covariance = torch.tensor([[[1.0, 0], [0, 1]], [[2.0, 1.5], [1.5, 2]]], dtype=torch.float64)
    count = torch.tensor([4010, 10])
    points, label = draw_balanced(mean, covariance, count, torch.Generator().manual_seed(0))
    assert torch.bincount(label, minlength=2).tolist() == [0, 4000]
    torch.testing.assert_close(points.mean(0), mean[1], atol=0.1, rtol=0)
    torch.testing.assert_close(points.T.cov(), covariance[1], atol=0.15, rtol=0)


def test_wrong_inputs_get_one_sentence() -> None:
    with pytest.raises(UserError, match="needs a sample"):
        robust_gaussians(torch.zeros(2, 2), torch.tensor([0, 0]), classes=2)
    with pytest.raises(UserError, match="noise rate"):
        robust_gaussians(torch.zeros(2, 2), torch.tensor([0, 1]), classes=2, noise_rate=1.0)
    with pytest.raises(UserError, match="neighbours was asked"):
        local_outlier_factor(torch.zeros(2, 2), neighbours=0)
    found = robust_gaussians(torch.randn(4, 2), torch.tensor([0, 1, 0, 1]), classes=2)
    with pytest.raises(UserError, match="heads from 1 to 2"):
        calibrated(found, heads=3)
