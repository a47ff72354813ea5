"""PixPro and PixContrast: reference values, the pairs of known boxes, and the limits of
propagation.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import conv2d, normalize

from nearfar.losses.dense.pixels import pixcontrast, pixel_pairs, pixpro, propagate
from tests.losses.cases import close, leaves, named


def _pairs(case: dict[str, torch.Tensor]) -> torch.Tensor:
    height, width = case["in_q"].shape[2:]
    found = pixel_pairs(
        case["in_coord_q"], case["in_coord_k"], height, width, ratio=case["hp_pos_ratio"].item()
    )
    assert torch.equal(found, case["out_pos_mask"].bool())
    return found


@pytest.mark.parametrize("name", named("b-pixpro-loss-*"))
def test_pixpro_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    (q,) = leaves(case, "q")
    loss = pixpro(q, case["in_k"], _pairs(case))
    loss.backward()
    close(loss, case["out_loss"])
    close(q.grad, case["out_grad_q"])


@pytest.mark.parametrize("name", named("b-pixpro-pixcontrast-*"))
def test_pixcontrast_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    (q,) = leaves(case, "q")
    loss = pixcontrast(q, case["in_k"], _pairs(case), temperature=case["hp_temperature"].item())
    loss.backward()
    close(loss, case["out_loss"])
    close(q.grad, case["out_grad_q"])


@pytest.mark.parametrize("name", named("b-pixpro-ppm-[0-9]*"))
def test_propagation_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    if case["hp_value_layers"] > 1:
        pytest.skip("two value layers are the network's affair")
    (x,) = leaves(case, "x")
    value = (
        conv2d(x, case["in_value_weight"][:, :, None, None], case["in_value_bias"])
        if case["hp_value_layers"]
        else x
    )
    found = propagate(x, value, gamma=case["hp_gamma"].item())
    close(found, case["out_y"])
    unit = normalize(found, dim=1)
    (unit * case["in_cotangent"]).sum().backward()
    close(unit, case["out_y_norm"])
    close(x.grad, case["out_grad_x"])


def test_the_same_square_box_pairs_each_pixel_with_itself_only() -> None:
    box = torch.tensor([[0.1, 0.1, 0.5, 0.5]])
    assert torch.equal(pixel_pairs(box, box, 4, 4)[0], torch.eye(16, dtype=torch.bool))
    flipped = torch.tensor([[0.5, 0.1, 0.1, 0.5]])
    expected = torch.eye(16, dtype=torch.bool).view(4, 4, 16).flip(1).flatten(0, 1)
    assert torch.equal(pixel_pairs(flipped, box, 4, 4)[0], expected)
    assert not pixel_pairs(box, box + 0.5, 4, 4).any()


def test_perfect_features_reach_minus_four() -> None:
    box = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).double()
    k = normalize(torch.randn(1, 20, 3, 3, dtype=torch.float64), dim=1)
    pairs = pixel_pairs(box, box, 3, 3)
    both = pixpro(k, k, pairs) + pixpro(k, k, pairs)
    torch.testing.assert_close(both, torch.tensor(-4.0).double(), rtol=1e-6, atol=0)


def test_propagation_sharpens_to_the_value_and_flattens_to_the_mean() -> None:
    x = torch.randn(2, 5, 3, 3, dtype=torch.float64)
    value = torch.randn(2, 5, 3, 3, dtype=torch.float64)
    torch.testing.assert_close(
        normalize(propagate(x, value, gamma=400.0), dim=1),
        normalize(value, dim=1),
        rtol=1e-3,
        atol=1e-3,
    )
    flat = propagate(x, value, gamma=0.0)
    torch.testing.assert_close(
        flat, normalize(value.flatten(2), dim=1).sum(2)[:, :, None, None].expand_as(flat)
    )
    constant = torch.zeros(1, 5, 2, 2, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(propagate(constant, constant).sum(), constant)
    assert torch.isfinite(gradient).all()


def test_values_of_single_images_average_to_the_losses() -> None:
    q, k = (normalize(torch.randn(5, 6, 3, 3, dtype=torch.float64), dim=1) for _ in range(2))
    box1, box2 = torch.rand(2, 5, 4, dtype=torch.float64)
    pairs = pixel_pairs(box1, box2, 3, 3)
    torch.testing.assert_close(pixpro(q, k, pairs, reduction="none").mean(), pixpro(q, k, pairs))
    single = pixcontrast(q, k, pairs, reduction="none")
    assert single.shape == (5, 9)
    assert torch.equal(single > 0, pairs.any(2))
    torch.testing.assert_close(single.sum() / pairs.any(2).sum(), pixcontrast(q, k, pairs))
