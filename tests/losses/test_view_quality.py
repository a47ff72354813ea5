"""GenView's weights: reference values, mean one, and the order that the paper wants."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nearfar.losses.distillation.distillation import simsiam
from nearfar.losses.instance.contrastive import moco_v3
from nearfar.losses.instance.view_quality import (
    foreground_map,
    foreground_threshold,
    noise_level,
    pair_quality,
    pooled,
    principal_axis,
    quality_weights,
    weighted_moco_v3,
    weighted_simsiam,
    weights_of,
)
from tests.losses.cases import close, leaves, named


@pytest.mark.parametrize("name", named("b-genview-quality-*"))
def test_weights_equal_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    front, back = foreground_map(case["in_tokens1"], case["in_pc1"])
    close(front.flatten(), case["out_fg_map1"].flatten())
    close(back.flatten(), case["out_bg_map1"].flatten())
    for found, key in zip(pooled(case["in_tokens1"], case["in_pc1"]), ("fg1", "bg1"), strict=True):
        close(found, case[f"out_{key}"])
    weights = quality_weights(
        case["in_tokens1"], case["in_tokens2"], case["in_pc1"], sharpness=case["hp_gamma"].item()
    )
    close(weights, case["out_weight"])


def test_axis_and_noise_level_equal_the_reference(golden: Any) -> None:
    case = golden("b-genview-pca")
    axis = principal_axis(case["in_features"])
    close(torch.outer(axis, axis), case["out_vvT"])
    case = golden("b-genview-noise")
    assert torch.equal(noise_level(case["in_fg_ratio"]), case["out_noise_level"].long())


def test_weights_have_mean_one_and_prefer_the_same_object_on_a_new_background() -> None:
    axis = torch.tensor([1.0, 0.0, 0.0, 0.0])
    object_a = torch.tensor([5.0, 1.0, 0.0, 0.0])
    object_b = torch.tensor([5.0, -1.0, 0.0, 0.0])
    ground_a = torch.tensor([0.0, 0.0, 1.0, 0.0])
    ground_b = torch.tensor([0.0, 0.0, 0.0, 1.0])

    def image(thing: torch.Tensor, ground: torch.Tensor) -> torch.Tensor:
        return torch.stack([thing, thing, ground, ground])

    first = torch.stack([image(object_a, ground_a)] * 3)
    second = torch.stack(
        [image(object_a, ground_b), image(object_a, ground_a), image(object_b, ground_a)]
    )
    weights = quality_weights(first, second, axis)
    torch.testing.assert_close(weights.mean(), torch.ones(()))
    assert weights[0] > weights[1] > weights[2]
    torch.testing.assert_close(quality_weights(first, second, axis, sharpness=0.0), torch.ones(3))


@pytest.mark.parametrize("name", named("b-genview-simsiam-*"))
def test_weighted_simsiam_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    p1, p2 = leaves(case, "p1", "p2")
    loss = weighted_simsiam(p1, p2, case["in_z1"], case["in_z2"], case["in_weight"])
    loss.backward()
    close(loss, case["out_loss"])
    close(p1.grad, case["out_grad_p1"])
    close(p2.grad, case["out_grad_p2"])


@pytest.mark.parametrize("name", named("b-genview-mocov3-*"))
def test_weighted_moco_v3_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    q1, q2 = leaves(case, "q1", "q2")
    loss = weighted_moco_v3(
        q1,
        q2,
        case["in_k1"],
        case["in_k2"],
        case["in_weight"],
        temperature=case["hp_temperature"].item(),
    )
    loss.backward()
    close(loss, case["out_loss"])
    close(q1.grad, case["out_grad_q1"])
    close(q2.grad, case["out_grad_q2"])


@pytest.mark.parametrize("name", named("b-genview-quality-*"))
def test_scores_equal_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    score = pair_quality(case["in_tokens1"], case["in_tokens2"], case["in_pc1"])
    close(score, case["out_sim_fg"] - case["out_sim_bg"])
    close(weights_of(score, sharpness=case["hp_gamma"].item()), case["out_weight"])


@pytest.mark.parametrize("name", named("b-genview-quality-*"))
def test_scores_by_dot_products_are_those_of_the_references_features(
    golden: Any, name: str
) -> None:
    case = golden(name)
    parts = [pooled(case[f"in_tokens{view}"], case["in_pc1"]) for view in (1, 2)]
    close(parts[0][0], case["out_fg1"])
    close(parts[0][1], case["out_bg1"])
    expected = (parts[0][0] * parts[1][0]).sum(1) - (parts[0][1] * parts[1][1]).sum(1)
    tokens = case["in_tokens1"], case["in_tokens2"], case["in_pc1"]
    close(pair_quality(*tokens, similarity="dot"), expected)
    close(quality_weights(*tokens, similarity="dot"), weights_of(expected))
    with pytest.raises(ValueError, match="Unknown similarity 'l2': valid are 'cosine' and 'dot'"):
        pair_quality(*tokens, similarity="l2")


def test_equal_weights_give_the_plain_losses() -> None:
    a, b, c, d = torch.randn(4, 6, 5, dtype=torch.float64)
    ones = torch.ones(6, dtype=torch.float64)
    torch.testing.assert_close(weighted_simsiam(a, b, c, d, ones), simsiam(a, b, c, d))
    torch.testing.assert_close(
        weighted_moco_v3(a, b, c, d, ones, temperature=0.3), moco_v3(a, b, c, d, temperature=0.3)
    )


def test_a_third_of_the_tokens_lies_above_the_threshold() -> None:
    along = torch.rand(40_000)
    assert (along > foreground_threshold(along)).float().mean().item() == pytest.approx(
        0.35, abs=0.01
    )
    assert foreground_threshold(torch.tensor([0.0] * 64 + [1.0] * 36)) == pytest.approx(1.0)
