"""Degradations: reference values, slow forms and other libraries, draws, and wrong inputs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import torch
from torch.nn.functional import interpolate
from torchvision.transforms.functional import adjust_sharpness

from nearfar.data.degradations.degradation import (
    gaussian_blur,
    kernel_blur,
    motion_kernel,
    quantise,
    sharpen,
)
from nearfar.data.degradations.noise import camera_noise, correlated_noise, gaussian_noise, saturate
from nearfar.data.degradations.reflection import reflection_blend
from nearfar.data.degradations.resampling import bicubic_down, bicubic_up
from nearfar.data.degradations.rolling_shutter import rolling_shutter
from nearfar.errors import UserError
from tests.losses.cases import close, leaves, named


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", named("g-pclsr-blur-*"))
def test_blur_and_bytes_equal_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    size, sigma = case["hp_kernel"].tolist(), case["hp_sigma"].tolist()
    found = gaussian_blur(case["in_image"], tuple(size), tuple(sigma))
    close(found, case["out_blur"])
    assert torch.equal(quantise(found), case["out_quantised"])


@pytest.mark.parametrize("name", named("g-infwide-reblur-*"))
def test_kernels_equal_the_reference_and_their_loss(golden: Any, name: str) -> None:
    case = golden(name)
    (x,) = leaves(case, "x")
    found = kernel_blur(x, case["in_kernel"])
    close(found, case["out_reblurred"])
    close(found, case["out_synth"])
    loss = (found - case["in_blurred"]).abs().mean()
    loss.backward()
    close(loss, case["out_loss"])
    close(x.grad, case["out_grad_x"])


@pytest.mark.parametrize("name", named("g-rrformer-synth1-*"))
def test_reflections_equal_the_reference(golden: Any, name: str) -> None:
    """The stored results are numbers of single precision, so they agree to 1e-7."""
    case = golden(name)
    back, front = (
        (case[f"in_{which}"].permute(2, 0, 1)[None].float() / 255).double()
        for which in ("background", "reflection")
    )
    blend, seen = reflection_blend(
        back, front, float(case["hp_sigma"]), gamma=float(case["hp_gamma"])
    )
    close(back[0].permute(1, 2, 0), case["out_background"])
    close(seen[0].permute(1, 2, 0), case["out_reflection"], rtol=1e-7)
    close(blend[0].permute(1, 2, 0), case["out_mixture"], rtol=1e-7)


@pytest.mark.parametrize("shape", [(3, 3), (4, 4), (5, 2)])
def test_kernel_blur_is_true_convolution(shape: tuple[int, int]) -> None:
    image, kernel = torch.rand(2, 3, 9, 8).double(), torch.rand(2, 1, *shape).double()
    found = kernel_blur(image, kernel)
    for n in range(2):
        for c in range(3):
            expected = scipy.ndimage.convolve(
                image[n, c].numpy(), kernel[n, 0].numpy(), mode="wrap"
            )
            np.testing.assert_allclose(found[n, c].numpy(), expected, rtol=1e-12)


def test_sharpening_is_torchvisions_and_takes_a_factor_an_image() -> None:
    image = torch.rand(2, 3, 7, 8, dtype=torch.float64)
    factors = torch.tensor([0.5, 2.5])
    found = sharpen(image, factors)
    for one, factor, expected in zip(found, factors, image, strict=True):
        torch.testing.assert_close(one, adjust_sharpness(expected, float(factor)))


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_bicubic_down_is_torchs_inside_and_mirrors_at_the_border(factor: int) -> None:
    image = torch.rand(2, 3, 12 * factor, 8 * factor, dtype=torch.float64)
    found = bicubic_down(image, factor)
    expected = interpolate(image, scale_factor=1 / factor, mode="bicubic", antialias=True)
    inside = (..., slice(2, -2), slice(2, -2))
    torch.testing.assert_close(found[inside], expected[inside], rtol=1e-10, atol=1e-10)
    side = 3 * factor
    twice = torch.cat([image.flip(3)[..., -side:], image, image.flip(3)[..., :side]], dim=3)
    mirrored = bicubic_down(twice, factor)[..., 3:-3]
    torch.testing.assert_close(found, mirrored, rtol=1e-10, atol=1e-10)
    assert torch.equal(bicubic_down(image, 1).round(decimals=12), image.round(decimals=12))


def test_bicubic_up_of_a_smooth_image_is_smooth_and_keeps_the_mean() -> None:
    ramp = torch.linspace(0, 1, 16, dtype=torch.float64).expand(1, 1, 16, 16)
    large = bicubic_up(ramp, 4)
    assert large.shape == (1, 1, 64, 64)
    step = large[0, 0, 30, 20:40].diff()
    torch.testing.assert_close(step, torch.full_like(step, 1 / 15 / 4), rtol=1e-9, atol=0)
    torch.testing.assert_close(large.mean(), ramp.mean())


def test_motion_kernels_sum_to_one_and_point_along_their_angle() -> None:
    kernels = motion_kernel(9, torch.tensor([4.0, 4.0, 0.0]), torch.tensor([0.0, math.pi / 2, 1]))
    torch.testing.assert_close(kernels.sum((1, 2, 3)), torch.ones(3))
    torch.testing.assert_close(kernels[0, 0], kernels[1, 0].T, rtol=0, atol=1e-6)
    assert kernels[0, 0, 4].gt(1e-6).sum() == 5
    assert kernels[2, 0, 4, 4] == kernels[2].max()


def test_noise_has_the_size_asked_for_and_follows_the_generator() -> None:
    image = torch.zeros(2, 1, 300, 300)
    sigma = torch.tensor([0.1, 0.3])
    for noise in (gaussian_noise, correlated_noise):
        found = noise(image, sigma, drawn())
        assert found.std(dim=(1, 2, 3)).tolist() == pytest.approx([0.1, 0.3], rel=0.05)
        assert torch.equal(found, noise(image, sigma, drawn()))
        assert not torch.equal(found, noise(image, sigma, drawn(1)))
    white, joined = gaussian_noise(image, 1.0, drawn()), correlated_noise(image, 1.0, drawn())
    beside = [(x[..., 1:] * x[..., :-1]).mean().item() for x in (white, joined)]
    assert beside == pytest.approx([0.0, 4 / 6], abs=0.02)


def test_camera_noise_keeps_the_mean_of_bright_images_and_is_drawn() -> None:
    image = torch.full((8, 3, 64, 64), 0.4)
    found = camera_noise(image, drawn())
    assert torch.equal(found, camera_noise(image, drawn()))
    assert found.mean().item() == pytest.approx(0.4, abs=0.05)
    assert found.std(dim=(2, 3)).min() > 0.005
    assert (found >= 0).all()
    assert (found <= 1).all()
    cut = saturate(torch.tensor([[[[0.5, 0.95]]]]), 1.2)
    torch.testing.assert_close(cut, torch.tensor([[[[0.5, 1 / 1.2]]]]))


def test_a_moving_scene_leans_and_a_still_one_does_not() -> None:
    frames = torch.eye(8).unsqueeze(1).expand(8, 8, 8)[None, :, None]
    down, up = rolling_shutter(frames, "down"), rolling_shutter(frames, "up")
    torch.testing.assert_close(down[0, 0], torch.eye(8))
    torch.testing.assert_close(up[0, 0], torch.eye(8).flip(0))
    still = torch.rand(2, 1, 3, 5, 4).expand(2, 3, 3, 5, 4)
    torch.testing.assert_close(rolling_shutter(still), still[:, 0])
    assert torch.equal(rolling_shutter(still[:, :1]), still[:, 0])


def test_wrong_inputs_are_refused_in_a_sentence() -> None:
    image = torch.rand(2, 3, 8, 8)
    with pytest.raises(UserError, match="expected an odd number"):
        gaussian_blur(image, (4, 3), (1.0, 1.0))
    with pytest.raises(UserError, match="too large for"):
        gaussian_blur(image, (19, 3), (1.0, 1.0))
    with pytest.raises(UserError, match="sigma is 0"):
        gaussian_blur(image, (3, 3), (0, 1.0))
    with pytest.raises(UserError, match="does not divide"):
        bicubic_down(image, 3)
    with pytest.raises(UserError, match="factor has 3 numbers; expected 1 or 2"):
        sharpen(image, torch.ones(3))
    with pytest.raises(UserError, match="sigma must be a number of at least 0"):
        gaussian_noise(image, -1.0)
    with pytest.raises(UserError, match=r"expected \(2, 1, K, L\)"):
        kernel_blur(image, torch.rand(3, 1, 3, 3))
    with pytest.raises(UserError, match="mode is 'wrap'"):
        kernel_blur(image, torch.rand(1, 1, 3, 3), mode="wrap")
    with pytest.raises(UserError, match="found uint8 of shape"):
        quantise(image.byte())
    with pytest.raises(UserError, match="found values outside"):
        camera_noise(image + 1, drawn())
    with pytest.raises(UserError, match="direction is 'left'"):
        rolling_shutter(image[None], "left")
    with pytest.raises(UserError, match="must be alike"):
        reflection_blend(image, image[:1], 2.0)
