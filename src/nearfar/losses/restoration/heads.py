"""Several outputs for one input: the best one is trained, and judged as the best or as one head."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nearfar.losses.kernels.similarity import full_precision
from nearfar.losses.restoration.fidelity import charbonnier, edge
from nearfar.losses.restoration.inputs import expect_choice, expect_pictures, per_image

__all__ = ["OBJECTIVES", "best_of_heads", "head_scores", "pair_means"]

OBJECTIVES = ("psnr", "charbonnier-edge", "l1")
"""The losses of which ``best_of_heads`` takes the least over heads."""


@full_precision
def pair_means(heads: Tensor) -> Tensor:
    """The means of all pairs of heads, each head with itself included.

    Pair (i, j) with j <= i comes in the order (0, 0), (1, 0), (1, 1), (2, 0), ...

    Args:
        heads: (N, H, ...).

    Returns:
        (N, H (H + 1) / 2, ...).

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.heads import pair_means
        >>> pair_means(torch.tensor([[0.0, 1.0, 4.0]]))
        tensor([[0.0000, 0.5000, 1.0000, 2.0000, 2.5000, 4.0000]])

    Source: Liu et al. 2022, "Multi-Outputs Is All You Need For Deblur".
    """
    axes = " ".join(["N", "heads", *(f"A{axis}" for axis in range(2, heads.ndim))])
    expect_pictures(heads=(heads, axes))
    first, second = torch.tril_indices(heads.shape[1], heads.shape[1], device=heads.device)
    return (heads[:, first] + heads[:, second]) / 2


@full_precision
def best_of_heads(
    heads: Tensor, truth: Tensor, *, objective: str = "psnr", reduction: str = "mean"
) -> Tensor:
    """The loss of each image's best head; no other head receives gradient.

        psnr:              loss_n = 10 / ln 10 ln( min_h mean (heads_nh - truth_n)^2 + 1e-8 )
        charbonnier-edge:  loss_n = min_h ( charbonnier_nh + 0.05 edge_nh ), offset 1e-6
        l1:                loss_n = min_h mean |heads_nh - truth_n|

    Args:
        heads: (N, H, C, height, width), such as ``pair_means`` gives.
        truth: (N, C, height, width).
        objective: One of ``OBJECTIVES``.
        reduction: "mean" over images, or "none": (N,).

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.heads import best_of_heads
        >>> heads = torch.tensor([3.0, 1.0]).view(1, 2, 1, 1, 1)
        >>> best_of_heads(heads, torch.zeros(1, 1, 1, 1), objective="l1")
        tensor(1.)

    Source: Guzman-Rivera et al. 2012; Liu et al. 2022, "Multi-Outputs Is All You Need For Deblur".
    """
    expect_choice("objective", objective, OBJECTIVES)
    expect_pictures(heads=(heads, "N heads C H W"), truth=(truth, "N C H W"))
    made = heads.flatten(0, 1)
    expected = truth[:, None].expand_as(heads).flatten(0, 1)
    if objective == "l1":
        each = per_image((made - expected).abs(), "none")
    elif objective == "psnr":
        each = per_image((made - expected).square(), "none")
    else:
        each = charbonnier(made, expected, offset=1e-6, reduction="none")
        each = each + 0.05 * edge(made, expected, offset=1e-6, reduction="none")
    least = each.view(heads.shape[:2]).min(dim=1).values
    if objective == "psnr":
        least = 10 / math.log(10) * (least + 1e-8).log()
    return per_image(least, reduction)


def head_scores(values: Tensor) -> dict[str, float]:
    """What a table of scores says of the heads: best and worst, chosen by image or once for all.

    Args:
        values: (N, H) a score of each head on each image, such as PSNR; higher is better.

    Returns:
        "best_overall": the mean over images of the best head; "best_single": the best head's mean;
        "worst_overall" and "worst_single" likewise.

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.heads import head_scores
        >>> scores = head_scores(torch.tensor([[1.0, 3.0], [4.0, 2.0]]))
        >>> scores["best_overall"], scores["best_single"], scores["worst_overall"]
        (3.5, 2.5, 1.5)

    Source: Liu et al. 2022, "Multi-Outputs Is All You Need For Deblur".
    """
    expect_pictures(values=(values, "N heads"))
    return {
        "best_overall": float(values.max(dim=1).values.mean()),
        "best_single": float(values.mean(dim=0).max()),
        "worst_overall": float(values.min(dim=1).values.mean()),
        "worst_single": float(values.mean(dim=0).min()),
    }
