"""Noise: independent, correlated between neighbours, and that of a camera at night.

Numbers are drawn from a generator that is an argument; equal generators give equal images.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor
from torch.nn.functional import pad

from nearfar.data.degradations.degradation import correlated, expect_image, of_images
from nearfar.errors import UserError
from nearfar.ranges import above, checked

__all__ = ["camera_noise", "correlated_noise", "gaussian_noise", "saturate"]


def gaussian_noise(
    image: Tensor, sigma: float | Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """Add independent Gaussian noise of standard deviation ``sigma``, a number or (N,).

    Example:
        >>> import torch
        >>> from nearfar.data.degradations.noise import gaussian_noise
        >>> gaussian_noise(torch.zeros(1, 1, 2, 2), 0.0).abs().max()
        tensor(0.)
    """
    expect_image(image)
    sigmas = of_images("sigma", sigma, image, least=0.0)
    return image + sigmas * _normal(image, generator)


def correlated_noise(
    image: Tensor, sigma: float | Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """Add Gaussian noise whose neighbours agree: white noise under a 3x3 binomial kernel.

    The kernel is [1, 2, 1]' [1, 2, 1] / 6, of squared sum 1, so that the standard deviation of each
    pixel stays ``sigma``, a number or (N,).

    Example:
        >>> import torch
        >>> from nearfar.data.degradations.noise import correlated_noise
        >>> correlated_noise(torch.zeros(1, 1, 4, 4), 0.0).abs().max()
        tensor(0.)

    Source: A stand-in for the noise of cameras after demosaicking, as in C-BSN (Jang et al. 2023).
    """
    expect_image(image)
    sigmas = of_images("sigma", sigma, image, least=0.0)
    taps = image.new_tensor([1.0, 2.0, 1.0])
    kernel = (taps[:, None] * taps[None, :] / 6).expand(image.shape[1], 1, 3, 3)
    white = _normal(pad(image, (1, 1, 1, 1)), generator)
    return image + sigmas * correlated(white, kernel)


def _normal(image: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard normal numbers of the image's shape and type, drawn on the generator's device."""
    device = image.device if generator is None else generator.device
    drawn = torch.randn(image.shape, generator=generator, device=device, dtype=image.dtype)
    return drawn.to(image.device)


def saturate(image: Tensor, gain: float = 1.2) -> Tensor:
    """Cut the highlights: clip(gain image, 0, 1) / gain.

    Example:
        >>> import torch
        >>> from nearfar.data.degradations.noise import saturate
        >>> saturate(torch.tensor([[[[0.4, 1.0]]]]), 2.0)
        tensor([[[[0.4000, 0.5000]]]])

    Source: INFWIDE (Zhang et al. 2023), the saturation of night photos.
    """
    expect_image(image)
    checked(Annotated[float, above(0)], "gain", gain)
    return (gain * image).clamp(0, 1) / gain


def camera_noise(image: Tensor, generator: torch.Generator) -> Tensor:
    """The noise of a camera at night: shot, dark current, read, row, pixel defects, levels.

    For each image the digital gain kc = floor U(4, 16), the dark current nd ~ U(2, 8), the read
    noise sr ~ U(0.5, 4) and the row noise sb ~ U(0.01, 0.03) are drawn; ka = 6 and kd = kc / 6.

    1. Electrons are 255 image / kc, twice as many in the second of three channels.
    2. Poisson(electrons), max(Poisson(nd) - nd, 0) and N(0, sr) are added.
    3. The sum is multiplied by a gain N(1, sb) of its row and by ka, half of it where electrons
       were doubled.
    4. A share of ka 1e-5 of the values goes to the top and ka 1e-6 to 0; all are cut to whole
       numbers.
    5. They are multiplied by kd, cut to 0 .. 255 and rounded to bytes.

    Args:
        image: (N, C, H, W) in [0, 1].
        generator: What is drawn from.

    Returns:
        (N, C, H, W) in [0, 1], whole multiples of 1 / 255.

    Raises:
        UserError: If values lie outside [0, 1].

    Example:
        >>> import torch
        >>> from nearfar.data.degradations.noise import camera_noise
        >>> noisy = camera_noise(torch.full((1, 3, 4, 4), 0.5), torch.Generator().manual_seed(0))
        >>> noisy.shape, bool((noisy * 255 == (noisy * 255).round()).all())
        (torch.Size([1, 3, 4, 4]), True)

    Source: INFWIDE (Zhang et al. 2023), the noise model.
    """
    expect_image(image)
    if bool((image < 0).any()) or bool((image > 1).any()):
        raise UserError("Camera noise needs values from 0 to 1; found values outside.")

    def uniform(low: float, high: float) -> Tensor:
        drawn = torch.rand(len(image), generator=generator, dtype=image.dtype)
        return (low + (high - low) * drawn).view(-1, 1, 1, 1)

    digital = uniform(4, 16).floor()
    dark, read, rows = uniform(2, 8), uniform(0.5, 4), uniform(0.01, 0.03)
    green = torch.ones(image.shape[1], 1, 1, dtype=image.dtype)
    if image.shape[1] == 3:
        green[1] = 2
    electrons = 255 * image / digital * green
    signal = torch.poisson(electrons, generator=generator)
    current = torch.poisson(dark.expand_as(image).contiguous(), generator=generator)
    signal = signal + (current - dark).clamp(min=0) + read * _normal(image, generator)
    row_gain = 1 + rows * _normal(image[..., :1], generator)
    gain = 6 * row_gain / green
    analogue = signal * gain
    salt = torch.rand(image.shape, generator=generator, dtype=image.dtype)
    step = digital / 6
    analogue = torch.where(salt < 6e-5, 255 / step, analogue)
    analogue = torch.where(salt > 1 - 6e-6, torch.zeros_like(analogue), analogue).trunc()
    return (analogue * step).clamp(0, 255).round() / 255
