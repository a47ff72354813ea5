"""How near restored images are to the true ones: in squared error, in structure, in fine detail."""

from __future__ import annotations

from torch import Tensor

from nearfar.losses.restoration.fidelity import laplacian
from nearfar.losses.restoration.structure import fitting_scales, luma, ms_ssim, psnr, ssim

__all__ = ["detail_ratio", "similarities"]

_WINDOW = 11
_LEAST_SCALES = 2
"""Below, MS-SSIM is SSIM."""


def similarities(made: Tensor, truth: Tensor, *, border: int = 0) -> dict[str, Tensor]:
    """What is measured of restored images, by name, one value (N,) for each image.

    "PSNR" and "SSIM" are of all channels and the whole image, "MS-SSIM" where the image has room
    for two scales. With a border, "Y-PSNR" and "Y-SSIM" are of the brightness of colour images (of
    grey ones as they are) without the border, as super-resolution is judged. SSIM has a window of
    11 pixels, or the largest odd one that fits.

    Args:
        made: (N, C, H, W) in [0, 1].
        truth: Of the same shape.
        border: Pixels left out on every side for the last two; 0 leaves these two out.

    Example:
        >>> import torch
        >>> image = torch.rand(2, 3, 16, 16)
        >>> sorted(similarities(image, image, border=2))
        ['MS-SSIM', 'PSNR', 'SSIM', 'Y-PSNR', 'Y-SSIM']

    Source: Wang et al. 2003 and 2004; the border and the brightness as Ledig et al. 2017.
    """
    found = {
        "PSNR": psnr(made, truth, reduction="none"),
        "SSIM": _ssim(made, truth),
    }
    window, weights = fitting_scales(*made.shape[2:])
    if len(weights) >= _LEAST_SCALES:
        found["MS-SSIM"] = ms_ssim(made, truth, window=window, weights=weights, reduction="none")
    if border and min(made.shape[2:]) > 2 * border:
        if made.shape[1] == 3:
            made = luma(made)
            truth = luma(truth)
        inside = slice(border, -border)
        made = made[:, :, inside, inside]
        truth = truth[:, :, inside, inside]
        found["Y-PSNR"] = psnr(made, truth, reduction="none")
        found["Y-SSIM"] = _ssim(made, truth)
    return found


def _ssim(made: Tensor, truth: Tensor) -> Tensor:
    side = min(made.shape[2:])
    window = min(_WINDOW, side - (side + 1) % 2)
    return ssim(made, truth, window=window, reduction="none")


def detail_ratio(made: Tensor, truth: Tensor) -> Tensor:
    """Energy of the fine detail of each made image over that of the true one, (N,).

        ratio = sum laplacian(made)^2 / sum laplacian(truth)^2

    Below 1 images are softer than the truth, above 1 harsher. It is not a number where the truth
    has no detail.

    Args:
        made: (N, C, H, W).
        truth: Of the same shape.

    Example:
        >>> import torch
        >>> image = torch.rand(2, 1, 8, 8)
        >>> detail_ratio(0.5 * image, image)
        tensor([0.2500, 0.2500])
    """
    energies = [laplacian(one).square().flatten(1).sum(1) for one in (made, truth)]
    return energies[0] / energies[1]
