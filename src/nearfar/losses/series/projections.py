"""Three projections of a series without augmentation: each must find the other two.

Source: "Learning Without Augmenting: Unsupervised Time Series Representation Learning via Frame
Projections" 2025.
"""

from __future__ import annotations

from torch import Tensor

from nearfar.losses.instance.contrastive import nt_xent
from nearfar.losses.kernels.similarity import expect_rows, full_precision, unit

__all__ = ["mapping_error", "three_way_contrast"]


@full_precision
def three_way_contrast(
    time: Tensor, frame: Tensor, spectrum: Tensor, *, temperature: float = 0.15
) -> Tensor:
    """The sum of NT-Xent over the three pairs of projections.

        NT(time, frame) + NT(time, spectrum) + NT(frame, spectrum)

    Args:
        time: (N, D) of the raw series, made unit rows here.
        frame: (N, D) of its overcomplete frame.
        spectrum: (N, D) of its orthonormal basis.
        temperature: Above 0.

    Example:
        >>> import torch
        >>> z = torch.eye(2)
        >>> three_way_contrast(z, z, z, temperature=1.0)
        tensor(1.6543)

    Source: Frame projections 2025, equation 4.
    """
    pairs = ((time, frame), (time, spectrum), (frame, spectrum))
    first, *others = (nt_xent(a, b, temperature=temperature) for a, b in pairs)
    return first + others[0] + others[1]


@full_precision
def mapping_error(prediction: Tensor, target: Tensor) -> Tensor:
    """How far a mapped embedding is from the one that it predicts: mean |p - t| / N.

    Gradient reaches both. The mean over all numbers is divided by N once more, as in the authors'
    code.

    Args:
        prediction: (N, D), what a mapper made of unit rows.
        target: (N, D), made unit rows here.

    Example:
        >>> import torch
        >>> mapping_error(torch.zeros(2, 2), torch.eye(2))
        tensor(0.2500)

    Source: Frame projections 2025, equation 6.
    """
    expect_rows(prediction=prediction, target=target)
    return (prediction - unit(target)).abs().mean() / len(prediction)
