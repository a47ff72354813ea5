"""Clips that differ in time and speed: RSPNet, TDL, and the perception of playback rate."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool3d, interpolate, logsigmoid, relu

from nearfar.losses.kernels.logsumexp import row_logsumexp
from nearfar.losses.kernels.similarity import (
    expect_no_nan,
    expect_queue,
    expect_rows,
    expect_shapes,
    expect_temperature,
    full_precision,
)

_BELOW = 1e-6
"""How far below the smallest difference the scale begins, as in the authors' code."""

__all__ = ["motion_weights", "rate_reconstruction", "rspnet_terms", "temporal_discrimination"]


@full_precision
def rspnet_terms(
    query: Tensor,
    motion_query: Tensor,
    key: Tensor,
    motion_key: Tensor,
    other_key: Tensor,
    other_motion_key: Tensor,
    queue: Tensor,
    *,
    temperature: float = 0.07,
    margin: float = 2.0,
) -> dict[str, Tensor]:
    """Clips of one video are alike whatever their speed; clips of one speed move alike.

        appearance = CE([q.k, q.Q] / T) + CE([q.k', q.Q] / T), the own key first
        motion     = mean max(0, margin - (m.n - m.n') / T)

    All rows are unit rows; they are NOT made unit rows here.

    Args:
        query: (N, D) q, the appearance head of a clip.
        motion_query: (N, D) m, its motion head.
        key: (N, D) k of another clip of the video at the same speed; a constant.
        motion_key: (N, D) n; a constant.
        other_key: (N, D) k' of a clip at the other speed; a constant.
        other_motion_key: (N, D) n'; a constant.
        queue: (K, D) Q, appearance of other videos; constants.
        temperature: T, above 0.
        margin: From 0 on.

    Returns:
        "appearance" and "motion".

    Example:
        >>> import torch
        >>> q, queue = torch.eye(4)[:1], torch.eye(4)[2:]
        >>> rspnet_terms(q, q, q, q, q, q, queue, temperature=1.0)
        {'appearance': tensor(1.1029), 'motion': tensor(2.)}

    Source: Chen et al. 2021, "RSPNet: Relative Speed Perception for Unsupervised Video
    Representation Learning", equations 3 to 5.
    """
    expect_rows(query=query, key=key, other_key=other_key)
    expect_rows(query=motion_query, key=motion_key, other_key=other_motion_key)
    expect_temperature(temperature)
    expect_temperature(margin, "margin", zero=True)
    expect_queue(queue, query.shape[1])
    scaled = query / temperature
    others = row_logsumexp(scaled, queue.detach().to(query.dtype))
    appearance = [
        -logsigmoid((scaled * one.detach()).sum(dim=1) - others).mean() for one in (key, other_key)
    ]
    lead = (motion_query * (motion_key - other_motion_key).detach()).sum(dim=1) / temperature
    return {"appearance": appearance[0] + appearance[1], "motion": relu(margin - lead).mean()}


@full_precision
def temporal_discrimination(
    query: Tensor,
    key: Tensor,
    negative: Tensor,
    queue: Tensor,
    *,
    temperature: float = 0.07,
) -> Tensor:
    """A clip must find itself augmented, among other videos and another moment of its own.

        loss = CE([q.k, q.Q, q.n] / T), the own key first

    Rows are unit rows; they are NOT made unit rows here. The negative receives gradient.

    Args:
        query: (N, D) q.
        key: (N, D) k of the same segment; a constant.
        negative: (N, D) n of another segment of the same video.
        queue: (K, D) Q; constants.
        temperature: T, above 0.

    Example:
        >>> import torch
        >>> q, queue = torch.eye(4)[:1], torch.eye(4)[2:]
        >>> temporal_discrimination(q, q, torch.eye(4)[1:2], queue, temperature=1.0)
        tensor(0.7437)

    Source: Wang et al. 2020, "Self-supervised Temporal Discriminative Learning for Video
    Representation Learning", equation 4.
    """
    expect_rows(query=query, key=key, negative=negative)
    expect_temperature(temperature)
    expect_queue(queue, query.shape[1])
    scaled = query / temperature
    others = row_logsumexp(scaled, queue.detach().to(query.dtype))
    others = torch.logaddexp(others, (scaled * negative).sum(dim=1))
    return -logsigmoid((scaled * key.detach()).sum(dim=1) - others).mean()


