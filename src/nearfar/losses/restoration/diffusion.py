"""Diffusion in pieces: noise schedules, one training loss for noise and one for velocity, DDIM."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import torch
from torch import Tensor

from nearfar.errors import UserError
from nearfar.losses.kernels.similarity import full_precision
from nearfar.losses.restoration.inputs import expect_number, expect_pictures, per_image
from nearfar.ranges import at_least, unit_interval

__all__ = ["ddim_sample", "flow_matching", "linear_shares", "noise_prediction", "noised"]


def linear_shares(steps: int = 2000, first: float = 1e-6, last: float = 1e-2) -> Tensor:
    """How much of the image is left at each step: the running product of 1 - beta, beta linear.

    Args:
        steps: T, at least 1.
        first: beta of the first step, from 0 to 1.
        last: beta of the last step.

    Returns:
        (T,) float64, falling.

    Example:
        >>> from nearfar.losses.restoration.diffusion import linear_shares
        >>> linear_shares(2, 0.5, 0.5)
        tensor([0.5000, 0.2500], dtype=torch.float64)

    Source: Ho et al. 2020 (DDPM); these numbers as in ID-Blau (Wu et al. 2024).
    """
    expect_number(Annotated[int, at_least(1)], steps=steps)
    expect_number(Annotated[float, unit_interval()], first=first, last=last)
    return (1 - torch.linspace(first, last, steps, dtype=torch.float64)).cumprod(dim=0)


@full_precision
def noised(clean: Tensor, noise: Tensor, share: Tensor) -> Tensor:
    """sqrt(share) clean + sqrt(1 - share) noise.

    Args:
        clean: (N, C, H, W).
        noise: (N, C, H, W) standard normal numbers.
        share: (N,) ``linear_shares`` at each sample's step.

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.diffusion import noised
        >>> noised(torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1), torch.tensor([0.75])).item()
        0.5

    Source: Ho et al. 2020, equation 4.
    """
    expect_pictures(clean=(clean, "N C H W"), noise=(noise, "N C H W"), share=(share, "N"))
    left = share.view(-1, 1, 1, 1)
    return left.sqrt() * clean + (1 - left).sqrt() * noise


@full_precision
def noise_prediction(
    predicted: Tensor, noise: Tensor, *, offset: float = 1e-6, reduction: str = "mean"
) -> Tensor:
    """Charbonnier distance of predicted and true noise: mean sqrt((predicted - noise)^2 + offset).

    Args:
        predicted: (N, C, H, W).
        noise: (N, C, H, W).
        offset: Number inside the root, at least 0: 1e-6 for ID-Blau, 0 for L1.
        reduction: "mean" for a scalar, or "none" for (N,).

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.diffusion import noise_prediction
        >>> noise_prediction(torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2), offset=0.0)
        tensor(1.)

    Source: Ho et al. 2020, equation 14, with ID-Blau's distance.
    """
    expect_pictures(predicted=(predicted, "N C H W"), noise=(noise, "N C H W"))
    expect_number(Annotated[float, at_least(0)], offset=offset)
    return per_image(((predicted - noise).square() + offset).sqrt(), reduction)


@full_precision
def flow_matching(
    velocity: Tensor, clean: Tensor, noise: Tensor, *, reduction: str = "mean"
) -> Tensor:
    """mean (velocity - (noise - clean))^2, for x_t = (1 - t) clean + t noise.

    Args:
        velocity: (N, ...) predicted at x_t.
        clean: (N, ...); receives no gradient.
        noise: (N, ...).
        reduction: "mean" for a scalar, or "none" for (N,).

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.diffusion import flow_matching
        >>> flow_matching(torch.ones(1, 2), torch.zeros(1, 2), torch.ones(1, 2))
        tensor(0.)

    Source: Lipman et al. 2023; Liu et al. 2023 (rectified flow).
    """
    axes = " ".join(["N", *(f"A{axis}" for axis in range(1, velocity.ndim))])
    expect_pictures(velocity=(velocity, axes), clean=(clean, axes), noise=(noise, axes))
    return per_image((velocity - (noise - clean.detach())).square(), reduction)


@torch.no_grad()
def ddim_sample(
    predict: Callable[[Tensor, Tensor], Tensor],
    noise: Tensor,
    shares: Tensor,
    *,
    steps: int = 20,
    limit: float | None = 0.5,
) -> Tensor:
    """From noise to an image in few steps, without drawing anything on the way.

    Steps are the indices 1, 1 + T // steps, ... of ``shares``, taken from the last to the first.
    The one before the first is index 0. With a and a' the shares at a step and at the one before,

        x0 = (x - sqrt(1 - a) eps) / sqrt(a),  x <- sqrt(a') x0 + sqrt(1 - a') eps

    Args:
        predict: From x (N, C, H, W) and steps (N,) int64 to the noise in x.
        noise: (N, C, H, W) to begin with.
        shares: (T,) ``linear_shares``.
        steps: How many, from 1 to T - 1.
        limit: The result is cut to [-limit, limit]; None for no cut.

    Returns:
        (N, C, H, W).

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.diffusion import ddim_sample, linear_shares
        >>> made = ddim_sample(lambda x, t: 0 * x, torch.ones(1, 1, 1, 1), linear_shares(), steps=5)
        >>> made.shape
        torch.Size([1, 1, 1, 1])

    Source: Song et al. 2021 (DDIM), equation 12 with eta 0.
    """
    expect_pictures(noise=(noise, "N C H W"))
    total = len(shares)
    if shares.ndim != 1 or not 1 <= steps < max(total, 2):
        raise UserError(f"steps is {steps}; expected from 1 to below the {total} of the schedule.")
    indices = [index + 1 for index in range(0, total, total // steps) if index + 1 < total]
    before = [0, *indices[:-1]]
    left = shares.to(noise)
    x = noise
    for now, then in zip(reversed(indices), reversed(before), strict=True):
        epsilon = predict(x, torch.full((len(x),), now, device=x.device))
        clean = (x - (1 - left[now]).sqrt() * epsilon) / left[now].sqrt()
        x = left[then].sqrt() * clean + (1 - left[then]).sqrt() * epsilon
    return x if limit is None else x.clamp(-limit, limit)
