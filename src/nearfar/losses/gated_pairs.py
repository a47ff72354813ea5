"""Any two classes may be a positive pair, seen through a gate that opens the dimensions in which they agree (Hydra / SimLAP)."""

from __future__ import annotations

from torch import Tensor

from nearfar.losses.masked_contrast import masked_contrast


def gated_contrast(z: Tensor, gate: Tensor, label: Tensor, partner: Tensor, *, temperature: float = 0.1) -> Tensor:
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

    Source: Wu et al. 2024 ("Rethinking Positive Pairs in Contrastive Learning"), equation of the gated loss.
    """
    logits = gated_cosines(z, gate) / temperature
    positive = label == partner[:, None]
    negative = (label != label[:, None]) & ~positive
    losses = masked_contrast(logits, positive, positive | negative, form="single")
    return losses.sum() / positive.sum().clamp(min=1)


def gated_cosines(z: Tensor, gate: Tensor) -> Tensor:
    """(N, N) cosines of g_i * z_i and g_i * z_j, by three products of (N, D) matrices instead of an (N, N, D) array."""
    squared = gate.square()
    norms = (squared @ z.square().T).clamp(min=1e-24).sqrt()  # norms_ij = |g_i * z_j|, at least 1e-12
    return (squared * z) @ z.T / (norms.diagonal()[:, None] * norms)