@torch.no_grad()
def motion_weights(
    clip: Tensor, frames: int | None = None, *, low: float = 0.8, high: float = 2.0
) -> Tensor:
    """Where a clip moves, as weights of a reconstruction.

        squared differences of frames 0, 5, 10, 15 of each 16 frames, averaged over windows of
        (3, 28, 28) with stride (3, 7, 7), scaled by channel to low .. high, resized

    A channel without any difference has weight 1 everywhere.

    Args:
        clip: (C, T, H, W) or (N, C, T, H, W), T a multiple of 16, sides at least 28.
        frames: Frames of the result; None for T.
        low: Smallest weight.
        high: Largest weight.

    Returns:
        The clip's shape with ``frames`` frames.

    Example:
        >>> import torch
        >>> motion_weights(torch.zeros(1, 16, 28, 28)).unique()
        tensor([1.])

    Source: Yao et al. 2020, "Video Playback Rate Perception for Self-supervised Spatio-Temporal
    Representation Learning", section 3.3.
    """
    if clip.ndim not in (4, 5) or clip.shape[-3] % 16 or min(clip.shape[-2:]) < 28:
        raise ValueError(
            "clip must be (C, T, H, W) with T a multiple of 16 and sides of at least 28;"
            f" found {tuple(clip.shape)}."
        )
    if not 0 <= low <= high:
        raise ValueError(f"Weights from {low} to {high}; expected the smaller one first, from 0.")
    x = clip if clip.ndim == 5 else clip[None]
    pieces = x.reshape(*x.shape[:2], -1, 16, *x.shape[3:])[:, :, :, [0, 5, 10, 15]]
    change = (pieces[:, :, :, 1:] - pieces[:, :, :, :-1]).square().flatten(2, 3)
    pooled = avg_pool3d(change, (3, 28, 28), (3, 7, 7))
    least, most = (f(pooled, dim=(2, 3, 4), keepdim=True) for f in (torch.amin, torch.amax))
    floor = least - _BELOW
    scaled = low + (high - low) * (pooled - floor) / (most - floor)
    scaled = torch.where(most > least, scaled, 1.0)
    size = (frames or x.shape[2], *x.shape[3:])
    found = interpolate(scaled, size=size, mode="trilinear", align_corners=False)
    return found if clip.ndim == 5 else found[0]


@full_precision
def rate_reconstruction(prediction: Tensor, target: Tensor, weight: Tensor, real: Tensor) -> Tensor:
    """Weighted squared error of a reconstructed clip over its real frames.

        loss = mean over clips of mean over real frames, channels and pixels of w (p - t)^2

    Args:
        prediction: (N, C, T, H, W).
        target: (N, C, T, H, W); a constant.
        weight: (N, C, T, H, W) from ``motion_weights``; a constant.
        real: (N, T), 1 for a frame of the video and 0 for one put together of its neighbours; each
            clip has a real frame.

    Example:
        >>> import torch
        >>> x = torch.ones(1, 1, 2, 1, 1)
        >>> rate_reconstruction(x, 0 * x, x, torch.tensor([[1, 0]]))
        tensor(1.)

    Source: Yao et al. 2020, equation 3.
    """
    expect_shapes(
        prediction=(prediction, "N C T H W"),
        target=(target, "N C T H W"),
        weight=(weight, "N C T H W"),
        real=(real, "N T"),
    )
    expect_no_nan("rate_reconstruction", target=target)
    error = weight.detach() * (prediction - target.detach()).square()
    by_frame = error.mean(dim=(1, 3, 4))
    held = real.to(by_frame)
    return ((by_frame * held).sum(dim=1) / held.sum(dim=1).clamp(min=1)).mean()
