"""STORM's features, scales and inner step: golden values, several processes, errors."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import cross_entropy

from nearfar.losses.labels.weights import inner_step, relative_scales, trust_features
from tests.losses.cases import close, leaves, named
from tests.references import ReferenceCase

Golden = Callable[[str], ReferenceCase]
F64 = torch.float64


@pytest.mark.parametrize("name", named("e-storm-features-*"))
def test_features_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    close(trust_features(case["in_logits"], case["in_labels"]), case["out_features"])


@pytest.mark.parametrize("name", named("e-storm-meta-*"))
def test_the_outer_gradient_equals_the_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    w, b, theta = leaves(case, "omega_w", "omega_b", "W")
    normalise = bool(case["hp_normalise_mean"])

    def scales(features: torch.Tensor) -> torch.Tensor:
        logits = features @ w + b
        return relative_scales(logits) if normalise else logits.sigmoid()

    def losses(weight: torch.Tensor, part: str) -> torch.Tensor:
        return cross_entropy(
            case[f"in_x{part}"] @ weight, case[f"in_labels{part}"], reduction="none"
        )

    inner_scale = scales(case["in_features"])
    inner = (inner_scale * losses(theta, "")).mean()
    moved = inner_step(inner, {"W": theta}, learning_rate=case["hp_inner_lr"].item())["W"]
    outer_scale = scales(case["in_features_val"])
    outer = (outer_scale * losses(moved, "_val")).mean()
    close(inner_scale, case["out_scale_inner"])
    close(inner, case["out_inner_loss"])
    close(moved, case["out_W_after"])
    close(outer, case["out_outer_loss"])
    parts = {
        "total": outer,
        "meta": (outer_scale.detach() * losses(moved, "_val")).mean(),
        "direct": (outer_scale * losses(moved.detach(), "_val")).mean(),
    }
    for part, value in parts.items():
        slopes = torch.autograd.grad(value, (w, b), retain_graph=True)
        close(slopes[0], case[f"out_grad_w_{part}"])
        close(slopes[1], case[f"out_grad_b_{part}"])


def test_the_features_of_a_part_with_totals_are_those_of_the_whole() -> None:
    logits, label = torch.randn(3, 8, 4, dtype=F64), torch.randint(0, 4, (8,))
    whole = trust_features(logits, label)
    sums: list[torch.Tensor] = []

    def record(x: torch.Tensor) -> torch.Tensor:
        sums.append(x)
        return x

    trust_features(logits, label, record)
    given = iter(sums)
    part = trust_features(logits[:, :3], label[:3], lambda _: next(given))
    close(part, whole[:3])


def test_the_features_of_one_sample_and_of_certain_passes_are_finite() -> None:
    logits = torch.tensor([[[900.0, 0.0]], [[900.0, 0.0]]])
    found = trust_features(logits, torch.tensor([1]))
    assert torch.isfinite(found).all()
    assert found[0, 8] == 0


def test_relative_scales_have_mean_one_and_totals() -> None:
    logits = torch.randn(5, dtype=F64, requires_grad=True)
    assert relative_scales(logits).mean().item() == pytest.approx(1)
    assert torch.autograd.gradcheck(relative_scales, logits)


def test_wrong_inputs_get_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"label \(N\)"):
        trust_features(torch.zeros(2, 3, 4), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(ValueError, match="at least 2 classes"):
        trust_features(torch.zeros(2, 3, 1), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match="at least 0"):
        inner_step(torch.zeros(()), {}, learning_rate=-1)
