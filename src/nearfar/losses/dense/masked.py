"""Losses that rebuild what was hidden."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import layer_norm, mse_loss, smooth_l1_loss

from nearfar.losses.kernels.similarity import full_precision

__all__ = ["feature_prediction", "masked_reconstruction"]

DISTANCES = ("smooth", "squared")


@full_precision
def masked_reconstruction(
    prediction: Tensor,
    target: Tensor,
    mask: Tensor,
    *,
    normalise: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """MAE's loss: the squared error of each removed patch, averaged over all removed patches of the
    batch.

        loss = sum_nl mask_nl mean_p (prediction_nlp - target_nlp)^2 / sum_nl mask_nl

    Args:
        prediction: (N, L, P) values of L patches.
        target: (N, L, P) what the patches were.
        mask: (N, L), 1 (or true) where a patch was removed.
        normalise: standardise each target patch by its own mean and unbiased variance (1e-6 added)
            first.
        reduction: "mean" (0 if nothing was removed), or "none": (N,) sums over each sample's
            removed patches, to be divided by ``mask.sum()``.

    Example:
        >>> import torch
        >>> from nearfar.losses import masked_reconstruction
        >>> prediction, target = torch.zeros(1, 2, 3), torch.ones(1, 2, 3)
        >>> masked_reconstruction(prediction, target, torch.tensor([[1.0, 0.0]]))
        tensor(1.)

    Source: He et al. 2021, "Masked Autoencoders Are Scalable Vision Learners", sections 3 and 4.1.
    """
    if (
        prediction.ndim != 3
        or 0 in prediction.shape
        or prediction.shape != target.shape
        or mask.shape != prediction.shape[:2]
    ):
        shapes = ", ".join(str(tuple(x.shape)) for x in (prediction, target, mask))
        raise ValueError(
            "Expected prediction (N, L, P), target (N, L, P) and mask (N, L), none of them empty; "
            f"found {shapes}."
        )
    if reduction not in ("mean", "none"):
        raise ValueError(f"Unknown reduction {reduction!r}: valid are 'mean' and 'none'.")
    if normalise:
        if target.shape[2] < 2:
            raise ValueError(
                "A patch of one value cannot be standardised: take larger patches, or "
                "normalise=False."
            )
        # torch.var_mean takes ten times as long along rows this short
        target = target - target.mean(dim=2, keepdim=True)
        variance = target.square().sum(dim=2, keepdim=True) / (target.shape[2] - 1)
        target = target / (variance + 1e-6).sqrt()
    removed = mask.to(prediction.dtype)
    sums = ((prediction - target).square().mean(dim=2) * removed).sum(dim=1)
    return sums.sum() / removed.sum().clamp(min=1) if reduction == "mean" else sums


@full_precision
def feature_prediction(
    prediction: Tensor,
    target: Tensor,
    *,
    normalise: bool = True,
    distance: str = "smooth",
    reduction: str = "mean",
) -> Tensor:
    """I-JEPA's loss: the distance of predicted features of hidden patches to what they are.

        loss = mean over samples n, patches l, dimensions d of distance(prediction, norm(target))

    The smooth distance of a difference e is e^2 / 2 up to 1 and |e| - 1/2 beyond.

    Args:
        prediction: (N, L, D) features of L hidden patches of each sample.
        target: (N, L, D) features of the same patches; they get no gradient.
        normalise: standardise each target over its dimensions first (variance of the population,
            1e-5 added).
        distance: "smooth" (Huber's, as the authors' code has it) or "squared" (as their equation
            has it).
        reduction: "mean", or "none": (N,), the mean of each sample.

    Raises:
        ValueError: If shapes differ or a name is unknown.

    Example:
        >>> import torch
        >>> from nearfar.losses import feature_prediction
        >>> prediction, target = torch.zeros(1, 1, 2), torch.tensor([[[1.0, -1.0]]])
        >>> feature_prediction(prediction, target, normalise=False)
        tensor(0.5000)

    Source: Assran et al. 2023, "Self-Supervised Learning from Images with a Joint-Embedding
    Predictive Architecture", section 3.
    """
    if prediction.ndim != 3 or 0 in prediction.shape or prediction.shape != target.shape:
        shapes = ", ".join(str(tuple(x.shape)) for x in (prediction, target))
        raise ValueError(
            f"Expected prediction and target (N, L, D), not empty and alike; found {shapes}."
        )
    if reduction not in ("mean", "none"):
        raise ValueError(f"Unknown reduction {reduction!r}: valid are 'mean' and 'none'.")
    if distance not in DISTANCES:
        raise ValueError(f"Unknown distance {distance!r}: valid are {', '.join(DISTANCES)}.")
    target = target.detach()
    if normalise:
        target = layer_norm(target, target.shape[2:])
    apart = smooth_l1_loss if distance == "smooth" else mse_loss
    found = apart(prediction, target, reduction="none").mean(dim=(1, 2))
    return found.mean() if reduction == "mean" else found
