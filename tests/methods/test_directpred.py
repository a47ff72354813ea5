"""DirectPred: the predictor is set from the running correlation, in its turn, and not by
gradient.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from nearfar.errors import UserError
from nearfar.losses.distillation.direct_predictor import direct_copy, direct_predictor, direct_set
from nearfar.losses.distillation.distillation import byol
from nearfar.methods.distillation.directpred import DirectPred
from tests.losses.cases import close, named

from .toys import batch_for, build

SMALL = {"hidden": 16, "projection": 6}


def outputs_of(f1: Tensor, f2: Tensor) -> dict[str, Tensor]:
    return {"f1": f1, "f2": f2}


@pytest.mark.parametrize("name", named("a-directpred-case*"))
def test_reference_predictors_of_three_batches(golden: Any, name: str) -> None:
    case = golden(name)
    settings = {
        "projection": case["in_features"].shape[-1],
        "hidden": 8,
        "rho": float(case["hp_rho"]),
    }
    settings |= {
        "epsilon": float(case["hp_eps"]),
        "epsilon_inside": bool(case["hp_eps_inside"]),
        "shrink": float(case["hp_shrink"]),
    }
    method = build(DirectPred, settings).double()
    for features, correlation, weight in zip(
        case["in_features"], case["out_F"], case["out_W"], strict=True
    ):
        method.after_step(outputs_of(*features))
        close(method.correlation.matrix, correlation)
        close(method.predictor.weight, weight)


def test_loss_is_byols_less_four_of_the_linear_predictions() -> None:
    method = build(DirectPred, SMALL).train()
    outputs = method(batch_for(method))
    p1, p2 = (outputs[name] @ method.predictor.weight.T for name in ("f1", "f2"))
    expected = byol(p1, p2, outputs["target1"], outputs["target2"]) - 4
    torch.testing.assert_close(method.loss(outputs)["directpred"].detach(), expected)
    assert not outputs["target1"].requires_grad


def test_sets_the_predictor_and_then_moves_the_copy_towards_the_stepped_network() -> None:
    method = build(DirectPred, SMALL | {"momentum": 0.7}).train()
    outputs = method(batch_for(method))
    method.loss(outputs)["directpred"].backward()
    assert method.predictor.weight.grad is None, "set, not learned"
    with torch.no_grad():
        method.projector[0].weight.add_(1.0)
    before = method.target.module[1][0].weight.clone()
    method.after_step(outputs)
    f = torch.cat([outputs["f1"], outputs["f2"]])
    torch.testing.assert_close(method.predictor.weight, direct_predictor(f.T @ f / len(f)))
    expected = 0.7 * before + 0.3 * method.projector[0].weight.detach()
    torch.testing.assert_close(method.target.module[1][0].weight, expected)


def test_sets_the_predictor_at_every_other_step_but_follows_every_batch() -> None:
    method = build(DirectPred, SMALL | {"every": 2})
    weights = []
    matrices = []
    for _ in range(4):
        method.after_step(outputs_of(torch.randn(5, 6), torch.randn(5, 6)))
        weights.append(method.predictor.weight.clone())
        matrices.append(method.correlation.matrix.clone())
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[1], weights[2])
    assert torch.equal(weights[2], weights[3])
    assert not torch.equal(matrices[0], matrices[1])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            {"predictor": "set", "power": 0.8, "epsilon": 0.3},
            lambda f: direct_set(f, power=0.8, epsilon=0.3),
        ),
        ({"predictor": "copy", "epsilon": 0.3}, lambda f: direct_copy(f, epsilon=0.3)),
        (
            {"predictor": "copy", "epsilon": 0.3, "norm": "frobenius"},
            lambda f: direct_copy(f, epsilon=0.3, norm="fro"),
        ),
        ({"predictor": "copy", "epsilon": 0.3, "norm": "none"}, lambda f: f + 0.3 * torch.eye(6)),
        ({"centred": True, "epsilon": 0.1}, None),
    ],
)
def test_other_predictors(settings: dict[str, Any], expected: Any) -> None:
    method = build(DirectPred, SMALL | settings)
    f = 2.0 + torch.randn(10, 6)
    method.after_step(outputs_of(f[:5], f[5:]))
    if expected is None:
        wanted = direct_predictor(torch.cov(f.T, correction=0), epsilon=0.1)
        torch.testing.assert_close(method.predictor.weight, wanted, rtol=1e-4, atol=1e-4)
    else:
        torch.testing.assert_close(method.predictor.weight, expected(f.T @ f / 10))


def test_a_learned_predictor_is_left_to_the_optimiser() -> None:
    method = build(DirectPred, SMALL | {"predictor": "learned"}).train()
    outputs = method(batch_for(method))
    method.loss(outputs)["directpred"].backward()
    assert method.predictor.weight.grad.any()
    before = method.predictor.weight.detach().clone()
    method.after_step(outputs)
    assert torch.equal(method.predictor.weight.detach(), before)


@pytest.mark.parametrize("random", [False, True])
def test_the_copy_starts_equal_or_with_weights_of_its_own(random: bool) -> None:
    method = build(DirectPred, SMALL | {"random_target": random})
    pairs = [
        (method.projector[0], method.target.module[1][0]),
        (method.encoder.layers[0], method.target.module[0].layers[0]),
    ]
    assert all(torch.equal(online.weight, copy.weight) != random for online, copy in pairs)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"predictor": "eigne"}, "Unknown setting predictor 'eigne': did you mean eigen"),
        ({"norm": "l2"}, "Unknown setting norm 'l2': valid names"),
    ],
)
def test_unknown_choices_are_named(settings: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(DirectPred, SMALL | settings)
