"""Instances through a video: embeddings that a memory can follow.

Source: Ying et al. 2023, "CTVIS: Consistent Training for Online Video Instance Segmentation".
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import softplus

from nearfar.losses.kernels.similarity import full_precision, unit

__all__ = ["instance_contrast", "instance_memory", "match_instances"]


@full_precision
def instance_contrast(
    anchors: Tensor, candidates: Sequence[Tensor], positives: Sequence[int]
) -> dict[str, Tensor]:
    """Each anchor must be nearer to its positives than to any negative.

        embedding = mean over items of log(1 + sum_{k+} sum_{k-} exp(v . k- - v . k+))
        auxiliary = mean over items of mean_k (cos(v, k) - [k is positive])^2

    The paper's total is 2 embedding + 3 auxiliary.

    Args:
        anchors: (I, D) v of each item.
        candidates: For each item (K_i, D), its positives first.
        positives: For each item the number of positives, at least 1.

    Returns:
        "embedding" and "auxiliary"; both 0 where there are no items.

    Example:
        >>> import torch
        >>> v, k = torch.eye(2)[:1], torch.eye(2)
        >>> instance_contrast(v, (k,), (1,))
        {'embedding': tensor(0.3133), 'auxiliary': tensor(0.)}

    Source: Ying et al. 2023, equations 1 and 2; Pang et al. 2021 (QDTrack).
    """
    if anchors.ndim != 2 or not len(anchors) == len(candidates) == len(positives):
        found = f"{tuple(anchors.shape)}, {len(candidates)} and {len(positives)}"
        raise ValueError(f"anchors (I, D), candidates and positives for each item; found {found}.")
    if not len(anchors):
        nothing = 0 * anchors.sum()
        return {"embedding": nothing, "auxiliary": nothing}
    embedding, auxiliary = [], []
    for v, k, count in zip(anchors, candidates, positives, strict=True):
        if not 1 <= count <= len(k):
            raise ValueError(f"An item of {len(k)} candidates has {count} positives; expected 1.")
        product = k @ v
        pushed, pulled = product[count:], product[:count]
        spread = (
            pushed.logsumexp(dim=0) + (-pulled).logsumexp(dim=0)
            if len(pushed)
            else product.new_tensor(-torch.inf)
        )
        embedding.append(softplus(spread))
        truth = (torch.arange(len(k), device=k.device) < count).to(k)
        auxiliary.append((unit(k) @ unit(v) - truth).square().mean())
    return {"embedding": torch.stack(embedding).mean(), "auxiliary": torch.stack(auxiliary).mean()}


def instance_memory(
    embeddings: Tensor, present: Tensor, *, momentum: float | None = None
) -> Tensor:
    """The memory of one instance after each frame of a clip.

        m = e at the first sight;  then m <- (1 - b) m + b e
        b = max(0, mean over earlier sights of cos(e_old, e)), or a fixed number

    Args:
        embeddings: (T, D) e.
        present: (T,) bool, frames with the instance.
        momentum: 1 - b where it is fixed; None for the similarity.

    Returns:
        (T, D), with gradient; 0 before the first sight.

    Example:
        >>> import torch
        >>> e = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
        >>> instance_memory(e, torch.tensor([True, False, True]))
        tensor([[1., 0.],
                [1., 0.],
                [1., 0.]])

    Source: Ying et al. 2023, equation 3.
    """
    if embeddings.ndim != 2 or present.shape != (len(embeddings),):
        found = f"{tuple(embeddings.shape)} and {tuple(present.shape)}"
        raise ValueError(f"embeddings (T, D) and present (T,); found {found}.")
    memory = torch.zeros_like(embeddings[0])
    directions = unit(embeddings)
    seen: list[int] = []
    rows = []
    for frame, there in enumerate(present.bool().tolist()):
        if there:
            if seen:
                alike = (directions[seen] @ directions[frame]).mean().clamp(min=0)
                share = alike if momentum is None else 1 - momentum
                memory = (1 - share) * memory + share * embeddings[frame]
            else:
                memory = embeddings[frame]
            seen.append(frame)
        rows.append(memory)
    return torch.stack(rows)


@torch.no_grad()
def match_instances(
    detections: Tensor, memory: Tensor, frames: Tensor, *, threshold: float = 0.3
) -> tuple[Tensor, Tensor]:
    """Which track each detection continues, in the order of confidence.

        scores = (softmax over tracks + softmax over detections of d . m) / 2

    For each detection: where more than one track exceeds the threshold, their scores are multiplied
    by the number of frames that they were seen in, others by the mean of these numbers. The best
    track is taken if its score exceeds the threshold, and is closed to later detections.

    Args:
        detections: (N, D), the most confident first.
        memory: (M, D) of tracks.
        frames: (M,) how often each track was seen.
        threshold: From 0 to 1.

    Returns:
        (N, M) scores and (N,) int64 tracks, -1 for a new one.

    Example:
        >>> import torch
        >>> match_instances(9 * torch.eye(2), torch.eye(2), torch.tensor([3, 1]))[1]
        tensor([0, 1])

    Source: Ying et al. 2023, section 3.4, authors' tracker.
    """
    if detections.ndim != 2 or memory.ndim != 2 or detections.shape[1] != memory.shape[1]:
        found = f"{tuple(detections.shape)} and {tuple(memory.shape)}"
        raise ValueError(f"detections (N, D) and memory (M, D); found {found}.")
    if not len(memory):
        return detections.new_zeros(len(detections), 0), torch.full((len(detections),), -1)
    logits = detections @ memory.T
    scores = (logits.softmax(dim=1) + logits.softmax(dim=0)) / 2
    seen = frames.to(scores)
    left = scores.clone()
    tracks = torch.full((len(detections),), -1)
    for place in range(len(detections)):
        row = left[place]
        likely = row > threshold
        if int(likely.sum()) > 1:
            row = row * torch.where(likely, seen, seen[likely].mean())
        best = int(row.argmax())
        if float(row[best]) > threshold:
            tracks[place] = best
            left[place + 1 :, best] = 0
    return scores, tracks
