"""Core-tuning: mined and mixed pairs and the focal contrast against reference values and loops."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import normalize

from nearfar.losses.supervised.core_tuning import (
    focal_contrast,
    hard_pairs,
    mixed_pairs,
    soft_cross_entropy,
)
from tests.losses.cases import close, degenerate, finite_with_gradient, leaves, named


@pytest.mark.parametrize("name", named("b-coretuning-mix-*"))
def test_mixtures_equal_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    (features,) = leaves(case, "features")
    draws = (case["in_perm"], case["in_lambda_neg_raw"], case["in_lambda_pos"])
    classes = int(case["hp_num_classes"])
    least = case["hp_lambda_neg_min"].item()
    size = len(features)
    rows, soft = mixed_pairs(features, case["in_labels"], classes, draws, least=least)
    close(rows[size : 2 * size], case["out_hardneg"])
    close(soft[size : 2 * size], case["out_hardneg_labels"])
    close(rows[2 * size :], case["out_hardpos_exact"])
    close(soft[2 * size :], case["out_hardpos_labels_exact"])
    positive, negative = hard_pairs(features, case["in_labels"])
    assert torch.equal(positive, case["out_hard_pos_index_exact"].long())
    assert torch.equal(negative, case["out_hard_neg_index"].long())
    rows, soft = mixed_pairs(
        features, case["in_labels"], classes, draws, least=least, official=True
    )
    (rows * case["in_cotangent"]).sum().backward()
    close(rows, case["out_features_official"])
    close(soft.double(), case["out_soft_labels_official"].double())
    close(features.grad, case["out_grad_features_official"])


@pytest.mark.parametrize("name", named("b-coretuning-focal-*"))
@pytest.mark.parametrize(("official", "suffix"), [(True, ""), (False, "_paper")])
def test_focal_contrast_equals_the_reference(
    golden: Any, name: str, official: bool, suffix: str
) -> None:
    case = golden(name)
    (z,) = leaves(case, "z_raw")
    loss = focal_contrast(
        z, case["in_soft_labels"], temperature=case["hp_temperature"].item(), official=official
    )
    loss.backward()
    close(loss, case[f"out_loss{suffix}"])
    close(z.grad, case[f"out_grad_raw{suffix}"])


def test_mining_equals_its_loop_and_falls_back_to_the_anchor() -> None:
    features = torch.randn(7, 3)
    label = torch.tensor([0, 0, 0, 1, 1, 1, 2])
    similar = normalize(features, dim=1) @ normalize(features, dim=1).T
    positive, negative = hard_pairs(features, label)
    for i in range(7):
        own = [j for j in range(7) if label[j] == label[i] and j != i] or [i]
        assert positive[i] == min(own, key=lambda j: similar[i, j])
        assert negative[i] == max(
            (j for j in range(7) if label[j] != label[i]), key=lambda j: similar[i, j]
        )
    assert hard_pairs(features, torch.zeros(7).long())[1].tolist() == [0] * 7


def test_soft_cross_entropy_of_hard_labels_is_the_usual_one() -> None:
    logits = torch.randn(5, 3, dtype=torch.float64)
    label = torch.tensor([0, 1, 2, 1, 0])
    hard = torch.nn.functional.one_hot(label, 3).double()
    torch.testing.assert_close(
        soft_cross_entropy(logits, hard), torch.nn.functional.cross_entropy(logits, label)
    )


@pytest.mark.parametrize("z", degenerate())
def test_degenerate_embeddings_stay_finite(z: torch.Tensor) -> None:
    z = z.clone().requires_grad_()
    soft = torch.eye(3, dtype=torch.float64).repeat(2, 1)
    finite_with_gradient(focal_contrast(z, soft), z)
    finite_with_gradient(focal_contrast(z, torch.eye(6, dtype=torch.float64)), z)
