"""Contrast of feature maps place by place: restored images near sharp ones and far from blurred."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize, softplus

from nearfar.errors import UserError
from nearfar.losses.kernels.similarity import full_precision
from nearfar.losses.restoration.inputs import expect_choice, expect_pictures, per_image

__all__ = ["FORMS", "map_similarity", "patch_contrast"]

FORMS = ("infonce", "lmcl")
"""Whether a positive stands in its own denominator ("infonce") or not ("lmcl")."""


@full_precision
def map_similarity(first: Tensor, second: Tensor) -> Tensor:
    """The cosine over channels at each place, averaged over places.

    Args:
        first: (N, C, H, W).
        second: (..., N, C, H, W); further axes in front are kept.

    Returns:
        (..., N).

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.patch_contrast import map_similarity
        >>> map_similarity(torch.ones(1, 2, 2, 2), -torch.ones(1, 2, 2, 2))
        tensor([-1.0000])

    Source: Wu et al. 2021 (PCL-SR), equation 6.
    """
    expect_pictures(first=(first, "N C H W"))
    axes = " ".join([*(f"K{axis}" for axis in range(second.ndim - 4)), "N C H W"])
    expect_pictures(first=(first, "N C H W"), second=(second, axes))
    cosine = (normalize(first, dim=1) * normalize(second, dim=-3)).sum(dim=-3)
    return cosine.mean(dim=(-2, -1))


@full_precision
def patch_contrast(
    made: Tensor | Sequence[Tensor],
    positives: Tensor | Sequence[Tensor],
    negatives: Tensor | Sequence[Tensor],
    *,
    form: str = "infonce",
    reduction: str = "mean",
) -> Tensor:
    """Each positive must be nearer to the made image's map than all negatives together.

        loss_n = mean_k -log( exp(s_nk) / (exp(s_nk) + sum_m exp(t_nm)) )     (form "infonce")
        loss_n = mean_k -log( exp(s_nk) / sum_m exp(t_nm) )                   (form "lmcl")

    s_nk and t_nm are ``map_similarity`` of the made image n and of its positive k or negative m.
    There is no temperature, and the other positives are in no denominator. With several layers the
    mean over layers is taken. Positives and negatives receive no gradient.

    Args:
        made: (N, C, H, W) features of the made images, or a list of them, one a layer.
        positives: (K, N, C, H, W) features of sharp images, or a list.
        negatives: (M, N, C, H, W) features of blurred images, or a list.
        form: One of ``FORMS``.
        reduction: "mean" for a scalar, or "none" for (N,).

    Raises:
        UserError: If the numbers of layers differ, or shapes do not fit.

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.patch_contrast import patch_contrast
        >>> made = torch.ones(1, 2, 2, 2)
        >>> patch_contrast(made, made[None], -made[None])
        tensor(0.1269)

    Source: Wu et al. 2021, "A Practical Contrastive Learning Framework for Single-Image
    Super-Resolution", equations 5 to 7.
    """
    expect_choice("form", form, FORMS)
    layers = [made] if isinstance(made, Tensor) else list(made)
    near = [positives] if isinstance(positives, Tensor) else list(positives)
    far = [negatives] if isinstance(negatives, Tensor) else list(negatives)
    if not len(layers) == len(near) == len(far) or not layers:
        raise UserError(
            f"Expected as many layers of made, positive and negative features, at least one;"
            f" found {len(layers)}, {len(near)} and {len(far)}."
        )
    losses = []
    for map_, positive, negative in zip(layers, near, far, strict=True):
        expect_pictures(
            made=(map_, "N C H W"),
            positives=(positive, "K N C H W"),
            negatives=(negative, "M N C H W"),
        )
        to_positive = map_similarity(map_, positive.detach())
        among = map_similarity(map_, negative.detach()).logsumexp(dim=0)
        behind = among - to_positive
        losses.append((softplus(behind) if form == "infonce" else behind).mean(dim=0))
    return per_image(torch.stack(losses).mean(dim=0), reduction)
