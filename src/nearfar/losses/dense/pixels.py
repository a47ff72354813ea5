"""Pixels of two crops as pairs: positive when they lie close in the original image (PixPro,
PixContrast)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from nearfar.losses.instance.masked_contrast import masked_contrast
from nearfar.losses.kernels.blocks import in_row_blocks
from nearfar.losses.kernels.similarity import (
    expect_shapes,
    expect_temperature,
    full_precision,
    reduce,
)

__all__ = ["pixcontrast", "pixel_pairs", "pixpro", "propagate"]


@full_precision
def pixel_pairs(
    box1: Tensor, box2: Tensor, height: int, width: int, *, ratio: float = 0.7
) -> Tensor:
    """Which pixels of two feature maps are positive pairs.

    Args:
        box1: (N, 4) corners (x0, y0, x1, y1) of the first crop relative to its image; x0 > x1 after
            a horizontal flip.
        box2: (N, 4) of the second crop.
        height: rows of the feature maps.
        width: columns.
        ratio: largest distance (exclusive) of two pixel centres, in units of the larger bin
            diagonal.

    Returns:
        (N, height * width, height * width) bool, row-major pixels of map 1 by those of map 2.

    Source: Xie et al. 2021 (PixPro), section 3.1.
    """
    x1, y1, diagonal1 = _centres(box1, height, width)
    x2, y2, diagonal2 = _centres(box2, height, width)
    distance = (
        (x1[:, :, None] - x2[:, None]).square() + (y1[:, :, None] - y2[:, None]).square()
    ).sqrt()
    return distance / torch.maximum(diagonal1, diagonal2)[:, None, None] < ratio


def _centres(box: Tensor, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    bin_width = (box[:, 2] - box[:, 0]) / width
    bin_height = (box[:, 3] - box[:, 1]) / height
    columns = torch.arange(width, dtype=box.dtype, device=box.device) + 0.5
    rows = torch.arange(height, dtype=box.dtype, device=box.device) + 0.5
    x = (box[:, :1] + columns * bin_width[:, None])[:, None, :].expand(-1, height, -1).flatten(1)
    y = (box[:, 1:2] + rows * bin_height[:, None])[:, :, None].expand(-1, -1, width).flatten(1)
    return x, y, (bin_width.square() + bin_height.square()).sqrt()


@full_precision
def pixpro(query: Tensor, key: Tensor, positive: Tensor, *, reduction: str = "mean") -> Tensor:
    """Pixel-to-propagation consistency, one direction.

        - 2 mean_n ( sum over positive pairs of q . k / (number of positive pairs + 1e-6) );  both
          directions range from -4 to 4

    Args:
        query: (N, C, H, W) propagated online maps, unit over channels.
        key: (N, C, H, W) target maps, unit over channels; pass them detached.
        positive: (N, HW, HW) bool from ``pixel_pairs``. An image without overlap adds 0.
        reduction: "mean", or "none": (N,).

    Example:
        >>> import torch
        >>> from nearfar.losses.dense.pixels import pixpro
        >>> q, positive = torch.ones(1, 1, 2, 2), torch.ones(1, 4, 4, dtype=torch.bool)
        >>> pixpro(q, q, positive)
        tensor(-2.0000)

    Source: Xie et al. 2021 (PixPro), equation 5.
    """
    _expect_maps(query, key, positive)
    similar = torch.einsum("nci,ncj->nij", query.flatten(2), key.flatten(2))
    count = (
        positive.sum((1, 2)).float() + 1e-6
    )  # single precision at any input, as in the authors' code: it shows at 3e-8
    return reduce(-2 * (similar * positive).sum((1, 2)) / count, reduction)


def _expect_maps(query: Tensor, key: Tensor, positive: Tensor) -> None:
    expect_shapes(query=(query, "N C H W"), key=(key, "N C H W"))
    pixels = query.shape[2] * query.shape[3]
    if positive.shape != (len(query), pixels, pixels):
        raise ValueError(
            f"positive must be (N, HW, HW), here {(len(query), pixels, pixels)}; found "
            f"{tuple(positive.shape)}."
        )


@full_precision
def pixcontrast(
    query: Tensor,
    key: Tensor,
    positive: Tensor,
    *,
    temperature: float = 0.3,
    reduction: str = "mean",
) -> Tensor:
    """Pixel contrast, one direction: positive pixels against all other pixels of the same image's
    other view.

        - mean over pixels with a positive of log ( sum_pos exp(cos / tau) / sum_all exp(cos / tau)
          )

    Args:
        query: (N, C, H, W) online maps, unit over channels.
        key: (N, C, H, W) target maps of the other view, unit over channels.
        positive: (N, HW, HW) bool from ``pixel_pairs``.
        temperature: above 0.
        reduction: "mean" over the pixels that have a positive, or "none": (N, HW), 0 for those that
            have not.

    Example:
        >>> import torch
        >>> from nearfar.losses.dense.pixels import pixcontrast
        >>> q, positive = torch.ones(1, 1, 2, 2), torch.eye(4, dtype=torch.bool)[None]
        >>> pixcontrast(q, q, positive)
        tensor(1.3863)

    Source: Xie et al. 2021 (PixPro), equation 2.
    """
    _expect_maps(query, key, positive)
    expect_temperature(temperature)

    def losses(images: slice) -> Tensor:
        logits = query[images].flatten(2).mT @ key[images].flatten(2) / temperature
        pairs = positive[images].flatten(0, 1)
        return masked_contrast(
            logits.flatten(0, 1), pairs, torch.ones_like(pairs), form="joint"
        ).view(logits.shape[:2])

    found = in_row_blocks(losses, query, columns=positive[0].numel())
    return (
        reduce(found, reduction)
        if reduction != "mean"
        else found.sum() / positive.any(2).sum().clamp(min=1)
    )


@full_precision
def propagate(x: Tensor, value: Tensor, *, gamma: float = 2.0) -> Tensor:
    """Smooth a feature map by its own similarities.

        y_i = sum_j max(cos(x_i, x_j), 0)^gamma norm(value_j), over all pixels j of the image, i
        included

    Args:
        x: (N, C, H, W) maps that say what is similar.
        value: (N, C, H, W) transformed maps, normalised here over channels.
        gamma: sharpness; below 1 a similarity gets 1e-6 first, so that its power has a gradient.

    Returns:
        (N, C, H, W), not normalised.

    Source: Xie et al. 2021 (PixPro), equations 3 and 4.
    """
    unit = normalize(x.flatten(2), dim=1)
    similar = torch.einsum("nci,ncj->nij", unit, unit).clamp(min=0)
    if gamma < 1:
        similar = similar + 1e-6
    return torch.einsum(
        "nij,ncj->nci", similar.pow(gamma), normalize(value.flatten(2), dim=1)
    ).view_as(value)
