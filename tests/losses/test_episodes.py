"""SuSana Distancia's episode losses: reference values, ideal cases and loops."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nearfar.losses.supervised.episodes import neighbour_score, prototype_triplet, prototypes
from tests.losses.cases import close, degenerate, finite_with_gradient, leaves, named


@pytest.mark.parametrize("name", named("b-susana-icnn-[!q]*"))
def test_the_score_of_a_set_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    (features,) = leaves(case, "features")
    wide = int(case["hp_ipc"])
    found = neighbour_score(
        features,
        case["in_labels"],
        neighbours=int(case["hp_k"]),
        looked_at=None if wide < 0 else wide,
    )
    for ours, theirs in (
        ("score", "score"),
        ("same", "lambda_same"),
        ("apart", "lambda_diff"),
        ("share", "gamma"),
    ):
        close(found[ours], case[f"out_{theirs}"])
    loss = -found["score"].log()
    close(loss, case["out_loss"])
    if loss.requires_grad:
        loss.backward()
        close(features.grad, case["out_grad"])


def test_the_score_against_prototypes_equals_the_reference(golden: Any) -> None:
    case = golden("b-susana-icnn-query-protos")
    queries, centres = leaves(case, "queries", "protos")
    found = neighbour_score(
        queries, case["in_labels_q"], centres, case["in_labels_p"], neighbours=int(case["hp_k"])
    )
    loss = -found["score"].log()
    loss.backward()
    close(loss, case["out_loss"])
    close(queries.grad, case["out_grad_q"])
    close(centres.grad, case["out_grad_p"])


@pytest.mark.parametrize("name", named("b-susana-prototriplet-*"))
def test_the_triplet_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    queries, centres = leaves(case, "queries", "protos")
    loss = prototype_triplet(
        queries, case["in_labels_q"], centres, case["in_labels_p"], margin=case["hp_margin"].item()
    )
    loss.backward()
    close(loss, case["out_loss"])
    close(queries.grad, case["out_grad_q"])
    close(centres.grad, case["out_grad_p"])


def test_separated_classes_score_higher_than_mixed_ones() -> None:
    label = torch.arange(3).repeat_interleave(5)
    noise = torch.randn(15, 2)
    apart = neighbour_score(
        10 * torch.nn.functional.one_hot(label, 3).float() @ torch.randn(3, 2) + 0.1 * noise, label
    )["score"]
    mixed = neighbour_score(noise, label)["score"]
    assert apart > mixed + 0.2


def test_prototypes_are_class_means_and_a_far_query_costs_nothing() -> None:
    features = torch.randn(6, 3, dtype=torch.float64)
    label = torch.tensor([0, 1, 0, 1, 2, 2])
    centres = prototypes(features, label, 3)
    torch.testing.assert_close(centres[1], features[label == 1].mean(0))
    far = torch.eye(3, dtype=torch.float64) * 100
    assert prototype_triplet(far, torch.arange(3), far, torch.arange(3)).item() == 0
    assert prototype_triplet(far, torch.tensor([1, 2, 0]), far, torch.arange(3)).item() > 100


@pytest.mark.parametrize("z", degenerate())
def test_degenerate_features_stay_finite(z: torch.Tensor) -> None:
    z = z.clone().requires_grad_()
    label = torch.tensor([0, 0, 1, 1, 2, 2])
    finite_with_gradient(-neighbour_score(z, label)["score"].log(), z)
    finite_with_gradient(prototype_triplet(z, label, prototypes(z, label, 3), torch.arange(3)), z)
