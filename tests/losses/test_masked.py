"""MAE's loss: the authors' values and gradients, a loop twin, what it ignores, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from nearfar.losses import feature_prediction, masked_reconstruction
from tests.losses.cases import close, leaves, named

F64 = torch.float64


@pytest.mark.parametrize("name", named("a-mae-case*"))
@pytest.mark.parametrize(("normalise", "suffix"), [(False, ""), (True, "_norm_pix")])
def test_reference(
    golden: Callable[[str], dict[str, Tensor]], name: str, normalise: bool, suffix: str
) -> None:
    case = golden(name)
    (prediction,) = leaves(case, "pred")
    loss = masked_reconstruction(
        prediction, case["out_patches"], case["out_mask"], normalise=normalise
    )
    loss.backward()
    close(loss, case[f"out_loss{suffix}"])
    close(prediction.grad, case[f"out_grad_pred{suffix}"])


@pytest.mark.parametrize("normalise", [False, True])
def test_loop_twin(normalise: bool) -> None:
    prediction, target = (torch.randn(3, 5, 4, dtype=F64) for _ in range(2))
    mask = torch.rand(3, 5) < 0.6
    sums = []
    for n in range(3):
        total = torch.zeros((), dtype=F64)
        for patch in range(5):
            if mask[n, patch]:
                wanted = target[n, patch]
                if normalise:
                    wanted = (wanted - wanted.mean()) / (wanted.var() + 1e-6).sqrt()
                total = total + ((prediction[n, patch] - wanted) ** 2).mean()
        sums.append(total)
    found = masked_reconstruction(prediction, target, mask, normalise=normalise, reduction="none")
    torch.testing.assert_close(found, torch.stack(sums))
    mean = masked_reconstruction(prediction, target, mask.double(), normalise=normalise)
    torch.testing.assert_close(mean, found.sum() / mask.sum())


def test_visible_patches_do_not_count_and_nothing_removed_costs_nothing() -> None:
    prediction = torch.randn(2, 3, 4, dtype=F64, requires_grad=True)
    target = torch.randn(2, 3, 4, dtype=F64)
    mask = torch.tensor([[1, 0, 0], [0, 0, 1]])
    (gradient,) = torch.autograd.grad(masked_reconstruction(prediction, target, mask), prediction)
    assert (gradient[mask == 0] == 0).all()
    assert (gradient[mask == 1] != 0).all()
    assert masked_reconstruction(prediction, target, torch.zeros(2, 3)) == 0
    assert torch.autograd.gradcheck(
        lambda p: masked_reconstruction(p, target, mask, normalise=True), prediction
    )


def test_a_normalised_target_forgets_brightness_and_contrast() -> None:
    prediction = torch.randn(2, 3, 8, dtype=F64)
    target = torch.randn(2, 3, 8, dtype=F64)
    mask = torch.ones(2, 3)
    value = masked_reconstruction(prediction, target, mask, normalise=True)
    torch.testing.assert_close(
        masked_reconstruction(prediction, 5 * target - 2, mask, normalise=True),
        value,
        rtol=1e-5,
        atol=0,
    )
    flat = masked_reconstruction(prediction, torch.ones_like(target), mask, normalise=True)
    torch.testing.assert_close(flat, prediction.square().mean())


def test_half_precision_agrees_with_float64() -> None:
    prediction = torch.randn(4, 6, 12).bfloat16()
    target = torch.randn(4, 6, 12)
    mask = torch.rand(4, 6) < 0.5
    with torch.autocast("cpu", torch.bfloat16):
        found = masked_reconstruction(prediction, target, mask, normalise=True)
    assert found.dtype == torch.float32
    exact = masked_reconstruction(prediction.double(), target.double(), mask, normalise=True)
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("shapes", "settings", "message"),
    [
        (((2, 3, 4), (2, 3, 5), (2, 3)), {}, r"found \(2, 3, 4\), \(2, 3, 5\), \(2, 3\)"),
        (
            ((2, 3, 4), (2, 3, 4), (2, 4)),
            {},
            r"Expected prediction \(N, L, P\), target \(N, L, P\) and mask \(N, L\)",
        ),
        (
            ((2, 3, 1), (2, 3, 1), (2, 3)),
            {"normalise": True},
            "A patch of one value cannot be standardised",
        ),
        (((2, 3, 4), (2, 3, 4), (2, 3)), {"reduction": "sum"}, "Unknown reduction 'sum'"),
    ],
)
def test_errors(
    shapes: tuple[tuple[int, ...], ...], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        masked_reconstruction(*(torch.zeros(shape) for shape in shapes), **settings)


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("distance", ["smooth", "squared"])
def test_predicted_features_by_loops(normalise: bool, distance: str) -> None:
    prediction, target = (2 * torch.randn(3, 2, 5, dtype=F64) for _ in range(2))
    values = []
    for n in range(3):
        total = 0.0
        for patch in range(2):
            wanted = target[n, patch]
            if normalise:
                wanted = (wanted - wanted.mean()) / (wanted.var(correction=0) + 1e-5).sqrt()
            for e in (prediction[n, patch] - wanted).tolist():
                smooth = e * e / 2 if abs(e) < 1 else abs(e) - 0.5
                total += smooth if distance == "smooth" else e * e
        values.append(total / 10)
    how: dict[str, Any] = {"normalise": normalise, "distance": distance}
    found = feature_prediction(prediction, target, **how, reduction="none")
    torch.testing.assert_close(found, torch.tensor(values, dtype=F64))
    torch.testing.assert_close(feature_prediction(prediction, target, **how), found.mean())


def test_targets_get_no_gradient() -> None:
    prediction, target = (torch.randn(2, 3, 4, dtype=F64, requires_grad=True) for _ in range(2))
    feature_prediction(prediction, target).backward()
    assert target.grad is None
    assert prediction.grad is not None


@pytest.mark.parametrize(
    ("shapes", "how", "said"),
    [
        (((2, 3, 4), (2, 3, 5)), {}, "alike; found"),
        (((2, 3), (2, 3)), {}, "Expected prediction"),
        (((2, 3, 4), (2, 3, 4)), {"distance": "cosine"}, "Unknown distance 'cosine'"),
        (((2, 3, 4), (2, 3, 4)), {"reduction": "sum"}, "Unknown reduction 'sum'"),
    ],
)
def test_wrong_features_to_predict(shapes: Any, how: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        feature_prediction(*(torch.zeros(shape) for shape in shapes), **how)
