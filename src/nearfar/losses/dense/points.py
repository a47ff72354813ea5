"""Distances of point clouds, and of deep features of hidden cells."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from nearfar.losses.kernels.similarity import full_precision
from nearfar.losses.restoration.inputs import (
    expect_choice,
    expect_number,
    expect_pictures,
    per_image,
)
from nearfar.losses.restoration.structure import ssim
from nearfar.ranges import unit_interval

__all__ = ["chamfer", "hidden_features", "splatting_loss"]


@full_precision
def chamfer(first: Tensor, second: Tensor, *, form: str = "l2", reduction: str = "mean") -> Tensor:
    """How far two clouds are apart, from each point to the nearest of the other cloud.

        l2: mean_a min_b |a - b|^2 + mean_b min_a |a - b|^2
        l1: ( mean_a min_b |a - b| + mean_b min_a |a - b| ) / 2

    Args:
        first: (N, P, D) points.
        second: (N, Q, D) points.
        form: "l2" or "l1".
        reduction: "mean" for a scalar, or "none" for (N,).

    Example:
        >>> import torch
        >>> from nearfar.losses.dense.points import chamfer
        >>> chamfer(torch.zeros(1, 2, 3), torch.ones(1, 1, 3))
        tensor(6.)

    Source: Fan et al. 2017; with the factors of Point-MAE (Pang et al. 2022).
    """
    expect_choice("form", form, ("l2", "l1"))
    expect_pictures(first=(first, "N P D"), second=(second, "N Q D"))
    squared = (first[:, :, None] - second[:, None]).square().sum(dim=3)
    there, back = squared.amin(dim=2), squared.amin(dim=1)
    if form == "l1":
        tiny = torch.finfo(squared.dtype).tiny
        there, back = (part.clamp(min=tiny).sqrt() / 2 for part in (there, back))
    return per_image(per_image(there, "none") + per_image(back, "none"), reduction)


@full_precision
def splatting_loss(made: Tensor, truth: Tensor, *, structure: float = 0.2) -> Tensor:
    """(1 - structure) L1 + structure (1 - SSIM), the window padded with zeros.

    Args:
        made: (N, C, H, W) rendered.
        truth: (N, C, H, W).
        structure: Weight of SSIM, from 0 to 1.

    Example:
        >>> import torch
        >>> from nearfar.losses.dense.points import splatting_loss
        >>> image = torch.rand(1, 3, 12, 12)
        >>> bool(splatting_loss(image, image).abs() < 1e-5)
        True

    Source: Kerbl et al. 2023, "3D Gaussian Splatting", equation 7.
    """
    expect_pictures(made=(made, "N C H W"), truth=(truth, "N C H W"))
    expect_number(Annotated[float, unit_interval()], structure=structure)
    absolute = (made - truth).abs().mean()
    unlike = 1 - ssim(made, truth, padding="same")
    return (1 - structure) * absolute + structure * unlike


@full_precision
def hidden_features(predicted: Tensor, target: Tensor, hidden: Tensor) -> Tensor:
    """mean over hidden, matched cells of 2 - 2 cos(predicted, target).

    Args:
        predicted: (M, D) the student's prediction at each cell.
        target: (M, D) the teacher's feature there; receives no gradient.
        hidden: (M,) bool, cells that were hidden and have a counterpart.

    Returns:
        A scalar; 0 where no cell counts.

    Example:
        >>> import torch
        >>> from nearfar.losses.dense.points import hidden_features
        >>> hidden_features(torch.eye(2), torch.eye(2).flip(0), torch.tensor([True, False]))
        tensor(2.)

    Source: Hermosilla et al. 2025 (Masked Scene Modeling), in this library's explicit form.
    """
    expect_pictures(predicted=(predicted, "M D"), target=(target, "M D"))
    each = 2 - 2 * cosine_similarity(predicted, target.detach(), dim=1)
    counts = hidden.to(each)
    return (each * counts).sum() / counts.sum().clamp(min=1)
