"""Pixel losses: reference values, plain forms, gradients, and wrong inputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nearfar.errors import UserError
from nearfar.losses.restoration.fidelity import (
    charbonnier,
    dice,
    edge,
    flow_variation,
    gradient_l1,
    laplacian,
    masked_l1,
    mixture,
    spectrum_l1,
    total_variation,
)
from nearfar.losses.restoration.structure import ssim
from tests.losses.cases import close, leaves, named

X, Y = torch.rand(2, 3, 2, 12, 13, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


@pytest.mark.parametrize("name", named("g-selfdrsc-losses-*"))
def test_charbonnier_and_variation_equal_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    x, flow = leaves(case, "x", "flow")
    loss = charbonnier(x, case["in_y"])
    close(loss, case["out_charbonnier"])
    close(torch.autograd.grad(loss, x)[0], case["out_grad_x"])
    loss = flow_variation(flow)
    close(loss, case["out_variation"])
    close(torch.autograd.grad(loss, flow)[0], case["out_grad_flow"])


@pytest.mark.parametrize("name", named("g-rrformer-pixel-*"))
def test_rrformers_pixel_loss_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    (x,) = leaves(case, "pred")
    gradients = gradient_l1(x, case["in_target"])
    close(gradients, case["out_gradient_term"])
    loss = 0.2 * (x - case["in_target"]).square().mean() + 0.4 * gradients
    close(loss, case["out_loss"])
    close(torch.autograd.grad(loss, x)[0], case["out_grad"])


@pytest.mark.parametrize("name", named("g-infwide-weighted-*"))
def test_infwides_mixture_equals_the_reference(golden: Any, name: str) -> None:
    """The window of the reference's SSIM is of single precision: 1e-6."""
    case = golden(name)
    (x,) = leaves(case, "output")
    weights = {
        "l1": float(case["hp_w_l1"]),
        "squared": float(case["hp_w_mse"]),
        "structure": float(case["hp_w_ssim"]),
        "variation": float(case["hp_w_tv"]),
    }
    loss = mixture(x, case["in_target"], **weights)
    loss.backward()
    close(loss, case["out_loss"], rtol=1e-6)
    close(x.grad, case["out_grad"], rtol=1e-6)
    close(total_variation(x), case["out_tv"])


@pytest.mark.parametrize("name", named("g-ste-dice-*"))
def test_dice_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    (x,) = leaves(case, "x")
    loss = dice(x.sigmoid() if case["hp_sigmoid"] else x, case["in_target"])
    loss.backward()
    close(loss, case["out_loss"])
    close(x.grad, case["out_grad"])


def test_losses_equal_their_plain_forms() -> None:
    d = X - Y
    plain = {
        charbonnier: (d**2 + 1e-9).sqrt().mean(),
        gradient_l1: (d[:, :, 1:] - d[:, :, :-1]).abs().mean()
        + (d[..., 1:] - d[..., :-1]).abs().mean(),
        spectrum_l1: torch.stack([torch.fft.fft2(d).real, torch.fft.fft2(d).imag]).abs().mean(),
        edge: ((laplacian(X) - laplacian(Y)) ** 2 + 1e-6).sqrt().mean(),
        dice: torch.stack(
            [
                1 - 2 * (a * b).sum() / ((a**2).sum() + (b**2).sum() + 2e-3)
                for a, b in zip(X, Y, strict=True)
            ]
        ).mean(),
        mixture: 0.4 * d.abs().mean()
        + 0.2 * (d**2).mean()
        + 0.2 * (1 - ssim(X, Y))
        + 0.2 * total_variation(X),
    }
    for loss, expected in plain.items():
        torch.testing.assert_close(loss(X, Y), expected, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(loss(X, Y, reduction="none").mean(), expected)
        assert loss(X, Y, reduction="none").shape == (3,)
    mask = (X > 0.5).double()
    torch.testing.assert_close(masked_l1(X, Y, mask), (mask * d.abs()).mean())
    rows, columns = X[:, :, 1:] - X[:, :, :-1], X[..., 1:] - X[..., :-1]
    torch.testing.assert_close(total_variation(X), 2 * ((rows**2).mean() + (columns**2).mean()))
    share = (rows**2).sum() + (columns**2).sum()
    torch.testing.assert_close(flow_variation(X), share / X.numel())


def test_the_pyramid_keeps_edges_and_no_flat_parts() -> None:
    step = torch.zeros(1, 1, 16, 16, dtype=torch.float64)
    step[..., 8:] = 1
    left = laplacian(step)[0, 0, 8]
    assert float(left[2:4].abs().max()) < 1e-12
    assert float(left[7:9].abs().min()) > 0.1


@pytest.mark.parametrize(
    "loss", [charbonnier, gradient_l1, spectrum_l1, edge, dice, mixture, total_variation]
)
def test_gradients_agree_with_differences(loss: Any) -> None:
    x = X.clone().requires_grad_()
    given = (x,) if loss is total_variation else (x, Y)
    assert torch.autograd.gradcheck(lambda *inputs: loss(*inputs), given, fast_mode=True)


def test_wrong_inputs_are_refused_in_a_sentence() -> None:
    with pytest.raises(UserError, match="made must hold floating-point numbers; found int64"):
        charbonnier(X.long(), Y)
    with pytest.raises(UserError, match="one number type"):
        charbonnier(X.float(), Y)
    with pytest.raises(ValueError, match="Expected made"):
        edge(X, Y[:1])
    with pytest.raises(UserError, match="offset is 0"):
        charbonnier(X, Y, offset=0)
    with pytest.raises(UserError, match="l1 is -1"):
        mixture(X, Y, l1=-1)
    with pytest.raises(ValueError, match="none of them empty"):
        dice(X[:0], Y[:0])
