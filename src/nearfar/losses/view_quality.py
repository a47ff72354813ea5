"""How good a pair of views is: alike in the foreground, different in the background (GenView)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from nearfar.losses.similarity import full_precision

__all__ = ["foreground_map", "noise_level", "pooled", "principal_axis", "quality_weights"]


@full_precision
def principal_axis(tokens: Tensor) -> Tensor:
    """First principal direction (K,) of tokens (M, K); its sign is arbitrary. Source: Li et al. 2024 (GenView), section 3.2."""
    centred = tokens - tokens.mean(0)
    _, vectors = torch.linalg.eigh(centred.T @ centred / (len(tokens) - 1))
    axis: Tensor = vectors[:, -1]
    return axis


def noise_level(foreground: Tensor) -> Tensor:
    """Noise of the generated view by the share of foreground: right-closed fifths of [0, 1] give 0, 100, 200, 300, 400.

    Args:
        foreground: (N,) shares in [0, 1].

    Returns:
        (N,) int64.

    Source: Li et al. 2024 (GenView), adaptive view generation.
    """
    edges = torch.tensor([0.2, 0.4, 0.6, 0.8], dtype=foreground.dtype, device=foreground.device)
    return 100 * torch.bucketize(foreground, edges)


@full_precision
def quality_weights(tokens1: Tensor, tokens2: Tensor, axis: Tensor, *, sharpness: float = 1.0) -> Tensor:
    """Weights of positive pairs with mean 1, without gradient.

        a = tokens . axis;  f = (a - min) / (max - min + 1e-7), b = 1 - f, each divided by its sum + 1e-7
        F, B = sums of tokens weighted by f and b;  w_i = N softmax_i( sharpness (cos(F1, F2) - cos(B1, B2)) )

    Args:
        tokens1: (N, L, K) tokens of the first view from a frozen encoder.
        tokens2: (N, L, K) of the second.
        axis: (K,) principal direction, objects on its high side.
        sharpness: gamma, 0 gives equal weights.

    Source: Li et al. 2024 (GenView), equations 5 to 8.
    """
    (front1, back1), (front2, back2) = (pooled(tokens.detach(), axis) for tokens in (tokens1, tokens2))
    score = cosine_similarity(front1, front2) - cosine_similarity(back1, back2)
    return len(score) * torch.softmax(sharpness * score, dim=0)


@full_precision
def foreground_map(tokens: Tensor, axis: Tensor) -> tuple[Tensor, Tensor]:
    """Attention on foreground and on background, (N, L) each, every row summing to about 1."""
    along = tokens @ axis
    low, high = along.amin(1, keepdim=True), along.amax(1, keepdim=True)
    front = (along - low) / (high - low + 1e-7)
    back = 1 - front
    return front / (front.sum(1, keepdim=True) + 1e-7), back / (back.sum(1, keepdim=True) + 1e-7)


@full_precision
def pooled(tokens: Tensor, axis: Tensor) -> tuple[Tensor, Tensor]:
    """Foreground and background features, (N, K) each, of tokens (N, L, K)."""
    front, back = foreground_map(tokens, axis)
    return torch.einsum("nl,nlk->nk", front, tokens), torch.einsum("nl,nlk->nk", back, tokens)
