"""C-BSN: a network that may not see a pixel teaches the same network that may."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from nearfar.errors import UserError
from nearfar.losses.kernels.similarity import full_precision
from nearfar.losses.restoration.inputs import expect_number, expect_pictures, per_image
from nearfar.ranges import at_least, whole_number

__all__ = ["batch_to_space", "blind_spot", "draw_places", "space_to_batch", "subsample"]


def space_to_batch(image: Tensor, stride: int) -> Tensor:
    """Every ``stride``-th pixel as an image of its own.

    Image (dy stride + dx) N + n of the result is image[n, :, dy::stride, dx::stride].

    Args:
        image: (N, C, H, W); the stride divides both sides.
        stride: At least 1.

    Returns:
        (stride^2 N, C, H / stride, W / stride).

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.blind_spot import space_to_batch
        >>> space_to_batch(torch.arange(4.0).view(1, 1, 2, 2), 2).flatten()
        tensor([0., 1., 2., 3.])

    Source: Jang et al. 2023 (C-BSN); Zhou et al. 2020 (pixel-shuffle downsampling).
    """
    expect_pictures(image=(image, "N C H W"))
    _expect_divides(image, stride)
    samples, channels, height, width = image.shape
    cells = image.view(samples, channels, height // stride, stride, width // stride, stride)
    return cells.permute(3, 5, 0, 1, 2, 4).reshape(-1, channels, height // stride, width // stride)


def batch_to_space(parts: Tensor, stride: int) -> Tensor:
    """Undo ``space_to_batch``.

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.blind_spot import batch_to_space, space_to_batch
        >>> image = torch.rand(2, 3, 6, 9)
        >>> bool((batch_to_space(space_to_batch(image, 3), 3) == image).all())
        True

    Source: Jang et al. 2023 (C-BSN).
    """
    expect_pictures(parts=(parts, "N C H W"))
    expect_number(Annotated[int, whole_number()], stride=stride)
    if len(parts) % stride**2:
        raise UserError(f"{len(parts)} parts are no multiple of {stride**2}.")
    channels, height, width = parts.shape[1:]
    cells = parts.view(stride, stride, -1, channels, height, width)
    return cells.permute(2, 3, 4, 0, 5, 1).reshape(-1, channels, height * stride, width * stride)


def draw_places(image: Tensor, stride: int, generator: torch.Generator) -> Tensor:
    """One of the stride^2 places of each cell, evenly: (N, H / stride, W / stride) int64.

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.blind_spot import draw_places
        >>> draw_places(torch.zeros(2, 3, 4, 6), 2, torch.Generator().manual_seed(0)).shape
        torch.Size([2, 2, 3])
    """
    _expect_divides(image, stride)
    shape = (len(image), image.shape[2] // stride, image.shape[3] // stride)
    drawn = torch.randint(0, stride**2, shape, generator=generator, device=generator.device)
    return drawn.to(image.device)


def subsample(image: Tensor, places: Tensor, stride: int = 2) -> Tensor:
    """One pixel of each stride x stride cell: place k is row k // stride, column k % stride.

    Args:
        image: (N, C, H, W); the stride divides both sides.
        places: (N, H / stride, W / stride) int64 from 0 to stride^2 - 1, ``draw_places``.
        stride: At least 1.

    Returns:
        (N, C, H / stride, W / stride).

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.blind_spot import subsample
        >>> subsample(torch.arange(4.0).view(1, 1, 2, 2), torch.tensor([[[3]]]))
        tensor([[[[3.]]]])

    Source: Jang et al. 2023 (C-BSN), section 3.3.
    """
    expect_pictures(image=(image, "N C H W"))
    _expect_divides(image, stride)
    samples, channels, height, width = image.shape
    shape = (samples, height // stride, width // stride)
    if places.shape != shape or places.is_floating_point():
        raise UserError(f"Expected whole places {shape}; found {tuple(places.shape)}.")
    cells = image.view(samples, channels, shape[1], stride, shape[2], stride)
    cells = cells.permute(0, 1, 2, 4, 3, 5).flatten(4)
    index = places[:, None, :, :, None].expand(-1, channels, -1, -1, -1)
    return cells.gather(4, index).squeeze(4)


@full_precision
def blind_spot(
    noisy: Tensor,
    blind: Tensor,
    sighted: Tensor,
    blind_of_places: Tensor,
    places: Tensor,
    *,
    progress: float = 1.0,
    invariance: float = 2.0,
    stride: int = 2,
    reduction: str = "mean",
) -> dict[str, Tensor]:
    """C-BSN's loss in its three terms and in all.

        blind = mean |f_M - x|,  self = mean |f - x|,  inv = mean |RS(f) - sg(f_M(RS(x)))|
        loss = blind + min(progress, 1) (self + invariance inv)

    f is the sighted network, f_M the masked one, x the noisy image and RS ``subsample``.

    Args:
        noisy: (N, C, H, W), x.
        blind: (N, C, H, W) the masked network on ``space_to_batch`` of x, put together again.
        sighted: (N, C, H, W) the sighted network on x.
        blind_of_places: (N, C, H / stride, W / stride) the masked network on the subsampled x;
            receives no gradient.
        places: (N, H / stride, W / stride) int64, the same that subsampled x.
        progress: Finished share of the ramp, at least 0; the authors' ramp is 200,000 steps long.
        invariance: Weight, at least 0.
        stride: Of the subsampling.
        reduction: "mean" for scalars, or "none" for (N,).

    Returns:
        "blind", "self", "invariance" and "loss".

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.blind_spot import blind_spot
        >>> x = torch.zeros(1, 1, 2, 2)
        >>> terms = blind_spot(x, x + 1, x + 2, x[..., :1, :1], torch.zeros(1, 1, 1).long())
        >>> terms["loss"]
        tensor(7.)

    Source: Jang et al. 2023, "Self-supervised Image Denoising with Downsampled Invariance Loss and
    Conditional Blind-Spot Network", equation 8.
    """
    expect_number(Annotated[float, at_least(0)], progress=progress, invariance=invariance)
    expect_pictures(
        noisy=(noisy, "N C H W"),
        blind=(blind, "N C H W"),
        sighted=(sighted, "N C H W"),
        blind_of_places=(blind_of_places, "N C h w"),
    )
    seen = subsample(sighted, places, stride)
    expect_pictures(subsampled=(seen, "N C h w"), blind_of_places=(blind_of_places, "N C h w"))
    terms = {
        "blind": per_image((blind - noisy).abs(), reduction),
        "self": per_image((sighted - noisy).abs(), reduction),
        "invariance": per_image((seen - blind_of_places.detach()).abs(), reduction),
    }
    ramp = min(progress, 1.0)
    rest = terms["self"] + invariance * terms["invariance"]
    return {**terms, "loss": terms["blind"] + ramp * rest}


def _expect_divides(image: Tensor, stride: int) -> None:
    expect_number(Annotated[int, whole_number()], stride=stride)
    if image.shape[-2] % stride or image.shape[-1] % stride:
        raise UserError(
            f"A stride of {stride} does not divide {tuple(image.shape[-2:])} pixels: crop first."
        )
