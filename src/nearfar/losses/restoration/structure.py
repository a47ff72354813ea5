"""How alike two images are: PSNR, SSIM and MS-SSIM, as measures and as objectives (1 - value)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d

from nearfar.errors import UserError
from nearfar.losses.kernels.similarity import full_precision
from nearfar.losses.restoration.inputs import (
    expect_choice,
    expect_number,
    expect_pictures,
    per_image,
)
from nearfar.ranges import above, at_least, unit_interval

__all__ = [
    "MS_SSIM_WEIGHTS",
    "fitting_scales",
    "gaussian_window",
    "luma",
    "ms_ssim",
    "psnr",
    "ssim",
]

MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales of MS-SSIM, finest first."""
_LUMA = (65.481, 128.553, 24.966)


@full_precision
def luma(image: Tensor, *, peak: float = 1.0) -> Tensor:
    """The brightness channel of colour images, by BT.601 with the range of studio video.

        Y = (65.481 R + 128.553 G + 24.966 B) / 255 + 16 peak / 255

    Args:
        image: (N, 3, H, W) red, green and blue from 0 to ``peak``.
        peak: Largest value of a pixel, above 0.

    Returns:
        (N, 1, H, W), from 16/255 to 235/255 of the peak.

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.structure import luma
        >>> luma(torch.full((1, 3, 1, 1), 255.0), peak=255.0).flatten()
        tensor([235.])

    Source: ITU-R BT.601.
    """
    expect_pictures(image=(image, "N C H W"))
    expect_number(Annotated[float, above(0)], peak=peak)
    if image.shape[1] != 3:
        raise UserError(f"Brightness is made of 3 colour channels; found {image.shape[1]}.")
    weights = image.new_tensor(_LUMA).view(1, 3, 1, 1)
    return (image * weights).sum(dim=1, keepdim=True) / 255 + 16 * peak / 255


