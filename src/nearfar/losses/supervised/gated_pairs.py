"""Any two classes may be a positive pair, seen through a gate that opens the dimensions in which
they agree (Hydra / SimLAP)."""

from __future__ import annotations

import torch
from torch import Tensor

from nearfar.losses.instance.masked_contrast import masked_contrast
from nearfar.losses.kernels.blocks import in_row_blocks
from nearfar.losses.kernels.similarity import expect_shapes, expect_temperature, full_precision

__all__ = ["gated_contrast", "gated_cosines"]


@full_precision
def gated_contrast(
    z: Tensor, gate: Tensor, label: Tensor, partner: Tensor, *, temperature: float = 0.1
) -> Tensor:
    """Contrast of anchors with the rows of their partner class, through each anchor's own gate.

        a_i = norm(g_i * z_i), b_ij = norm(g_i * z_j), l_ij = a_i . b_ij / tau
        positives: rows of the partner class (the anchor itself when its partner class is its own);
        negatives: rows of neither class; each positive has its own softmax against the negatives
        loss = sum over all positives of log(1 + sum_n exp(l_in - l_ip)) / number of positives

    Args:
        z: (N, D) projections.
        gate: (N, D) in (0, 1).
        label: (N,) int64 classes of the rows.
        partner: (N,) int64 partner classes.
        temperature: above 0.

    Returns:
        A scalar; 0 when the batch has no positive.

    Example:
        >>> import torch
        >>> from nearfar.losses.supervised.gated_pairs import gated_contrast
        >>> z, gate, label = torch.eye(4), torch.ones(4, 4), torch.tensor([0, 0, 1, 2])
        >>> gated_contrast(z, gate, label, partner=torch.tensor([0, 0, 0, 0]))
        tensor(0.6212)

    Source: Wu et al. 2024 ("Rethinking Positive Pairs in Contrastive Learning"), equation of the
    gated loss.
    """
    expect_shapes(z=(z, "N D"), gate=(gate, "N D"), label=(label, "N"), partner=(partner, "N"))
    expect_temperature(temperature)

    def losses_and_counts(block: slice) -> Tensor:
        logits = gated_cosines(z, gate, block) / temperature
        positive = label == partner[block, None]
        negative = (label != label[block, None]) & ~positive
        losses = masked_contrast(logits, positive, positive | negative, form="single")
        return torch.stack([losses, positive.sum(1).to(losses)], dim=1)

    sums = in_row_blocks(losses_and_counts, z).sum(dim=0)
    return sums[0] / sums[1].clamp(min=1)


@full_precision
def gated_cosines(z: Tensor, gate: Tensor, rows: slice = slice(None)) -> Tensor:
    """Cosines of g_i * z_i and g_i * z_j, by two products of matrices instead of an (N, N, D)
    array.

    Args:
        z: (N, D).
        gate: (N, D).
        rows: which i are wanted; all by default.

    Returns:
        (rows, N); 0 where a gated row has no length.
    """
    squared = gate[rows].square()
    own = z[rows]
    norms = (
        (squared @ z.square().T).clamp(min=1e-24).sqrt()
    )  # norms_ij = |g_i * z_j|, at least 1e-12
    length = (squared * own.square()).sum(dim=1, keepdim=True).clamp(min=1e-24).sqrt()
    return (squared * own) @ z.T / (length * norms)
