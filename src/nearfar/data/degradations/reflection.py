"""Reflections in a window, blended onto a background."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from nearfar.data.degradations.degradation import expect_image, of_images
from nearfar.errors import UserError
from nearfar.ranges import above, checked

__all__ = ["reflection_blend"]

_REACH = 5


def reflection_blend(
    background: Tensor, reflection: Tensor, sigma: float | Tensor, *, gamma: float = 1.3
) -> tuple[Tensor, Tensor]:
    """Add a blurred reflection to a background, darkened where the sum would overflow.

    The reflection is blurred by an 11x11 Gaussian with zeros around the image. Where the largest
    sum of an image is above 1, gamma (mean of its sums above 1, minus 1) is taken from its
    reflection. The reflection and the sum are cut to [0, 1].

    Args:
        background: (N, C, H, W) in [0, 1].
        reflection: (N, C, H, W) in [0, 1].
        sigma: Standard deviation of the blur, above 0; a number or (N,). The paper draws U(2, 5).
        gamma: How much of the overflow is taken, above 0.

    Returns:
        The blend and the reflection in it, (N, C, H, W) each.

    Raises:
        UserError: If shapes differ or a setting is out of range.

    Example:
        >>> import torch
        >>> from nearfar.data.degradations.reflection import reflection_blend
        >>> blend, _ = reflection_blend(torch.ones(1, 3, 8, 8), torch.zeros(1, 3, 8, 8), 2.0)
        >>> bool((blend == 1).all())
        True

    Source: Fan et al. 2017 (CEILNet); as in ERRNet and RRFormer.
    """
    expect_image(background)
    expect_image(reflection)
    if background.shape != reflection.shape or background.dtype != reflection.dtype:
        raise UserError(
            f"background and reflection must be alike; found {tuple(background.shape)} and"
            f" {tuple(reflection.shape)}."
        )
    checked(Annotated[float, above(0)], "gamma", gamma)
    sigmas = of_images("sigma", sigma, background, least=1e-6)
    blurred = _blurred(reflection, sigmas)
    total = background + blurred
    over = total > 1
    count = over.sum(dim=(1, 2, 3), keepdim=True)
    mean = (total * over).sum(dim=(1, 2, 3), keepdim=True) / count.clamp(min=1)
    taken = torch.where(count > 0, gamma * (mean - 1), torch.zeros_like(mean))
    seen = (blurred - taken).clamp(0, 1)
    return (background + seen).clamp(0, 1), seen


def _blurred(image: Tensor, sigmas: Tensor) -> Tensor:
    """Each image under its own Gaussian of 11 taps both ways, zeros around it."""
    samples, channels = image.shape[:2]
    places = torch.arange(-_REACH, _REACH + 1, dtype=image.dtype, device=image.device)
    taps = (-places.square() / (2 * sigmas.view(-1, 1).square())).exp()
    taps = (taps / taps.sum(dim=1, keepdim=True)).expand(samples, -1)
    flat = image.reshape(1, samples * channels, *image.shape[2:])
    each = taps.repeat_interleave(channels, dim=0)
    groups = samples * channels
    down = conv2d(flat, each.view(groups, 1, -1, 1), padding=(_REACH, 0), groups=groups)
    both = conv2d(down, each.view(groups, 1, 1, -1), padding=(0, _REACH), groups=groups)
    return both.view(image.shape)
