"""Several heads: reference values, who gets gradient, scores, and wrong inputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nearfar.errors import UserError
from nearfar.losses.restoration.heads import OBJECTIVES, best_of_heads, head_scores, pair_means
from tests.losses.cases import close, leaves, named

RESULTS = {"psnr": "psnr", "charbonnier-edge": "char_edge", "l1": "l1"}


@pytest.mark.parametrize("name", named("g-multiout-minloss-*"))
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_best_head_equals_the_reference(golden: Any, name: str, objective: str) -> None:
    case = golden(name)
    (residuals,) = leaves(case, "residual_heads")
    heads = pair_means(residuals) if case["hp_combine"] else residuals
    made = case["in_input"][:, None] + heads
    close(made, case["out_predictions"])
    errors = (made - case["in_target"][:, None]).square().mean((2, 3, 4))
    close(errors, case["out_mse"])
    assert torch.equal(errors.argmin(1), case["out_winner"])
    loss = best_of_heads(made, case["in_target"], objective=objective)
    loss.backward()
    close(loss, case[f"out_loss_{RESULTS[objective]}"])
    close(residuals.grad, case[f"out_grad_{RESULTS[objective]}"])


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_only_the_best_head_of_an_image_learns(objective: str) -> None:
    truth = torch.rand(2, 3, 8, 8)
    heads = torch.stack([truth + 0.1, truth - 0.3, truth + 0.5], dim=1)
    heads[1] = heads[1].flip(0)
    heads.requires_grad_()
    best_of_heads(heads, truth, objective=objective).backward()
    moved = heads.grad.abs().sum((2, 3, 4)) > 0
    assert moved.tolist() == [[True, False, False], [False, False, True]]


def test_scores_choose_by_image_or_once() -> None:
    values = torch.tensor([[30.0, 20.0], [10.0, 40.0], [25.0, 25.0]])
    found = head_scores(values)
    assert found["best_overall"] == pytest.approx((30 + 40 + 25) / 3)
    assert found["best_single"] == pytest.approx(85 / 3)
    assert found["worst_overall"] == pytest.approx((20 + 10 + 25) / 3)
    assert found["worst_single"] == pytest.approx(65 / 3)


def test_wrong_inputs_are_refused_in_a_sentence() -> None:
    heads = torch.rand(2, 2, 3, 8, 8)
    with pytest.raises(UserError, match="objective is 'mse'; valid are 'psnr'"):
        best_of_heads(heads, heads[:, 0], objective="mse")
    with pytest.raises(ValueError, match="Expected heads"):
        best_of_heads(heads, heads)
    with pytest.raises(ValueError, match="Expected values"):
        head_scores(heads)
