"""Pure degradations of images: blur by Gaussians, kernels and motion, sharpening, fewer levels.

Each is a function from images (N, C, H, W) in [0, 1] and its parameters to images. Parameters that
may differ from image to image are numbers or tensors (N,).
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from nearfar.errors import UserError
from nearfar.ranges import above, at_least, checked, whole_number

__all__ = [
    "correlated",
    "expect_image",
    "gaussian_blur",
    "kernel_blur",
    "motion_kernel",
    "of_images",
    "quantise",
    "sharpen",
]


def gaussian_blur(image: Tensor, size: tuple[int, int], sigma: tuple[float, float]) -> Tensor:
    """Blur by a separable Gaussian; the image is reflected at its borders.

    Args:
        image: (N, C, H, W).
        size: Taps along rows (y) and columns (x), odd, at most 2 H - 1 and 2 W - 1.
        sigma: Standard deviations along y and x, in pixels, above 0.

    Raises:
        UserError: If a size is even or too large, or a sigma not above 0.

    Example:
        >>> import torch
        >>> from nearfar.data.degradations.degradation import gaussian_blur
        >>> gaussian_blur(torch.ones(1, 1, 4, 4), (3, 3), (1.0, 1.0)).mean()
        tensor(1.0000)

    Source: As kornia's ``gaussian_blur2d`` in PCL-SR (Wu et al. 2021).
    """
    expect_image(image)
    taps = [_gaussian(length, deviation) for length, deviation in zip(size, sigma, strict=True)]
    rows, columns = size[0] // 2, size[1] // 2
    if rows >= image.shape[2] or columns >= image.shape[3]:
        raise UserError(f"A blur of {size} taps is too large for {tuple(image.shape[2:])} pixels.")
    kernel = (taps[0][:, None] * taps[1][None, :]).to(image)
    padded = pad(image, (columns, columns, rows, rows), mode="reflect")
    return correlated(padded, kernel.expand(image.shape[1], 1, *size))


def _gaussian(size: int, sigma: float) -> Tensor:
    checked(Annotated[int, whole_number()], "size", size)
    checked(Annotated[float, above(0)], "sigma", sigma)
    if size % 2 == 0:
        raise UserError(f"size is {size}; expected an odd number.")
    places = torch.arange(size, dtype=torch.float64) - size // 2
    taps = (-places.square() / (2 * sigma * sigma)).exp()
    return taps / taps.sum()


def correlated(image: Tensor, kernel: Tensor) -> Tensor:
    """Each channel under its kernel, (C, 1, K, L), without padding."""
    return conv2d(image, kernel, groups=image.shape[1])


def sharpen(image: Tensor, factor: float | Tensor) -> Tensor:
    """Move the image away from its smoothed copy: clip(S + factor (image - S), 0, 1).

    S is the image smoothed by [[1, 1, 1], [1, 5, 1], [1, 1, 1]] / 13; at the border it is the image
    itself. A factor of 1 changes nothing, above 1 sharpens, below 1 blurs.

    Args:
        image: (N, C, H, W) in [0, 1], sides of at least 3.
        factor: A number or (N,), at least 0.

    Example:
        >>> import torch
        >>> from nearfar.data.degradations.degradation import sharpen
        >>> image = torch.rand(1, 3, 5, 5)
        >>> bool(torch.allclose(sharpen(image, 1.0), image))
        True

    Source: As torchvision's ``adjust_sharpness`` in PCL-SR (Wu et al. 2021).
    """
    expect_image(image)
    if min(image.shape[2:]) < 3:
        raise UserError(f"Sharpening needs sides of at least 3; found {tuple(image.shape[2:])}.")
    kernel = image.new_ones(3, 3)
    kernel[1, 1] = 5
    smooth = image.clone()
    smooth[:, :, 1:-1, 1:-1] = correlated(image, (kernel / 13).expand(image.shape[1], 1, 3, 3))
    factors = of_images("factor", factor, image, least=0.0)
    return (smooth + factors * (image - smooth)).clamp(0, 1)


def quantise(image: Tensor, levels: int = 256) -> Tensor:
    """Round to ``levels`` values from 0 to 1, half to even, as a file of bytes does.

    Example:
        >>> import torch
        >>> from nearfar.data.degradations.degradation import quantise
        >>> quantise(torch.tensor([[[[0.2, 0.9]]]]), levels=2)
        tensor([[[[0., 1.]]]])
    """
    expect_image(image)
    checked(Annotated[int, at_least(2)], "levels", levels)
    return ((levels - 1) * image).round() / (levels - 1)


def kernel_blur(image: Tensor, kernel: Tensor, mode: str = "circular") -> Tensor:
    """True convolution of each image with its own kernel, the same for all channels.

        out(p) = sum_q kernel(q) image(p - (q - c)),  c = K // 2 rows and columns

    Args:
        image: (N, C, H, W).
        kernel: (N, 1, K, L), or (1, 1, K, L) for all images.
        mode: What lies beyond the borders: "circular", "reflect", "replicate" or "constant" (0).

    Raises:
        UserError: If the kernels are not one for each image.

    Example:
        >>> import torch
        >>> from nearfar.data.degradations.degradation import kernel_blur
        >>> kernel_blur(torch.eye(3)[None, None], torch.tensor([[[[0.0, 0.0, 1.0]]]]))[0, 0]
        tensor([[0., 1., 0.],
                [0., 0., 1.],
                [1., 0., 0.]])

    Source: The imaging model of INFWIDE (Zhang et al. 2023), equation 1.
    """
    expect_image(image)
    if mode not in ("circular", "reflect", "replicate", "constant"):
        raise UserError(
            f"mode is {mode!r}; valid are 'circular', 'reflect', 'replicate', 'constant'."
        )
    samples, channels, height, width = image.shape
    if kernel.ndim != 4 or kernel.shape[1] != 1 or kernel.shape[0] not in (1, samples):
        raise UserError(
            f"kernel has the shape {tuple(kernel.shape)}; expected ({samples}, 1, K, L)."
        )
    rows, columns = kernel.shape[2:]
    before = ((rows - 1) - rows // 2, (columns - 1) - columns // 2)
    margins = (before[1], columns // 2, before[0], rows // 2)
    padded = pad(image, margins, mode=mode)
    weights = (
        kernel.flip(2, 3)
        .expand(samples, channels, rows, columns)
        .reshape(samples * channels, 1, rows, columns)
    )
    flat = padded.reshape(1, samples * channels, *padded.shape[2:])
    blurred = conv2d(flat, weights, groups=samples * channels)
    return blurred.view(samples, channels, height, width)


def motion_kernel(size: int, length: float | Tensor, angle: float | Tensor) -> Tensor:
    """Kernels of straight motion: a line through the centre, drawn with soft ends and sides.

    Args:
        size: Side of the kernel, odd.
        length: Pixels moved, at least 0; a number or (N,).
        angle: Direction in radians, 0 along columns; a number or (N,).

    Returns:
        (N, 1, size, size), each of sum 1.

    Example:
        >>> import torch
        >>> from nearfar.data.degradations.degradation import motion_kernel
        >>> motion_kernel(3, 2.0, 0.0)[0, 0, 1]
        tensor([0.3333, 0.3333, 0.3333])

    Source: The uniform linear motion model, such as Levin 2006.
    """
    checked(Annotated[int, whole_number()], "size", size)
    if size % 2 == 0:
        raise UserError(f"size is {size}; expected an odd number.")
    lengths = torch.as_tensor(length, dtype=torch.float32).reshape(-1, 1, 1)
    angles = torch.as_tensor(angle, dtype=torch.float32).reshape(-1, 1, 1)
    if bool((lengths < 0).any()):
        raise UserError("length is negative; expected at least 0.")
    places = torch.arange(size, dtype=torch.float32) - size // 2
    y, x = torch.meshgrid(places, places, indexing="ij")
    along = (x * angles.cos() + y * angles.sin()).abs()
    aside = (y * angles.cos() - x * angles.sin()).abs()
    weights = (lengths / 2 + 1 - along).clamp(0, 1) * (1 - aside).clamp(0, 1)
    unit: Tensor = weights / weights.sum(dim=(1, 2), keepdim=True)
    return unit[:, None]


def of_images(name: str, value: float | Tensor, image: Tensor, least: float) -> Tensor:
    """A number for each image as (N, 1, 1, 1), or one number for all as (1, 1, 1, 1)."""
    numbers = torch.as_tensor(value, dtype=image.dtype, device=image.device).reshape(-1)
    if len(numbers) not in (1, len(image)):
        raise UserError(f"{name} has {len(numbers)} numbers; expected 1 or {len(image)}.")
    if bool((numbers < least).any()) or not bool(numbers.isfinite().all()):
        raise UserError(f"{name} must be a number of at least {least:g}.")
    return numbers.view(-1, 1, 1, 1)


def expect_image(image: Tensor) -> None:
    """Refuse what is no batch of floating-point images (N, C, H, W)."""
    if not image.is_floating_point() or image.ndim != 4 or 0 in image.shape:
        word = str(image.dtype).removeprefix("torch.")
        raise UserError(
            f"Expected floating-point images (N, C, H, W), none of them empty;"
            f" found {word} of shape {tuple(image.shape)}."
        )