@full_precision
def psnr(
    made: Tensor,
    truth: Tensor,
    *,
    peak: float = 1.0,
    offset: float = 1e-8,
    border: int = 0,
    brightness: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """Peak signal-to-noise ratio in decibels, higher for more alike.

        psnr = 10 log10( peak^2 / (mean (made - truth)^2 + offset) )

    Args:
        made: (N, C, H, W).
        truth: (N, C, H, W).
        peak: Largest value of a pixel, above 0: 1, or 255 for bytes.
        offset: Number added to the squared error, at least 0. With 0 equal images give infinity.
        border: Pixels left out on every side, at least 0.
        brightness: Compare ``luma`` alone, as the super-resolution protocols do.
        reduction: "mean" over images, or "none": (N,).

    Raises:
        UserError: If shapes differ or the border leaves nothing.

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.structure import psnr
        >>> psnr(torch.full((1, 1, 2, 2), 0.1), torch.zeros(1, 1, 2, 2))
        tensor(20.0000)

    Source: The usual definition; the offset as in BasicSR.
    """
    expect_pictures(made=(made, "N C H W"), truth=(truth, "N C H W"))
    expect_number(Annotated[float, above(0)], peak=peak)
    expect_number(Annotated[float, at_least(0)], offset=offset)
    expect_number(Annotated[int, at_least(0)], border=border)
    if 2 * border >= min(made.shape[2:]):
        raise UserError(f"A border of {border} leaves nothing of {tuple(made.shape[2:])} pixels.")
    if brightness:
        made, truth = luma(made, peak=peak), luma(truth, peak=peak)
    height, width = made.shape[2:]
    inside = (..., slice(border, height - border), slice(border, width - border))
    error = per_image((made - truth)[inside].square(), "none")
    return per_image(10 * (peak * peak / (error + offset)).log10(), reduction)


def gaussian_window(size: int, sigma: float) -> Tensor:
    """A Gaussian of ``size`` taps that sum to 1, centred; float64.

    Example:
        >>> from nearfar.losses.restoration.structure import gaussian_window
        >>> gaussian_window(3, 0.5)
        tensor([0.1065, 0.7870, 0.1065], dtype=torch.float64)
    """
    expect_number(Annotated[int, at_least(1)], size=size)
    expect_number(Annotated[float, above(0)], sigma=sigma)
    places = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    taps = (-places.square() / (2 * sigma * sigma)).exp()
    return taps / taps.sum()


@full_precision
def ssim(
    made: Tensor,
    truth: Tensor,
    *,
    window: int = 11,
    sigma: float = 1.5,
    peak: float = 1.0,
    padding: str = "valid",
    reduction: str = "mean",
) -> Tensor:
    """Structural similarity, from -1 to 1, higher for more alike.

        ssim = mean of (2 m_x m_y + C1)(2 c + C2) / ((m_x^2 + m_y^2 + C1)(v_x + v_y + C2))

    m, v and c are local means, variances and covariance under a Gaussian window,
    C1 = (0.01 peak)^2 and C2 = (0.03 peak)^2. The mean goes over places and channels.

    Args:
        made: (N, C, H, W).
        truth: (N, C, H, W).
        window: Side of the window, odd, at least 1.
        sigma: Its standard deviation, above 0.
        peak: Largest value of a pixel, above 0.
        padding: "valid" for places whose window lies inside the image, or "same" for all places,
            with zeros around the image.
        reduction: "mean" over images, or "none": (N,).

    Raises:
        UserError: If shapes differ or the image is smaller than the window.

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.structure import ssim
        >>> image = torch.linspace(0, 1, 144).view(1, 1, 12, 12)
        >>> ssim(image, image)
        tensor(1.)

    Source: Wang et al. 2004, "Image Quality Assessment: From Error Visibility to Structural
    Similarity".
    """
    _expect_pair(made, truth, window, sigma, peak)
    expect_choice("padding", padding, ("valid", "same"))
    if padding == "valid" and min(made.shape[2:]) < window:
        raise UserError(
            f"A window of {window} needs sides of at least {window} pixels;"
            f" found {tuple(made.shape[2:])}: take a smaller window."
        )
    luminance, structure = _maps(made, truth, window, sigma, peak, padding == "same")
    return per_image(luminance * structure, reduction)


@full_precision
def ms_ssim(
    made: Tensor,
    truth: Tensor,
    *,
    window: int = 11,
    sigma: float = 1.5,
    weights: Sequence[float] = MS_SSIM_WEIGHTS,
    peak: float = 1.0,
    floor: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    """Structural similarity over several scales, from 0 to 1, higher for more alike.

        ms_ssim = ssim_M^w_M prod_{j<M} cs_j^w_j   for each channel, then the mean over channels

    cs_j is the mean over places of (2 c + C2) / (v_x + v_y + C2) at scale j, and ssim_M that of
    ``ssim`` at the coarsest scale. Between scales images are halved by 2x2 average pooling; an odd
    side is padded by one zero on both ends, and zeros count. Factors below ``floor`` are raised to
    it. Where a factor is raised it has no gradient.

    Args:
        made: (N, C, H, W).
        truth: (N, C, H, W).
        window: Side of the window, odd; the shorter side of the images has at least
            (window - 1) 2^(M - 1) + 1 pixels. ``fitting_scales`` finds what fits.
        sigma: Standard deviation of the window, above 0.
        weights: One exponent a scale, finest first, above 0.
        peak: Largest value of a pixel, above 0.
        floor: Least value of a factor, from 0 to 1: 0 as a measure, 1e-6 as an objective.
        reduction: "mean" over images, or "none": (N,).

    Raises:
        UserError: If shapes differ or the image is too small.

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.structure import ms_ssim
        >>> image = torch.linspace(0, 1, 400).view(1, 1, 20, 20)
        >>> ms_ssim(image, image, window=5, weights=(0.5, 0.5))
        tensor(1.)

    Source: Wang et al. 2003, "Multiscale Structural Similarity for Image Quality Assessment"; as an
    objective Snell et al. 2017.
    """
    _expect_pair(made, truth, window, sigma, peak)
    expect_number(Annotated[float, unit_interval()], floor=floor)
    if not weights:
        raise UserError("weights is empty; expected one exponent for each scale.")
    for weight in weights:
        expect_number(Annotated[float, above(0)], weights=weight)
    least = (window - 1) * 2 ** (len(weights) - 1) + 1
    if min(made.shape[2:]) < least:
        raise UserError(
            f"{len(weights)} scales with a window of {window} need sides of at least {least}"
            f" pixels; found {tuple(made.shape[2:])}: take fitting_scales."
        )
    value = torch.ones((), dtype=made.dtype, device=made.device)
    for scale, weight in enumerate(weights):
        luminance, structure = _maps(made, truth, window, sigma, peak, False)
        last = scale + 1 == len(weights)
        factor = (luminance * structure if last else structure).mean(dim=(2, 3))
        value = value * _power(factor, weight, floor)
        made, truth = _halved(made), _halved(truth)
    return per_image(value, reduction)


def fitting_scales(height: int, width: int) -> tuple[int, tuple[float, ...]]:
    """The largest window and the exponents of MS-SSIM that fit images of a size.

    Of the windows of 11, 9, 7 and 5 and of at most five scales the most scales are taken, and then
    the largest window. Smaller windows are taken for images below 5 pixels. The exponents are those
    of the finest scales and sum to 1.

    Raises:
        UserError: If a side is below 1.

    Example:
        >>> from nearfar.losses.restoration.structure import fitting_scales
        >>> window, weights = fitting_scales(32, 32)
        >>> window, len(weights), round(sum(weights), 6)
        (7, 3, 1.0)
    """
    side = min(height, width)
    if side < 1:
        raise UserError(f"An image has at least 1 pixel a side; found {height} x {width}.")
    for scales in range(5, 0, -1):
        for window in (11, 9, 7, 5):
            if (window - 1) * 2 ** (scales - 1) + 1 <= side:
                return window, _renormalised(scales)
    return (3 if side >= 3 else 1), _renormalised(1)


def _renormalised(scales: int) -> tuple[float, ...]:
    chosen = MS_SSIM_WEIGHTS[:scales]
    return tuple(weight / math.fsum(chosen) for weight in chosen)


def _expect_pair(made: Tensor, truth: Tensor, window: int, sigma: float, peak: float) -> None:
    expect_pictures(made=(made, "N C H W"), truth=(truth, "N C H W"))
    expect_number(Annotated[int, at_least(1)], window=window)
    expect_number(Annotated[float, above(0)], sigma=sigma, peak=peak)
    if window % 2 == 0:
        raise UserError(f"window is {window}; expected an odd number.")


def _maps(
    made: Tensor, truth: Tensor, window: int, sigma: float, peak: float, padded: bool
) -> tuple[Tensor, Tensor]:
    """Luminance and contrast-structure at every place, (N, C, H', W') each."""
    low, high = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    taps = gaussian_window(window, sigma).to(made)
    moments = torch.stack([made, truth, made * made, truth * truth, made * truth])
    padding = window // 2 if padded else 0
    smooth = _smoothed(moments.flatten(0, 2).unsqueeze(1), taps, padding).squeeze(1)
    mean_x, mean_y, square_x, square_y, product = smooth.view(*moments.shape[:3], *smooth.shape[1:])
    luminance = (2 * mean_x * mean_y + low) / (mean_x.square() + mean_y.square() + low)
    variances = square_x - mean_x.square() + square_y - mean_y.square()
    structure = (2 * (product - mean_x * mean_y) + high) / (variances + high)
    return luminance, structure


def _smoothed(images: Tensor, taps: Tensor, padding: int) -> Tensor:
    down = conv2d(images, taps.view(1, 1, -1, 1), padding=(padding, 0))
    return conv2d(down, taps.view(1, 1, 1, -1), padding=(0, padding))


def _halved(images: Tensor) -> Tensor:
    return avg_pool2d(images, 2, padding=(images.shape[2] % 2, images.shape[3] % 2))


def _power(base: Tensor, exponent: float, floor: float) -> Tensor:
    """max(base, floor)^exponent, without gradient where the floor holds; at 0 it is infinite."""
    held = base <= floor
    inside = torch.where(held, torch.ones_like(base), base).pow(exponent)
    return torch.where(held, torch.full_like(base, floor**exponent), inside)
