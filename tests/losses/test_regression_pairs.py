"""SupReMix and ConR: reference values and gradients, and the properties their papers state."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import normalize

from nearfar.losses.supervised.mixed_positives import Labels, mixed_positives
from nearfar.losses.supervised.regression_pairs import conr, conr_dense, supremix
from tests.losses.cases import close, degenerate, finite_with_gradient, leaves, named


@pytest.mark.parametrize("name", named("b-supremix-loss-*"))
def test_supremix_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    (raw,) = leaves(case, "raw")
    z = raw.transpose(0, 1).flatten(0, 1)
    label = case["in_labels"].double().repeat(2)
    weight = "l1-inverse" if case["hp_use_distance_weight"] else "none"
    options = {"temperature": case["hp_temperature"].item(), "distance_weight": weight}
    window = case["hp_window"].item()
    mixing = case["in_lambda"]
    loss = supremix(z, label, mixing, window=window, **options)
    loss.backward()
    close(loss, case["out_loss_exact"])
    close(raw.grad, case["out_grad_exact"])
    close(supremix(z, label, mixing, window=None, **options), case["out_loss_mixneg_only_exact"])
    close(supremix(z, label, None, window=window, **options), case["out_loss_mixpos_only_exact"])
    close(supremix(z, label, None, window=None, **options), case["out_loss_supcon_weighted_exact"])
    close(
        supremix(z, label, mixing, window=window, reduction="none", **options),
        case["out_per_anchor_exact"],
    )


@pytest.mark.parametrize("name", named("b-supremix-loss-*"))
def test_official_supremix_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    (raw,) = leaves(case, "raw")
    z = raw.transpose(0, 1).flatten(0, 1)
    label = case["in_labels"].double().repeat(2)
    weight = "l1-inverse" if case["hp_use_distance_weight"] else "none"
    how = {
        "window": case["hp_window"].item(),
        "temperature": case["hp_temperature"].item(),
        "distance_weight": weight,
    }
    loss = supremix(z, label, case["in_lambda"], official=True, **how)
    loss.backward()
    close(loss, case["out_loss_official"])
    close(raw.grad, case["out_grad_official"])


@pytest.mark.parametrize("window", [1.2, 2.0, 3.5, 100.0])
def test_mixed_positives_equal_their_loop(window: float) -> None:
    """Sums over pairs of labels are those over pairs of parents, whatever the order and number of
    rows of a label.
    """
    label = torch.tensor([3.0, 1.0, 2.0, 1.0, 4.5, 2.0, 3.0, 2.0, 9.0], dtype=torch.float64)
    logits = (5 * torch.randn(9, 9, dtype=torch.float64)).requires_grad_()
    found = mixed_positives(logits, label, Labels.of(label), window)
    expected: list[list[torch.Tensor]] = []
    for i in range(9):
        pairs = [
            (label[k] - label[i]) / (label[k] - label[j]) * logits[i, j]
            + (label[i] - label[j]) / (label[k] - label[j]) * logits[i, k]
            for j in range(9)
            for k in range(9)
            if label[j] < label[i] < label[k]
            and label[i] - label[j] < window
            and label[k] - label[i] < window
        ]
        some = torch.stack(pairs) if pairs else logits.new_zeros(0)
        none = logits.new_tensor(torch.finfo(torch.float64).min)
        expected.append(
            [some.logsumexp(0) if pairs else none, some.sum(), logits.new_tensor(float(len(pairs)))]
        )
        assert found.largest[i] == (some.max() if pairs else -torch.inf) or torch.isclose(
            found.largest[i], some.max()
        )
    for one, other in zip(found[:3], map(torch.stack, zip(*expected, strict=True)), strict=True):
        torch.testing.assert_close(one, other)
    some = found.number > 0
    assert 0 < some.sum() < 9
    sums = (
        found.logsumexp + found.total,
        torch.stack([logsumexp + total for logsumexp, total, _ in expected]),
    )
    torch.testing.assert_close(
        *(torch.autograd.grad(values[some].sum(), logits)[0] for values in sums)
    )


def test_supremix_equals_its_loop() -> None:
    z = torch.randn(6, 3, dtype=torch.float64)
    label = torch.tensor([1.0, 2.0, 4.0, 1.0, 2.0, 4.0], dtype=torch.float64)
    mixing = torch.rand(6, 6, dtype=torch.float64)
    tau = 0.4
    window = 3.5
    unit = normalize(z, dim=1)
    losses = []
    for i in range(6):
        terms = [
            (unit[i] @ unit[j] / tau, abs(label[i] - label[j]), bool(label[i] == label[j]))
            for j in range(6)
            if j != i
        ]
        for k in range(6):
            if label[k] != label[i]:
                mixture = mixing[i, k] * unit[i] + (1 - mixing[i, k]) * unit[k]
                mixed = mixing[i, k] * label[i] + (1 - mixing[i, k]) * label[k]
                terms.append((unit[i] @ mixture / tau, abs(label[i] - mixed), False))
        for j in range(6):
            for k in range(6):
                if (
                    label[j] < label[i] < label[k]
                    and label[i] - label[j] < window
                    and label[k] - label[i] < window
                ):
                    alpha = (label[k] - label[i]) / (label[k] - label[j])
                    terms.append(
                        (
                            unit[i] @ (alpha * unit[j] + (1 - alpha) * unit[k]) / tau,
                            torch.zeros(()),
                            True,
                        )
                    )
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
    if not official:
        how = {
            "window": case["hp_w"].item(),
            "temperature": case["hp_temperature"].item(),
            "push": case["hp_e"].item(),
        }
        rows = conr(
            features,
            case["in_labels"],
            case["in_preds"],
            density_weight=case.get("in_weights"),
            reduction="none",
            **how,
        )
        close(
            rows / case.get("in_weights", torch.ones(len(rows), 1)).squeeze(1),
            case["out_per_anchor_exact"],
        )


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


def test_conr_of_two_dimensions_sees_the_distances_of_labels_alone() -> None:
    """Labels turned in the plane keep their distances; a second column of zeros changes nothing;
    other distances are taken.
    """
    features, label, prediction = (torch.randn(12, size, dtype=torch.float64) for size in (4, 2, 2))
    cosine = torch.tensor(0.3).cos()
    sine = torch.tensor(0.3).sin()
    turn = torch.tensor([[cosine, -sine], [sine, cosine]]).double()
    expected = conr(features, label, prediction, temperature=0.5)
    assert expected > 0
    torch.testing.assert_close(
        conr(features, label @ turn, prediction @ turn, temperature=0.5), expected
    )
    flat = (
        torch.stack([label[:, 0], torch.zeros(12).double()], dim=1),
        torch.stack([prediction[:, 0], torch.zeros(12).double()], dim=1),
    )
    single = conr(features, label[:, 0], prediction[:, :1].squeeze(1), temperature=0.5)
    torch.testing.assert_close(conr(features, *flat, temperature=0.5), single)

    def first_only(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return (one[:, None, 0] - other[:, 0]).abs()

    torch.testing.assert_close(
        conr(features, label, prediction, temperature=0.5, distance=first_only), single
    )
    torch.testing.assert_close(
        conr(features, label, prediction, temperature=0.5, reduction="none").mean(), expected
    )


def test_conr_names_labels_and_predictions_that_do_not_fit() -> None:
    with pytest.raises(
        ValueError,
        match=r"must both be \(M,\) or \(M, K\), a row for each feature; found \(4, 2\) and \(4, "
        r"3\) for 4",
    ):
        conr(torch.randn(4, 3), torch.randn(4, 2), torch.randn(4, 3))


def test_conr_orders_cosines_by_label_distance_only_when_it_pushes() -> None:
    """Free embeddings with equal predictions: with a push, farther labels end farther apart;
    without, all alike.
    """
    label = torch.tensor([20.0, 30.0, 40.0, 60.0]).repeat_interleave(6)
    cosines = {}
    for push in (0.0, 0.1):
        z = torch.randn(24, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
        for _ in range(300):
            (gradient,) = torch.autograd.grad(
                conr(z, label, torch.zeros(24), temperature=0.5, push=push), z
            )
            with torch.no_grad():
                z -= 0.5 * gradient
        means = normalize(z.detach(), dim=1).view(4, 6, 3).mean(1)
        cosines[push] = normalize(means, dim=1) @ normalize(means, dim=1).T
    assert cosines[0.1][0, 1] > cosines[0.1][1, 2] > cosines[0.1][0, 3] + 0.3
    assert (cosines[0.0][~torch.eye(4, dtype=torch.bool)] + 1 / 3).abs().max() < 0.1


@pytest.mark.parametrize("z", degenerate())
def test_degenerate_embeddings_stay_finite(z: torch.Tensor) -> None:
    z = z.clone().requires_grad_()
    label = torch.tensor([1.0, 2.0, 3.0, 1.0, 2.0, 3.0]).double()
    finite_with_gradient(supremix(z, label, torch.rand(6, 6).double()), z)
    finite_with_gradient(conr(z, label, label.flip(0), temperature=1e-2), z)


def test_an_anchor_without_partners_adds_nothing() -> None:
    z = torch.randn(2, 4, requires_grad=True)
    label = torch.tensor([0.0, 9.0])
    assert conr(z, label, label).item() == 0
    loss = supremix(z, label, None, window=None)
    assert loss.item() == 0
    finite_with_gradient(loss, z)
