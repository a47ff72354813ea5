"""PSNR, SSIM and MS-SSIM: reference values, slow forms, limits, and wrong inputs."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from nearfar.errors import UserError
from nearfar.losses.restoration.structure import (
    MS_SSIM_WEIGHTS,
    fitting_scales,
    gaussian_window,
    luma,
    ms_ssim,
    psnr,
    ssim,
)
from tests.losses.cases import close, leaves, named


def bytes_of(case: Any, name: str) -> Tensor:
    """A stored (H, W, C) byte image as (1, C, H, W) float64 from 0 to 255."""
    image: Tensor = case[f"in_{name}"]
    return image.double().permute(2, 0, 1)[None]


@pytest.mark.parametrize("name", named("g-metrics-psnrssim-*"))
def test_byte_images_equal_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    made, truth = bytes_of(case, "img1"), bytes_of(case, "img2")
    border = int(case["hp_crop_border"])
    bright = bool(case["hp_y_channel"])
    found = psnr(made, truth, peak=255.0, offset=0.0, border=border, brightness=bright)
    close(found, case["out_psnr"])
    if bright:
        made, truth = luma(made, peak=255.0), luma(truth, peak=255.0)
    inside = (..., slice(border, made.shape[2] - border), slice(border, made.shape[3] - border))
    close(ssim(made[inside], truth[inside], peak=255.0), case["out_ssim"])


@pytest.mark.parametrize("name", named("g-metrics-psnrpt-*"))
def test_float_images_equal_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    x, y = case["in_x"], case["in_y"]
    close(psnr(x, y, reduction="none"), case["out_psnr"])
    border = int(case["hp_crop_y"])
    found = psnr(x, y, border=border, brightness=True, reduction="none")
    close(found, case["out_psnr_y"])
    close(ssim(x, y, reduction="none"), case["out_ssim"])


@pytest.mark.parametrize("name", named("g-mssim-ssim-*"))
def test_ssim_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    (x,) = leaves(case, "x")
    given = {
        "window": int(case["hp_win_size"]),
        "sigma": float(case["hp_sigma"]),
        "peak": float(case["hp_data_range"]),
    }
    close(ssim(x, case["in_y"], reduction="none", **given), case["out_ssim_per_image"])
    loss = 1 - ssim(x, case["in_y"], **given)
    loss.backward()
    close(loss, case["out_loss"])
    close(x.grad, case["out_grad_x"])


@pytest.mark.parametrize("name", named("g-mssim-msssim-*"))
def test_ms_ssim_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    (x,) = leaves(case, "x")
    given = {
        "window": int(case["hp_win_size"]),
        "sigma": float(case["hp_sigma"]),
        "weights": case["hp_weights"].tolist(),
        "peak": float(case["hp_data_range"]),
    }
    values = ms_ssim(x, case["in_y"], reduction="none", **given)
    close(values, case["out_msssim_per_image"])
    loss = 1 - ms_ssim(x, case["in_y"], **given)
    loss.backward()
    if "out_loss" in case:
        close(loss, case["out_loss"])
        close(x.grad, case["out_grad_x"])
    else:
        assert torch.equal(values, torch.zeros_like(values))
        assert torch.isfinite(x.grad).all()


def slow_ssim(x: Tensor, y: Tensor, window: int, sigma: float, peak: float) -> float:
    """One channel, one place after another."""
    taps = gaussian_window(window, sigma)
    weight = taps[:, None] * taps[None, :]
    values = []
    for row in range(x.shape[0] - window + 1):
        for column in range(x.shape[1] - window + 1):
            a = x[row : row + window, column : column + window]
            b = y[row : row + window, column : column + window]
            ma, mb = (weight * a).sum(), (weight * b).sum()
            va, vb = (weight * (a - ma) ** 2).sum(), (weight * (b - mb) ** 2).sum()
            c = (weight * (a - ma) * (b - mb)).sum()
            low, high = (0.01 * peak) ** 2, (0.03 * peak) ** 2
            values.append(
                (2 * ma * mb + low) * (2 * c + high) / ((ma**2 + mb**2 + low) * (va + vb + high))
            )
    return float(torch.stack(values).mean())


def test_ssim_equals_its_slow_form() -> None:
    x, y = torch.rand(2, 1, 1, 9, 8, dtype=torch.float64)
    found = ssim(x, y, window=5, sigma=1.1, peak=2.0)
    assert found.item() == pytest.approx(slow_ssim(x[0, 0], y[0, 0], 5, 1.1, 2.0), rel=1e-9)


def test_equal_images_have_the_best_values_and_noise_lowers_them() -> None:
    image = torch.rand(2, 3, 48, 48, dtype=torch.float64)
    assert psnr(image, image, offset=0.0) == math.inf
    assert psnr(image, image).item() == pytest.approx(80.0)
    for measure in (ssim, lambda a, b: ms_ssim(a, b, window=3)):
        assert measure(image, image).item() == pytest.approx(1.0)
        little, much = (measure(image + s * torch.randn_like(image), image) for s in (0.05, 0.5))
        assert 1 > float(little) > float(much)


def test_the_floor_holds_the_gradient_of_ms_ssim_finite() -> None:
    x = torch.rand(1, 1, 40, 40, dtype=torch.float64)
    y = (1 - x).requires_grad_()
    loss = 1 - ms_ssim(x, y, window=3, floor=1e-6)
    (slope,) = torch.autograd.grad(loss, y)
    assert float(loss.detach()) < 1
    assert torch.isfinite(slope).all()


def test_same_padding_counts_every_place() -> None:
    x, y = torch.rand(2, 1, 1, 8, 8, dtype=torch.float64)
    padded = torch.nn.functional.pad(torch.stack([x, y]).flatten(0, 1), (2, 2, 2, 2))
    expected = ssim(padded[:1], padded[1:], window=5)
    torch.testing.assert_close(ssim(x, y, window=5, padding="same"), expected)


@pytest.mark.parametrize(
    ("side", "window", "scales"), [(256, 11, 5), (32, 7, 3), (8, 7, 1), (4, 3, 1), (2, 1, 1)]
)
def test_what_fits_an_image_works_on_it(side: int, window: int, scales: int) -> None:
    found, weights = fitting_scales(side, side + 1)
    assert (found, len(weights)) == (window, scales)
    image = torch.rand(1, 1, side, side + 1)
    assert 0 < ms_ssim(image, image * 0.9, window=found, weights=weights).item() <= 1
    assert fitting_scales(500, 500)[1] == pytest.approx([w / 1.0001 for w in MS_SSIM_WEIGHTS])


def test_half_precision_computes_in_single() -> None:
    image = torch.rand(1, 1, 12, 12)
    assert ssim(image.half(), image.half()).dtype == torch.float32


def test_wrong_inputs_are_refused_in_a_sentence() -> None:
    x = torch.rand(1, 1, 8, 8)
    with pytest.raises(UserError, match="A window of 11 needs sides of at least 11 pixels"):
        ssim(x, x)
    with pytest.raises(UserError, match="need sides of at least 161 pixels"):
        ms_ssim(x, x)
    with pytest.raises(UserError, match="window is 4; expected an odd number"):
        ssim(x, x, window=4)
    with pytest.raises(UserError, match="peak is 0"):
        psnr(x, x, peak=0)
    with pytest.raises(UserError, match="leaves nothing of"):
        psnr(x, x, border=4)
    with pytest.raises(UserError, match="3 colour channels; found 1"):
        psnr(x, x, brightness=True)
    with pytest.raises(UserError, match="padding is 'full'"):
        ssim(x, x, window=3, padding="full")
    with pytest.raises(UserError, match="weights is empty"):
        ms_ssim(x, x, window=3, weights=())
    with pytest.raises(ValueError, match="Expected made"):
        psnr(x, x[:, :, 1:])
    with pytest.raises(UserError, match="found uint8"):
        psnr(x.byte(), x.byte())
    with pytest.raises(UserError, match="reduction is 'sum'"):
        psnr(x, x, reduction="sum")
