"""How far an image is from the truth, pixel by pixel: L1s, gradients, edges, masks, dice."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from nearfar.losses.kernels.similarity import full_precision
from nearfar.losses.restoration.inputs import expect_number, expect_pictures, per_image
from nearfar.losses.restoration.structure import ssim
from nearfar.ranges import above, at_least

__all__ = [
    "charbonnier",
    "dice",
    "edge",
    "flow_variation",
    "gradient_l1",
    "laplacian",
    "masked_l1",
    "mixture",
    "spectrum_l1",
    "total_variation",
]

_BINOMIAL = (0.05, 0.25, 0.4, 0.25, 0.05)


@full_precision
def charbonnier(
    made: Tensor, truth: Tensor, *, offset: float = 1e-9, reduction: str = "mean"
) -> Tensor:
    """A smooth L1: the mean of sqrt((made - truth)^2 + offset).

    Args:
        made: (N, C, H, W).
        truth: (N, C, H, W).
        offset: Number inside the root, above 0: 1e-9 for SelfDRSC, 1e-6 for MPRNet.
        reduction: "mean" for a scalar, or "none" for (N,).

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.fidelity import charbonnier
        >>> charbonnier(torch.full((1, 1, 2, 2), 3.0), torch.zeros(1, 1, 2, 2))
        tensor(3.)

    Source: Charbonnier et al. 1994; Lai et al. 2017.
    """
    expect_pictures(made=(made, "N C H W"), truth=(truth, "N C H W"))
    expect_number(Annotated[float, above(0)], offset=offset)
    return per_image(((made - truth).square() + offset).sqrt(), reduction)


@full_precision
def gradient_l1(made: Tensor, truth: Tensor, *, reduction: str = "mean") -> Tensor:
    """L1 between forward differences, along rows and along columns, each averaged over its size.

        loss = mean |d_y made - d_y truth| + mean |d_x made - d_x truth|

    Args:
        made: (N, C, H, W), sides of at least 2.
        truth: (N, C, H, W).
        reduction: "mean" for a scalar, or "none" for (N,).

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.fidelity import gradient_l1
        >>> gradient_l1(torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]]), torch.zeros(1, 1, 2, 2))
        tensor(1.)

    Source: Mathieu et al. 2016; as in ERRNet and RRFormer.
    """
    expect_pictures(made=(made, "N C H W"), truth=(truth, "N C H W"))
    difference = made - truth
    down = per_image(difference.diff(dim=2).abs(), "none")
    across = per_image(difference.diff(dim=3).abs(), "none")
    return per_image(down + across, reduction)


@full_precision
def total_variation(image: Tensor, *, reduction: str = "mean") -> Tensor:
    """Squared forward differences, each direction averaged over its size, times 2.

        loss = 2 ( mean (d_y image)^2 + mean (d_x image)^2 )

    Args:
        image: (N, C, H, W), sides of at least 2.
        reduction: "mean" for a scalar, or "none" for (N,).

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.fidelity import total_variation
        >>> total_variation(torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]]))
        tensor(2.)

    Source: Rudin et al. 1992, squared; as in INFWIDE.
    """
    expect_pictures(image=(image, "N C H W"))
    down = per_image(image.diff(dim=2).square(), "none")
    across = per_image(image.diff(dim=3).square(), "none")
    return per_image(2 * (down + across), reduction)


@full_precision
def flow_variation(flow: Tensor, *, reduction: str = "mean") -> Tensor:
    """How uneven a displacement field is: the mean of squared forward differences both ways.

        loss = mean ( (d_x flow)^2 + (d_y flow)^2 ),  0 beyond the last row and column

    Args:
        flow: (N, C, H, W).
        reduction: "mean" for a scalar, or "none" for (N,).

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.fidelity import flow_variation
        >>> flow_variation(torch.tensor([[[[0.0, 2.0]]]]))
        tensor(2.)

    Source: SelfDRSC (Shang et al. 2023), the smoothness term.
    """
    expect_pictures(flow=(flow, "N C H W"))
    across = pad(flow, (0, 1, 0, 0), mode="replicate").diff(dim=3).square()
    down = pad(flow, (0, 0, 0, 1), mode="replicate").diff(dim=2).square()
    return per_image(across + down, reduction)


@full_precision
def laplacian(image: Tensor) -> Tensor:
    """What one level of a Laplacian pyramid leaves of an image: the image without its blurred half.

    The image is blurred by the taps (.05, .25, .4, .25, .05) both ways with replicated borders, the
    even pixels are kept and multiplied by 4 with zeros between, and the result is blurred again and
    subtracted from the image.

    Args:
        image: (N, C, H, W).

    Returns:
        (N, C, H, W).

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.fidelity import laplacian
        >>> laplacian(torch.ones(1, 1, 8, 8))[0, 0, 4, 4].abs() < 1e-6
        tensor(True)

    Source: Burt and Adelson 1983; as in MPRNet (Zamir et al. 2021).
    """
    expect_pictures(image=(image, "N C H W"))
    kept = torch.zeros_like(image)
    kept[:, :, ::2, ::2] = 4 * _blurred(image)[:, :, ::2, ::2]
    return image - _blurred(kept)


def _blurred(image: Tensor) -> Tensor:
    taps = image.new_tensor(_BINOMIAL)
    kernel = (taps[:, None] * taps[None, :]).expand(image.shape[1], 1, 5, 5)
    return conv2d(pad(image, (2, 2, 2, 2), mode="replicate"), kernel, groups=image.shape[1])


@full_precision
def edge(made: Tensor, truth: Tensor, *, offset: float = 1e-6, reduction: str = "mean") -> Tensor:
    """Charbonnier of what one level of a Laplacian pyramid leaves of both images.

    Args:
        made: (N, C, H, W).
        truth: (N, C, H, W).
        offset: Number inside the root, above 0.
        reduction: "mean" for a scalar, or "none" for (N,).

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.fidelity import edge
        >>> image = torch.rand(1, 3, 8, 8)
        >>> edge(image, image)
        tensor(0.0010)

    Source: MPRNet (Zamir et al. 2021), equation 3.
    """
    expect_pictures(made=(made, "N C H W"), truth=(truth, "N C H W"))
    return charbonnier(laplacian(made), laplacian(truth), offset=offset, reduction=reduction)


@full_precision
def spectrum_l1(made: Tensor, truth: Tensor, *, reduction: str = "mean") -> Tensor:
    """L1 between the two-dimensional Fourier transforms, over real and imaginary parts.

    Args:
        made: (N, C, H, W).
        truth: (N, C, H, W).
        reduction: "mean" for a scalar, or "none" for (N,).

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.fidelity import spectrum_l1
        >>> spectrum_l1(torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2))
        tensor(0.5000)

    Source: Cho et al. 2021 (MIMO-UNet).
    """
    expect_pictures(made=(made, "N C H W"), truth=(truth, "N C H W"))
    spectrum = torch.view_as_real(torch.fft.fft2(made - truth))
    return per_image(spectrum.abs(), reduction)


@full_precision
def masked_l1(made: Tensor, truth: Tensor, mask: Tensor, *, reduction: str = "mean") -> Tensor:
    """Mean of |mask made - mask truth| over all pixels, those of mask 0 included as zeros.

    Args:
        made: (N, C, H, W).
        truth: (N, C, H, W).
        mask: (N, C, H, W) factors of both.
        reduction: "mean" for a scalar, or "none" for (N,).

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.fidelity import masked_l1
        >>> mask = torch.tensor([[[[1.0, 0.0]]]])
        >>> masked_l1(torch.ones(1, 1, 1, 2), torch.zeros(1, 1, 1, 2), mask)
        tensor(0.5000)

    Source: Liu et al. 2018 (partial convolutions); as in STE (Jiang et al. 2022).
    """
    expect_pictures(made=(made, "N C H W"), truth=(truth, "N C H W"), mask=(mask, "N C H W"))
    return per_image(((made - truth) * mask).abs(), reduction)


@full_precision
def dice(made: Tensor, truth: Tensor, *, offset: float = 1e-3, reduction: str = "mean") -> Tensor:
    """How little two soft masks overlap, from 0 for equal ones, with squared denominators.

        loss_n = 1 - 2 <p_n, t_n> / (|p_n|^2 + |t_n|^2 + 2 offset)

    Args:
        made: (N, ...) probabilities.
        truth: The true mask of the same shape.
        offset: Number added to each squared length, at least 0.
        reduction: "mean" for a scalar, or "none" for (N,).

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.fidelity import dice
        >>> dice(torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2))
        tensor(1.)

    Source: Milletari et al. 2016 (V-Net).
    """
    axes = " ".join(["N", *(f"A{axis}" for axis in range(1, made.ndim))])
    expect_pictures(made=(made, axes), truth=(truth, axes))
    expect_number(Annotated[float, at_least(0)], offset=offset)
    p, t = made.flatten(1), truth.flatten(1)
    lengths = p.square().sum(dim=1) + t.square().sum(dim=1) + 2 * offset
    return per_image(1 - 2 * (p * t).sum(dim=1) / lengths, reduction)


@full_precision
def mixture(
    made: Tensor,
    truth: Tensor,
    *,
    l1: float = 0.4,
    squared: float = 0.2,
    structure: float = 0.2,
    variation: float = 0.2,
    reduction: str = "mean",
) -> Tensor:
    """A weighted sum of L1, squared error, 1 - SSIM and the total variation of the made image.

        loss = l1 mean |d| + squared mean d^2 + structure (1 - ssim) + variation TV(made)

    Args:
        made: (N, C, H, W) from 0 to 1.
        truth: (N, C, H, W).
        l1: Weight, at least 0.
        squared: Weight, at least 0.
        structure: Weight, at least 0; with 0 images may be smaller than the window of 11.
        variation: Weight, at least 0.
        reduction: "mean" for a scalar, or "none" for (N,).

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.fidelity import mixture
        >>> mixture(torch.ones(1, 1, 4, 4), torch.zeros(1, 1, 4, 4), structure=0.0)
        tensor(0.6000)

    Source: INFWIDE (Zhang et al. 2023), the weighted loss.
    """
    expect_pictures(made=(made, "N C H W"), truth=(truth, "N C H W"))
    weights = {"l1": l1, "squared": squared, "structure": structure, "variation": variation}
    expect_number(Annotated[float, at_least(0)], **weights)
    difference = made - truth
    loss = l1 * per_image(difference.abs(), "none")
    loss = loss + squared * per_image(difference.square(), "none")
    if structure:
        loss = loss + structure * (1 - ssim(made, truth, reduction="none"))
    if variation:
        loss = loss + variation * total_variation(made, reduction="none")
    return per_image(loss, reduction)
