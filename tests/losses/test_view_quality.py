"""GenView's weights: reference values, mean one, and the order that the paper wants."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nearfar.losses.view_quality import foreground_map, noise_level, pooled, principal_axis, quality_weights
from tests.losses.cases import close, named


@pytest.mark.parametrize("name", named("b-genview-quality-*"))
def test_weights_equal_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    front, back = foreground_map(case["in_tokens1"], case["in_pc1"])
    close(front.flatten(), case["out_fg_map1"].flatten())
    close(back.flatten(), case["out_bg_map1"].flatten())
    for found, key in zip(pooled(case["in_tokens1"], case["in_pc1"]), ("fg1", "bg1"), strict=True):
        close(found, case[f"out_{key}"])
    weights = quality_weights(case["in_tokens1"], case["in_tokens2"], case["in_pc1"], sharpness=case["hp_gamma"].item())
    close(weights, case["out_weight"])


def test_axis_and_noise_level_equal_the_reference(golden: Any) -> None:
    case = golden("b-genview-pca")
    axis = principal_axis(case["in_features"])
    close(torch.outer(axis, axis), case["out_vvT"])
    case = golden("b-genview-noise")
    assert torch.equal(noise_level(case["in_fg_ratio"]), case["out_noise_level"].long())


def test_weights_have_mean_one_and_prefer_the_same_object_on_a_new_background() -> None:
    axis = torch.tensor([1.0, 0.0, 0.0, 0.0])
    object_a, object_b = torch.tensor([5.0, 1.0, 0.0, 0.0]), torch.tensor([5.0, -1.0, 0.0, 0.0])
    ground_a, ground_b = torch.tensor([0.0, 0.0, 1.0, 0.0]), torch.tensor([0.0, 0.0, 0.0, 1.0])

    def image(thing: torch.Tensor, ground: torch.Tensor) -> torch.Tensor:
        return torch.stack([thing, thing, ground, ground])

    first = torch.stack([image(object_a, ground_a)] * 3)
    second = torch.stack([image(object_a, ground_b), image(object_a, ground_a), image(object_b, ground_a)])
    weights = quality_weights(first, second, axis)
    torch.testing.assert_close(weights.mean(), torch.ones(()))
    assert weights[0] > weights[1] > weights[2]
    torch.testing.assert_close(quality_weights(first, second, axis, sharpness=0.0), torch.ones(3))
