"""How good a pair of views is: alike in the foreground, different in the background (GenView)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from nearfar.losses.distillation.distillation import simsiam
from nearfar.losses.instance.contrastive import info_nce
from nearfar.losses.kernels.similarity import expect_shapes, full_precision

__all__ = [
    "foreground_map",
    "foreground_threshold",
    "noise_level",
    "pair_quality",
    "pooled",
    "principal_axis",
    "quality_weights",
    "weighted_moco_v3",
    "weighted_simsiam",
    "weights_of",
]


@full_precision
def principal_axis(tokens: Tensor) -> Tensor:
    """First principal direction (K,) of tokens (M, K); its sign is arbitrary. Source: Li et al.
    2024 (GenView), section 3.2."""
    centred = tokens - tokens.mean(0)
    _, vectors = torch.linalg.eigh(centred.T @ centred / (len(tokens) - 1))
    axis: Tensor = vectors[:, -1]
    return axis


def noise_level(foreground: Tensor) -> Tensor:
    """Noise of the generated view by the share of foreground: right-closed fifths of [0, 1] give 0,
    100, 200, 300, 400.

    Args:
        foreground: (N,) shares in [0, 1].

    Returns:
        (N,) int64.

    Source: Li et al. 2024 (GenView), adaptive view generation.
    """
    edges = torch.tensor([0.2, 0.4, 0.6, 0.8], dtype=foreground.dtype, device=foreground.device)
    return 100 * torch.bucketize(foreground, edges)


@full_precision
def quality_weights(
    tokens1: Tensor,
    tokens2: Tensor,
    axis: Tensor,
    *,
    sharpness: float = 1.0,
    similarity: str = "cosine",
) -> Tensor:
    """Weights of positive pairs with mean 1, without gradient.

        a = tokens . axis;  f = (a - min) / (max - min + 1e-7), b = 1 - f, each divided by its sum +
        1e-7 F, B = sums of tokens weighted by f and b;  w_i = N softmax_i( sharpness (cos(F1, F2) -
        cos(B1, B2)) )

    Args:
        tokens1: (N, L, K) tokens of the first view from a frozen encoder.
        tokens2: (N, L, K) of the second.
        axis: (K,) principal direction, objects on its high side.
        sharpness: gamma, 0 gives equal weights.
        similarity: of the pooled features: "cosine" or "dot".

    Source: Li et al. 2024 (GenView), equations 5 to 8; the dot product is an option of the authors'
    code.
    """
    return weights_of(
        pair_quality(tokens1, tokens2, axis, similarity=similarity), sharpness=sharpness
    )


@full_precision
def pair_quality(
    tokens1: Tensor, tokens2: Tensor, axis: Tensor, *, similarity: str = "cosine"
) -> Tensor:
    """The score (N,) behind ``quality_weights``, cos(F1, F2) - cos(B1, B2) in [-2, 2], without
    gradient; or with dot products.

    Raises:
        ValueError: for a similarity other than "cosine" and "dot".
    """
    if similarity not in ("cosine", "dot"):
        raise ValueError(f"Unknown similarity {similarity!r}: valid are 'cosine' and 'dot'.")
    (front1, back1), (front2, back2) = (
        pooled(tokens.detach(), axis) for tokens in (tokens1, tokens2)
    )
    if similarity == "dot":
        return (front1 * front2).sum(dim=1) - (back1 * back2).sum(dim=1)
    return cosine_similarity(front1, front2) - cosine_similarity(back1, back2)


@full_precision
def weights_of(score: Tensor, *, sharpness: float = 1.0) -> Tensor:
    """Weights (N,) with mean 1 of pairs with these scores (N,): N softmax(sharpness * score)."""
    return len(score) * torch.softmax(sharpness * score, dim=0)


@full_precision
def weighted_simsiam(p1: Tensor, p2: Tensor, z1: Tensor, z2: Tensor, weight: Tensor) -> Tensor:
    """SimSiam's loss with a weight for each sample: the mean of w_i (D(p1_i, z2_i) + D(p2_i, z1_i))
    / 2, D = - cosine.

    Args:
        p1, p2: (N, D) predictions.
        z1, z2: (N, D) projections; constants.
        weight: (N,), mean 1.

    Example:
        >>> import torch
        >>> from nearfar.losses.instance.view_quality import weighted_simsiam
        >>> p, weight = torch.eye(3), torch.tensor([0.5, 1.0, 1.5])
        >>> weighted_simsiam(p, p, p, p, weight)
        tensor(-1.)

    Source: Li et al. 2024 (GenView), equation 9 on Chen and He 2021 (SimSiam).
    """
    expect_shapes(p1=(p1, "N D"), weight=(weight, "N"))
    return (weight * simsiam(p1, p2, z1, z2, reduction="none")).mean()


@full_precision
def weighted_moco_v3(
    q1: Tensor, q2: Tensor, k1: Tensor, k2: Tensor, weight: Tensor, *, temperature: float = 1.0
) -> Tensor:
    """MoCo v3's loss with a weight for each sample's queries: 2 tau mean of w_i (CE(q1_i, k2) +
    CE(q2_i, k1)).

    Args:
        q1, q2: (N, D) predictions.
        k1, k2: (N, D) momentum projections; constants. Other samples' keys are the negatives.
        weight: (N,), mean 1.
        temperature: tau, above 0.

    Example:
        >>> import torch
        >>> from nearfar.losses.instance.view_quality import weighted_moco_v3
        >>> q, weight = torch.eye(3), torch.tensor([0.5, 1.0, 1.5])
        >>> weighted_moco_v3(q, q, q, q, weight)
        tensor(2.2058)

    Source: Li et al. 2024 (GenView), equation 9 on Chen et al. 2021 (MoCo v3).
    """
    expect_shapes(q1=(q1, "N D"), weight=(weight, "N"))
    first = info_nce(q1, k2.detach(), temperature=temperature, reduction="none")
    second = info_nce(q2, k1.detach(), temperature=temperature, reduction="none")
    return 2 * temperature * (weight * (first + second)).mean()


@full_precision
def foreground_threshold(along: Tensor, *, share: float = 0.65, bins: int = 200) -> float:
    """Projection above which a token is foreground: where the cumulative histogram of projections
    (M,) first reaches ``share``.

    Source: Li et al. 2024 (GenView), authors' code.
    """
    low = float(along.min())
    high = float(along.max())
    counts = torch.histc(along.flatten().float().cpu(), bins, low, high).cumsum(0)
    first = int((counts >= share * counts[-1]).int().argmax())
    return low + (high - low) * (first + 1) / bins


@full_precision
def foreground_map(tokens: Tensor, axis: Tensor) -> tuple[Tensor, Tensor]:
    """Attention on foreground and on background, (N, L) each, every row summing to about 1."""
    along = tokens @ axis
    low = along.amin(1, keepdim=True)
    high = along.amax(1, keepdim=True)
    front = (along - low) / (high - low + 1e-7)
    back = 1 - front
    return front / (front.sum(1, keepdim=True) + 1e-7), back / (back.sum(1, keepdim=True) + 1e-7)


@full_precision
def pooled(tokens: Tensor, axis: Tensor) -> tuple[Tensor, Tensor]:
    """Foreground and background features, (N, K) each, of tokens (N, L, K)."""
    front, back = foreground_map(tokens, axis)
    return torch.einsum("nl,nlk->nk", front, tokens), torch.einsum("nl,nlk->nk", back, tokens)
