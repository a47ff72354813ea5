"""The supervised contrastive loss: positives are a row's class instead of its other view alone."""

from __future__ import annotations

import torch
from torch import Tensor

from nearfar.losses.kernels.logsumexp import row_logsumexp, self_logsumexp
from nearfar.losses.kernels.similarity import (
    expect_no_nan,
    expect_temperature,
    full_precision,
    own_range,
)

__all__ = ["supcon"]


@full_precision
def supcon(
    features: Tensor,
    label: Tensor | None = None,
    *,
    mask: Tensor | None = None,
    temperature: float | Tensor = 0.07,
    base_temperature: float = 0.07,
    mode: str = "all",
    rows: slice | None = None,
) -> Tensor:
    """The supervised contrastive loss: each row must find all rows of its class among all other
    rows.

        loss_i = -(tau / tau_base) mean_{p in P(i)} log( exp(z_i . z_p / tau) / sum_{a != i} exp(z_i
        . z_a / tau) )

    P(i) is every other row of the class of i, over all views. The loss is the mean over all anchors
    i, of which one without a positive counts as 0. The sum over positives is z_i . sum_p z_p, so no
    matrix is made for them either.

    Args:
        features: (N, V, D) unit rows, V views of N samples; NOT made unit rows here.
        label: (N,) classes. Without label and mask each sample is a class of its own (SimCLR with V
            views).
        mask: (N, N), instead of labels: entry (i, j) is 1 where j is a positive of i, 0 elsewhere.
        temperature: tau, above 0; a scalar tensor receives its gradient.
        base_temperature: tau_base, which scales the loss.
        mode: "all" rows are anchors, or "one": those of the first view.
        rows: samples whose views are anchors; None for all. See ``contrastive``.

    Example:
        >>> import torch
        >>> from nearfar.losses import supcon
        >>> features = torch.eye(4)[:, None].repeat(1, 2, 1)  # four samples in two equal views
        >>> supcon(features, torch.tensor([0, 0, 1, 1]), temperature=0.5)
        tensor(13.7698)

    Source: Khosla et al. 2020, "Supervised Contrastive Learning", equation 2 (L_out); tau_base from
    the authors' code.
    """
    _expect_supcon(features, label, mask, mode)
    expect_temperature(temperature)
    expect_temperature(base_temperature, "base_temperature")
    expect_no_nan("supcon", label=label, mask=mask)
    samples, views = features.shape[:2]
    anchors = views if mode == "all" else 1
    own = own_range(rows, samples)
    columns = features.transpose(0, 1).flatten(0, 1)  # view-major
    if mode == "all" and rows is None:
        others = self_logsumexp(columns * (1 / temperature) ** 0.5)
    else:
        query = columns.view(views, samples, -1)[:, own] / temperature
        others = torch.cat(
            [
                row_logsumexp(query[v], columns, exclude=(v * samples + own.start,))
                for v in range(anchors)
            ]
        )
    total, count = _positives(features, label, mask, own)
    positive = (total[:, :anchors] * features[own, :anchors]).sum(dim=2).T.flatten() / temperature
    count = count.repeat(anchors)
    found = count > 0
    log_share = positive / torch.where(found, count, 1) - others
    return (
        -(temperature / base_temperature)
        * torch.where(found, log_share, 0).sum()
        / (anchors * samples)
    )


def _positives(
    features: Tensor, label: Tensor | None, mask: Tensor | None, own: slice
) -> tuple[Tensor, Tensor]:
    """The sum of each wanted row's positives, (n, V, D), and how many there are, the same for all
    views, (n,)."""
    samples = features.sum(dim=1)
    views = features.shape[1]
    if mask is not None:
        weight = mask[own].to(features)
        total = weight @ samples
        members = weight.sum(dim=1)
        itself = weight.diagonal(own.start)
    else:
        ones = features.new_ones(len(features))
        total, members = (samples, ones) if label is None else _class_sums(samples, ones, label)
        total = total[own]
        members = members[own]
        itself = ones[own]
    return total[:, None] - itself[:, None, None] * features[own], views * members - itself


def _class_sums(samples: Tensor, ones: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """For each sample, the sum (N, D) and number (N,) of its class's samples; shapes do not depend
    on the labels."""
    order = label.argsort()
    ordered = label[order]
    group = torch.zeros_like(order)
    group[order[1:]] = (ordered[1:] != ordered[:-1]).cumsum(dim=0)
    sums, members = (torch.zeros_like(x).index_add(0, group, x) for x in (samples, ones))
    return sums[group], members[group]


def _expect_supcon(features: Tensor, label: Tensor | None, mask: Tensor | None, mode: str) -> None:
    if features.ndim != 3 or 0 in features.shape:
        raise ValueError(
            f"features must be (samples, views, D), none of them 0; found {tuple(features.shape)}."
        )
    if label is not None and mask is not None:
        raise ValueError("supcon takes labels or a mask, not both: leave one of them out.")
    n = len(features)
    if label is not None and label.shape != (n,):
        raise ValueError(
            f"label must have one entry for each of the {n} samples; found {tuple(label.shape)}."
        )
    if mask is not None and mask.shape != (n, n):
        raise ValueError(f"mask must be ({n}, {n}), samples by samples; found {tuple(mask.shape)}.")
    if mode not in ("all", "one"):
        raise ValueError(f"Unknown mode {mode!r}: valid are 'all' and 'one'.")
