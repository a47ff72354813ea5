"""Losses on what was masked: the reconstruction of removed patches."""

from __future__ import annotations

from torch import Tensor

from nearfar.losses.similarity import full_precision

__all__ = ["masked_reconstruction"]

_EPSILON = 1e-6


@full_precision
def masked_reconstruction(
    prediction: Tensor, target: Tensor, mask: Tensor, *, normalise: bool = False, reduction: str = "mean"
) -> Tensor:
    """Mean squared error of the removed patches.

        sum over removed patches of mean over P of (prediction - target)^2, divided by the number of removed patches

    Args:
        prediction: (N, L, P) patches.
        target: (N, L, P) raw patches.
        mask: (N, L), 1 where a patch was removed, 0 where it was visible.
        normalise: standardise each target patch first (unbiased variance, 1e-6 added), P at least 2.
        reduction: "mean", or "none" for each sample's sum over its removed patches (N,): the sum of these divided by
            ``mask.sum()`` is the mean.

    Source: He et al. 2021 (MAE), section 3, "Reconstruction target".
    """
    if prediction.shape != target.shape or mask.shape != target.shape[:2]:
        shapes = ", ".join(str(tuple(x.shape)) for x in (prediction, target, mask))
        raise ValueError(f"prediction and target must be (N, L, P) and mask (N, L); found {shapes}.")
    if reduction not in ("mean", "none"):
        raise ValueError(f"Unknown reduction {reduction!r}: valid are 'mean' and 'none'.")
    target = target.detach()
    if normalise:
        target = (target - target.mean(dim=-1, keepdim=True)) * (target.var(dim=-1, keepdim=True) + _EPSILON).rsqrt()
    kept = mask.to(prediction.dtype)
    sums = ((prediction - target).square().mean(dim=-1) * kept).sum(dim=1)
    return sums.sum() / kept.sum().clamp(min=1) if reduction == "mean" else sums
