"""The detail bands of an image: one level of the Haar wavelet."""

from __future__ import annotations

import torch
from torch import Tensor

from nearfar.errors import UserError
from nearfar.losses.kernels.similarity import full_precision
from nearfar.losses.restoration.inputs import expect_pictures

__all__ = ["haar_details"]


@full_precision
def haar_details(image: Tensor) -> Tensor:
    """The three detail bands of each channel; the low band is left out.

    Of each 2x2 block [[a, b], [c, d]]:

        LH = (a + b - c - d) / 2,  HL = (a - b + c - d) / 2,  HH = (a - b - c + d) / 2

    Args:
        image: (N, C, H, W) with even sides.

    Returns:
        (N, 3 C, H/2, W/2): LH of all channels, then HL, then HH.

    Raises:
        UserError: If a side is odd.

    Example:
        >>> import torch
        >>> from nearfar.networks.restorers.bands import haar_details
        >>> haar_details(torch.tensor([[[[1.0, 0.0], [1.0, 0.0]]]])).flatten()
        tensor([0., 1., 0.])

    Source: Haar 1910; as a critic's input, Wu et al. 2021 (PCL-SR).
    """
    expect_pictures(image=(image, "N C H W"))
    if image.shape[2] % 2 or image.shape[3] % 2:
        raise UserError(f"Bands need even sides; found {tuple(image.shape[2:])}: crop the images.")
    a, b = image[:, :, ::2, ::2], image[:, :, ::2, 1::2]
    c, d = image[:, :, 1::2, ::2], image[:, :, 1::2, 1::2]
    return torch.cat([a + b - c - d, a - b + c - d, a - b - c + d], dim=1) / 2
