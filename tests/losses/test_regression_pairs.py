"""SupReMix and ConR: reference values and gradients, and the properties their papers state."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import normalize

from nearfar.losses.regression_pairs import conr, conr_dense, supremix
from tests.losses.cases import close, degenerate, finite_with_gradient, leaves, named


@pytest.mark.parametrize("name", named("b-supremix-loss-*"))
def test_supremix_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    (raw,) = leaves(case, "raw")
    z, label = raw.transpose(0, 1).flatten(0, 1), case["in_labels"].double().repeat(2)
    weight = "l1-inverse" if case["hp_use_distance_weight"] else "none"
    options = {"temperature": case["hp_temperature"].item(), "distance_weight": weight}
    window, mixing = case["hp_window"].item(), case["in_lambda"]
    loss = supremix(z, label, mixing, window=window, **options)
    loss.backward()
    close(loss, case["out_loss_exact"])
    close(raw.grad, case["out_grad_exact"])
    close(supremix(z, label, mixing, window=None, **options), case["out_loss_mixneg_only_exact"])
    close(supremix(z, label, None, window=window, **options), case["out_loss_mixpos_only_exact"])
    close(supremix(z, label, None, window=None, **options), case["out_loss_supcon_weighted_exact"])


def test_supremix_equals_its_loop() -> None:
    z, label = torch.randn(6, 3, dtype=torch.float64), torch.tensor([1.0, 2.0, 4.0, 1.0, 2.0, 4.0], dtype=torch.float64)
    mixing, tau, window = torch.rand(6, 6, dtype=torch.float64), 0.4, 3.5
    unit, losses = normalize(z, dim=1), []
    for i in range(6):
        terms = [(unit[i] @ unit[j] / tau, abs(label[i] - label[j]), bool(label[i] == label[j])) for j in range(6) if j != i]
        for k in range(6):
            if label[k] != label[i]:
                mixture = mixing[i, k] * unit[i] + (1 - mixing[i, k]) * unit[k]
                mixed = mixing[i, k] * label[i] + (1 - mixing[i, k]) * label[k]
                terms.append((unit[i] @ mixture / tau, abs(label[i] - mixed), False))
        for j in range(6):
            for k in range(6):
                if label[j] < label[i] < label[k] and label[i] - label[j] < window and label[k] - label[i] < window:
                    alpha = (label[k] - label[i]) / (label[k] - label[j])
                    terms.append((unit[i] @ (alpha * unit[j] + (1 - alpha) * unit[k]) / tau, torch.zeros(()), True))
        total = sum((d + 1) * s.exp() for s, d, _ in terms)
        positives = [s for s, _, p in terms if p]
        losses.append(-sum((s.exp() / total).log() for s in positives) / len(positives))
    found = supremix(z, label, mixing, window=window, temperature=tau)
    torch.testing.assert_close(found, torch.stack(losses).mean())


@pytest.mark.parametrize("weight", ["l1-inverse", "l2-inverse", "l1", "l2", "none"])
def test_mixtures_carry_no_gradient_and_weights_only_change_the_denominator(weight: str) -> None:
    z = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    label = torch.tensor([1.0, 2.0, 3.0, 3.0]).double()
    mixing = torch.full((4, 4), 0.3).double()
    assert torch.isfinite(supremix(z, label, mixing, distance_weight=weight))
    with pytest.raises(ValueError, match="distance_weight is 'l3'; expected one of"):
        supremix(z, label, mixing, distance_weight="l3")


@pytest.mark.parametrize("name", named("b-conr-uni-*"))
@pytest.mark.parametrize(("official", "suffix"), [(False, "_exact"), (True, "")])
def test_conr_equals_the_reference(golden: Any, name: str, official: bool, suffix: str) -> None:
    case = golden(name)
    (features,) = leaves(case, "features")
    loss = conr(
        features,
        case["in_labels"],
        case["in_preds"],
        density_weight=case.get("in_weights"),
        window=case["hp_w"].item(),
        temperature=case["hp_temperature"].item(),
        push=case["hp_e"].item(),
        official=official,
    )
    loss.backward()
    close(loss, case[f"out_loss{suffix}"])
    close(features.grad, case[f"out_grad{suffix}"])


@pytest.mark.parametrize("name", named("b-conr-dense-*"))
def test_dense_conr_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    (features,) = leaves(case, "features")
    loss = conr_dense(
        features,
        case["in_depth"],
        case["in_output"],
        density_weight=case.get("in_weights"),
        window=case["hp_w"].item(),
        temperature=case["hp_temperature"].item(),
        push=case["hp_e"].item(),
        official=True,
    )
    loss.backward()
    close(loss, case["out_loss"])
    close(features.grad, case["out_grad"])


def test_conr_orders_cosines_by_label_distance_only_when_it_pushes() -> None:
    """Free embeddings with equal predictions: with a push, farther labels end farther apart; without, all alike."""
    label = torch.tensor([20.0, 30.0, 40.0, 60.0]).repeat_interleave(6)
    cosines = {}
    for push in (0.0, 0.1):
        z = torch.randn(24, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
        for _ in range(300):
            (gradient,) = torch.autograd.grad(conr(z, label, torch.zeros(24), temperature=0.5, push=push), z)
            with torch.no_grad():
                z -= 0.5 * gradient
        means = normalize(z.detach(), dim=1).view(4, 6, 3).mean(1)
        cosines[push] = normalize(means, dim=1) @ normalize(means, dim=1).T
    assert cosines[0.1][0, 1] > cosines[0.1][1, 2] > cosines[0.1][0, 3] + 0.3
    assert (cosines[0.0][~torch.eye(4, dtype=torch.bool)] + 1 / 3).abs().max() < 0.1


@pytest.mark.parametrize("z", degenerate())
def test_degenerate_embeddings_stay_finite(z: torch.Tensor) -> None:
    z, label = z.clone().requires_grad_(), torch.tensor([1.0, 2.0, 3.0, 1.0, 2.0, 3.0]).double()
    finite_with_gradient(supremix(z, label, torch.rand(6, 6).double()), z)
    finite_with_gradient(conr(z, label, label.flip(0), temperature=1e-2), z)


def test_an_anchor_without_partners_adds_nothing() -> None:
    z, label = torch.randn(2, 4, requires_grad=True), torch.tensor([0.0, 9.0])
    assert conr(z, label, label).item() == 0
    loss = supremix(z, label, None, window=None)
    assert loss.item() == 0
    finite_with_gradient(loss, z)
