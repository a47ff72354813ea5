"""ReSSL: a student must give the teacher's shares of similarity to keys of earlier batches.

With q and k unit rows of the student and the teacher, Q the queue and tau_s > tau_t,

    p_i = softmax(k_i . Q / tau_t),   loss_i = - sum_m p_im log softmax(q_i . Q / tau_s)_m
        = log sum_m exp(q_i . Q_m / tau_s) - q_i . (sum_m p_im Q_m) / tau_s

The second form needs the teacher's shares only to average the queue's keys, so that both matrices
are made in blocks and none is kept. The teacher and the queue are constants; the key of a sample's
own step is not in the queue. The loss is at least the entropy of p, and equals it where the student
has the teacher's shares.

SEED has one key more, ``own_key``: the sample's own, k_i, stands beside the queue's.

Source: Zheng et al. 2021, "ReSSL: Relational Self-Supervised Learning with Weak Augmentation",
equations 3 to 5; Fang et al. 2021, "SEED: Self-supervised Distillation for Visual Representation",
equations 2 to 5.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nearfar.losses.kernels.blocks import in_row_blocks
from nearfar.losses.kernels.logsumexp import row_logsumexp
from nearfar.losses.kernels.similarity import (
    expect_queue,
    expect_rows,
    expect_temperature,
    full_precision,
    own_range,
    reduce,
    similarity_bound,
    unit,
)

__all__ = ["queue_relation"]


@full_precision
def queue_relation(
    query: Tensor,
    key: Tensor,
    queue: Tensor,
    *,
    temperature: float = 0.1,
    teacher_temperature: float = 0.04,
    own_key: bool = False,
    rows: slice | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The cross-entropy of the student's shares of the queue under the teacher's.

    Args:
        query: (N, D) projections by the student, made unit rows here.
        key: (N, D) projections by the teacher of the same samples, made unit rows here; receives
            no gradient.
        queue: (K, D) unit rows of earlier keys; receives no gradient.
        temperature: tau_s, above 0.
        teacher_temperature: tau_t, above 0; the paper's is smaller than tau_s.
        own_key: Whether a sample's own key is among those that shares are of.
        rows: Samples whose losses are wanted; None for all.
        reduction: "mean" over the N samples, or "none": (N,), or one for each of ``rows``.

    Raises:
        ValueError: If shapes or temperatures are wrong.

    Example:
        >>> import torch
        >>> from nearfar.losses.distillation.relation import queue_relation
        >>> query, queue = torch.eye(4)[:2], torch.eye(4)
        >>> queue_relation(query, query, queue), queue_relation(query, query.flip(0), queue)
        (tensor(0.0001), tensor(10.0001))
    """
    expect_rows(query=query, key=key)
    expect_temperature(temperature)
    expect_temperature(teacher_temperature, "teacher_temperature")
    expect_queue(queue, query.shape[1])
    wanted = own_range(rows, len(query))
    keys = queue.detach().to(query.dtype)
    scaled = unit(query[wanted]) / temperature
    own = unit(key[wanted].detach()).to(query.dtype)
    with torch.no_grad():
        sharp = own / teacher_temperature

        def average(block: slice) -> Tensor:
            """The mean key under the teacher's shares."""
            logits = sharp[block] @ keys.T
            if not own_key:
                return logits.softmax(dim=1) @ keys
            first = (sharp[block] * own[block]).sum(dim=1, keepdim=True)
            shares = torch.cat([first, logits], dim=1).softmax(dim=1)
            return shares[:, :1] * own[block] + shares[:, 1:] @ keys

        target = in_row_blocks(average, sharp, columns=len(keys))
    among = row_logsumexp(scaled, keys, bound=similarity_bound(temperature, queue))
    if own_key:
        among = torch.logaddexp(among, (scaled * own).sum(dim=1))
    return reduce(among - (scaled * target).sum(dim=1), reduction, of=len(query))
