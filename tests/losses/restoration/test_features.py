"""Distances of feature maps: reference values, plain forms, what stands still, and wrong inputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from nearfar.errors import UserError
from nearfar.losses.restoration.features import (
    FeatureDistance,
    feature_distance,
    gram,
    perceptual_distance,
    pixel_pyramid,
)
from tests.losses.cases import close, leaves, named


@pytest.mark.parametrize("name", named("g-srgan-loss-*"))
def test_srgans_content_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    (made,) = leaves(case, "feat_sr")
    loss = feature_distance([made], [case["in_feat_hr"]], distance="mse")
    loss.backward()
    close(loss, case["out_content"])
    close(made.grad, case["out_content_grad"])
    close(loss + case["hp_w_adv"] * case["out_g_adv"], case["out_total"])


@pytest.mark.parametrize("name", named("g-rrformer-feature-*"))
def test_rrformers_feature_loss_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    made = leaves(case, *(f"feat_x{layer}" for layer in range(5)))
    truth = [case[f"in_feat_y{layer}"] for layer in range(5)]
    loss = feature_distance(made, truth, weights=case["hp_weights"].tolist())
    loss.backward()
    close(loss, case["out_loss"])
    close(made[0].grad, case["out_grad_x0"])
    close(made[4].grad, case["out_grad_x4"])


@pytest.mark.parametrize("name", named("g-metrics-lpips-*"))
@pytest.mark.parametrize("offset", [0.0, 1e-20])
def test_lpips_equals_the_reference(golden: Any, name: str, offset: float) -> None:
    case = golden(name)
    layers = range(len(case["out_per_layer"]))
    first = leaves(case, *(f"feat0_{layer}" for layer in layers))
    second = [case[f"in_feat1_{layer}"] for layer in layers]
    weights = [case[f"in_lin_{layer}"] for layer in layers]
    each = [
        perceptual_distance([a], [b], [w], offset=offset, reduction="none")
        for a, b, w in zip(first, second, weights, strict=True)
    ]
    close(torch.stack(each).view(case["out_per_layer"].shape), case["out_per_layer"])
    found = perceptual_distance(first, second, weights, offset=offset, reduction="none")
    close(found.view_as(case["out_distance"]), case["out_distance"])
    found.sum().backward()
    close(first[0].grad, case["out_grad_feat0_0"])
    close(first[2].grad, case["out_grad_feat0_2"])


def test_lpips_has_a_gradient_where_all_channels_are_nought() -> None:
    features = torch.zeros(1, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    other = torch.rand(1, 2, 2, 2, dtype=torch.float64)
    perceptual_distance([features], [other], [torch.ones(2).double()]).backward()
    assert torch.isfinite(features.grad).all()


def test_gram_and_distances_equal_their_plain_forms() -> None:
    made, truth = torch.randn(2, 3, 4, 5, 6, dtype=torch.float64)
    plain = torch.stack(
        [
            torch.stack([(m[i] * m[j]).sum() / (4 * 5 * 6) for i in range(4) for j in range(4)])
            for m in made
        ]
    ).view(3, 4, 4)
    torch.testing.assert_close(gram(made), plain)
    found = feature_distance([made], [truth], distance="gram-l1", reduction="none")
    torch.testing.assert_close(found, (gram(made) - gram(truth)).abs().mean((1, 2)))
    whole = feature_distance([made, made], [truth, truth], weights=(1.0, 2.0), distance="mse")
    torch.testing.assert_close(whole, 3 * ((made - truth) ** 2).mean())


def test_the_extractor_stands_still_and_gradient_reaches_made_images_only() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    distance = FeatureDistance(lambda x: [network(x)], scale=2.0)
    module = FeatureDistance(_Layers(network), layers=(1,), mean=(0.5,) * 3, deviation=(0.2,) * 3)
    module.train()
    assert not module.extractor.training  # type: ignore[union-attr]
    assert not any(parameter.requires_grad for parameter in module.parameters())
    before = network[1].running_mean.clone()
    made, truth = torch.rand(2, 2, 3, 8, 8).requires_grad_().unbind()
    loss = module(made, truth)
    assert loss.shape == (2,)
    (to_made, to_truth) = torch.autograd.grad(loss.sum(), (made, truth), allow_unused=True)
    assert float(to_made.abs().max()) > 0
    assert to_truth is None
    assert torch.equal(network[1].running_mean, before)
    torch.testing.assert_close(
        distance(made, truth), 4 * (network(made) - network(truth)).square().mean((1, 2, 3))
    )


class _Layers(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [x, self.network(x)]


def test_wrong_inputs_are_refused_in_a_sentence() -> None:
    x = torch.rand(1, 2, 4, 4)
    with pytest.raises(UserError, match="found 1, 2 and 1"):
        feature_distance([x], [x, x])
    with pytest.raises(UserError, match="found 1, 1 and 2"):
        feature_distance([x], [x], weights=(1.0, 1.0))
    with pytest.raises(UserError, match=r"weight is -1\.0; expected a number of at least 0"):
        feature_distance([x], [x], weights=(-1.0,))
    with pytest.raises(UserError, match="distance is 'cosine'"):
        feature_distance([x], [x], distance="cosine")
    with pytest.raises(UserError, match="weights holds negative numbers"):
        perceptual_distance([x], [x], [torch.tensor([1.0, -1.0])])
    with pytest.raises(UserError, match="4 levels need sides of at least 8"):
        pixel_pyramid(x, 4)
    with pytest.raises(UserError, match="scale is 0"):
        FeatureDistance(pixel_pyramid, scale=0)
