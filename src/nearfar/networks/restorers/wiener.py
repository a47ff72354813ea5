"""Deconvolution in closed form: the Wiener filter, with the noise told from the image itself."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from nearfar.errors import UserError

__all__ = ["image_noise", "median3", "noise_to_signal", "transfer_function", "wiener"]

_TINY = 1e-12
"""Added where a constant channel or a blind frequency would give 0 / 0."""


def median3(image: Tensor) -> Tensor:
    """The median of each 3x3 neighbourhood; the image is reflected at its borders.

    Args:
        image: (N, C, H, W), sides of at least 2.

    Example:
        >>> import torch
        >>> from nearfar.networks.restorers.wiener import median3
        >>> image = torch.zeros(1, 1, 4, 4)
        >>> image[0, 0, 1, 2] = 1
        >>> bool(median3(image).any())
        False

    Source: Tukey 1977; as in INFWIDE.
    """
    _expect_image(image)
    rows, columns = image.shape[2:]
    padded = pad(image, (1, 1, 1, 1), mode="reflect")
    around = [padded[:, :, y : y + rows, x : x + columns] for y in range(3) for x in range(3)]
    return torch.stack(around).median(dim=0).values


def noise_to_signal(image: Tensor) -> Tensor:
    """How large the noise of each channel is against its spread, from what a median takes away.

        m = median3(z),  d = m - z,  nsr = 8/30 var(d) / std(z),  both over n - 1

    Args:
        image: (N, C, H, W), z.

    Returns:
        (N, C).

    Example:
        >>> import torch
        >>> from nearfar.networks.restorers.wiener import noise_to_signal
        >>> noise_to_signal(torch.ones(1, 1, 4, 4))
        tensor([[0.]])

    Source: Zhang et al. 2023 (INFWIDE): a variance over a deviation, as released.
    """
    difference = median3(image) - image
    noise = difference.var(dim=(2, 3), correction=1)
    spread = (image.var(dim=(2, 3), correction=1) + _TINY).sqrt()
    return 8 / 30 * noise / spread


def image_noise(image: Tensor) -> Tensor:
    """What INFWIDE's denoiser is told of the noise: std(m - y) / sqrt(sum m^2 / (n - 1)).

    Args:
        image: (N, C, H, W), y; m is its ``median3``.

    Returns:
        (N, C).

    Example:
        >>> import torch
        >>> from nearfar.networks.restorers.wiener import image_noise
        >>> image_noise(torch.ones(1, 1, 4, 4))
        tensor([[0.]])

    Source: Zhang et al. 2023 (INFWIDE), the authors' code.
    """
    smooth = median3(image)
    count = image.shape[2] * image.shape[3]
    spread = (smooth - image).var(dim=(2, 3), correction=1)
    power = smooth.square().sum(dim=(2, 3)) / (count - 1)
    return (spread / (power + _TINY)).sqrt()


def transfer_function(kernel: Tensor, height: int, width: int) -> Tensor:
    """The Fourier transform of a kernel whose middle lies at the origin.

    The kernel stands in the corner of an array of zeros that is rolled by -floor(K / 2) both ways.

    Args:
        kernel: (N, 1, K, L).
        height: Rows, at least K.
        width: Columns, at least L.

    Returns:
        (N, 1, height, width) complex.

    Example:
        >>> import torch
        >>> from nearfar.networks.restorers.wiener import transfer_function
        >>> point = torch.zeros(1, 1, 3, 3)
        >>> point[0, 0, 1, 1] = 1
        >>> bool((transfer_function(point, 4, 4) == 1).all())
        True

    Source: The ``psf2otf`` of MATLAB.
    """
    rows, columns = kernel.shape[2:]
    if rows > height or columns > width:
        raise UserError(f"A kernel of {rows} x {columns} does not fit into {height} x {width}.")
    large = pad(kernel, (0, width - columns, 0, height - rows))
    transfer: Tensor = torch.fft.fft2(large.roll((-(rows // 2), -(columns // 2)), dims=(2, 3)))
    return transfer


def wiener(image: Tensor, kernel: Tensor) -> Tensor:
    """Undo a blur in every channel of images or features; gradient flows through everything.

        Re IFFT( conj(O) Z / (|O|^2 + nsr) )

    Z is the transform of the channel, replicated by K pixels on all sides, O that of the kernel
    divided by its sum, and nsr ``noise_to_signal`` of the replicated channel.

    Args:
        image: (N, C, H, W), sides of at least 2.
        kernel: (N, 1, K, L) that blurred it, of a sum above 0.

    Returns:
        (N, C, H, W).

    Raises:
        UserError: If there is not one kernel for each image.

    Example:
        >>> import torch
        >>> from nearfar.networks.restorers.wiener import wiener
        >>> wiener(torch.rand(1, 3, 6, 7), torch.ones(1, 1, 3, 3)).shape
        torch.Size([1, 3, 6, 7])

    Source: Dong et al. 2020 (deep Wiener deconvolution); Zhang et al. 2023 (INFWIDE), equation 4.
    """
    _expect_image(image)
    if kernel.ndim != 4 or kernel.shape[:2] != (len(image), 1) or 0 in kernel.shape:
        raise UserError(f"Expected kernels ({len(image)}, 1, K, L); found {tuple(kernel.shape)}.")
    margin = max(kernel.shape[2:])
    unit = kernel / kernel.sum(dim=(2, 3), keepdim=True)
    padded = pad(image, (margin,) * 4, mode="replicate")
    height, width = padded.shape[2:]
    transfer = transfer_function(unit, height, width)
    noise = noise_to_signal(padded)[:, :, None, None]
    spectrum = torch.fft.fft2(padded)
    power = transfer.real.square() + transfer.imag.square()
    filtered = transfer.conj() * spectrum / (power + noise + _TINY)
    sharp: Tensor = torch.fft.ifft2(filtered).real
    return sharp[:, :, margin:-margin, margin:-margin]


def _expect_image(image: Tensor) -> None:
    if not image.is_floating_point() or image.ndim != 4 or min(image.shape[2:], default=0) < 2:
        word = str(image.dtype).removeprefix("torch.")
        raise UserError(
            f"Expected floating-point images (N, C, H, W) of sides of at least 2;"
            f" found {word} of shape {tuple(image.shape)}."
        )
