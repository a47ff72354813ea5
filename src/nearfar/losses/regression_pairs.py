"""Contrast for regression: pairs are positive or negative by the distance of their labels (SupReMix, ConR)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from nearfar.losses.blocks import in_row_blocks
from nearfar.losses.masked_contrast import masked_contrast
from nearfar.losses.similarity import expect_rows, expect_temperature, full_precision, unit

__all__ = ["DISTANCE_WEIGHTS", "conr", "conr_dense", "supremix"]

DISTANCE_WEIGHTS = ("none", "l1-inverse", "l2-inverse", "l1", "l2")


@full_precision
def supremix(
    z: Tensor,
    label: Tensor,
    mixing: Tensor | None,
    *,
    window: float | None = 5.0,
    temperature: float = 0.5,
    distance_weight: str = "l1-inverse",
) -> Tensor:
    """Supervised contrast with mixed hard negatives and mixed hard positives.

    For anchor i, with sg the stop-gradient:
        mixed negative of k, y_k != y_i:       lambda_ik sg(z_i) + (1 - lambda_ik) sg(z_k), label mixed alike
        mixed positive of y_j < y_i < y_k:     alpha sg(z_j) + (1 - alpha) sg(z_k),  alpha = (y_k - y_i) / (y_k - y_j), label y_i
        L_i = - mean over real and mixed positives of ( s_ip - log sum over all terms t of W_it exp(s_it) ),  s = z . z / tau
    A term's weight W grows with the distance of its label. The loss is the mean over anchors that have a positive. All terms share
    one softmax; the authors' code shifts real and mixed logits by different maxima, which changes the loss.

    Args:
        z: (M, D) embeddings of all views, normalised here; M = views x samples.
        label: (M,) floats.
        mixing: (M, M) weights lambda of the anchor in [0, 1], drawn from a Beta distribution; None: no mixed negatives.
        window: largest label distance (exclusive) of a mixed positive's parents; None: no mixed positives.
        temperature: above 0.
        distance_weight: "l1-inverse" d + 1, "l2-inverse" d^2 + 1, "l1" 1 / (d + 1), "l2" 1 / (d^2 + 1), or "none".

    An anchor has up to M^2 / 4 mixed positives, so time grows with M^3; memory is that of a block of anchors.
    ``torch.compile`` breaks the graph where mixed positives are sought, since their number depends on the labels.

    Source: Wu et al. 2023 (SupReMix), sections 3.2 and 3.3.
    """
    expect_rows(z=z)
    expect_temperature(temperature)
    rows, place = unit(z), torch.arange(len(z), device=z.device)

    def losses_and_anchors(block: slice) -> Tensor:
        distance, other = (label[block, None] - label).abs(), place[block, None] != place
        constant = rows[block] @ rows.detach().T / temperature
        logits, positive, valid = [rows[block] @ rows.T / temperature], [(distance == 0) & other], [other]
        weights = [_log_distance_weight(distance, distance_weight)]
        if mixing is not None:
            own, share = constant.diagonal(block.start)[:, None], mixing[block]
            logits.append(share * own + (1 - share) * constant)
            valid.append(distance != 0)
            positive.append(torch.zeros_like(other))
            weights.append(_log_distance_weight((1 - share) * distance, distance_weight))
        if window is not None:
            mixed, exists = _mixed_positives(constant, label[block], label, window)
            logits.append(mixed)
            positive.append(exists)
            valid.append(exists)
            weights.append(torch.zeros_like(mixed))
        chosen = torch.cat(positive, 1)
        losses = masked_contrast(torch.cat(logits, 1), chosen, torch.cat(valid, 1), log_weight=torch.cat(weights, 1))
        return torch.stack([losses, chosen.any(1).to(losses)], dim=1)

    sums = in_row_blocks(losses_and_anchors, z, columns=len(z) ** (1 if window is None else 2)).sum(dim=0)
    return sums[0] / sums[1].clamp(min=1)


def _mixed_positives(constant: Tensor, anchor: Tensor, label: Tensor, window: float) -> tuple[Tensor, Tensor]:
    """Logits (A, T) of the mixed positives and which (anchor, pair) exist; T pairs (j, k) that serve any of the anchors."""
    below = (anchor[:, None] > label) & (anchor[:, None] - label < window)  # (i, j): y_j below y_i within the window
    above = (anchor[:, None] < label) & (label - anchor[:, None] < window)
    exists = below[:, :, None] & above[:, None, :]
    used = exists.any(0)
    j, k = used.nonzero(as_tuple=True)
    alpha = (label[k] - anchor[:, None]) / (label[k] - label[j])
    return alpha * constant[:, j] + (1 - alpha) * constant[:, k], exists[:, j, k]


def _log_distance_weight(distance: Tensor, kind: str) -> Tensor:
    if kind not in DISTANCE_WEIGHTS:
        raise ValueError(f"distance_weight is {kind!r}; expected one of {', '.join(DISTANCE_WEIGHTS)}.")
    if kind == "none":
        return torch.zeros_like(distance)
    value = torch.log1p(distance if kind.startswith("l1") else distance.square())
    return value if kind.endswith("inverse") else -value


@full_precision
def conr(
    features: Tensor,
    label: Tensor,
    prediction: Tensor,
    *,
    density_weight: Tensor | None = None,
    window: float = 1.0,
    temperature: float = 0.07,
    push: float = 0.01,
    official: bool = False,
) -> Tensor:
    """Contrastive regulariser of imbalanced regression.

        positives P_i: |y_i - y_j| <= window, j != i;   negatives: |y_i - y_j| > window and |p_i - p_j| <= window (confusions)
        L_i = - 1/|P_i| sum_P ( l_ip - log( sum_P exp(l) + sum_N S_in exp(l_in) ) ),   S_ij = omega_i exp(push |y_i - y_j|)
        loss = mean over all rows of omega_i L_i, where L_i = 0 without a negative or without a positive

    Args:
        features: (M, D), normalised here.
        label: (M,) or (M, 1) floats.
        prediction: (M,) or (M, 1) predictions, used without gradient.
        density_weight: (M,) or (M, 1) weights omega by the rarity of the label; 1 by default.
        window: label distance up to which a pair is alike.
        temperature: above 0.
        push: strength with which the label distance pushes.
        official: as the authors' code, where every column that is not a positive or a negative adds 1 to the denominator and
            weights its negatives inside.

    Source: Keramati et al. 2024 (ConR), equations 3 to 5.
    """
    expect_rows(features=features)
    y, p = label.reshape(-1), prediction.detach().reshape(-1)
    omega = torch.ones_like(y) if density_weight is None else density_weight.reshape(-1)

    def log_push(rows: slice, distance: Tensor) -> Tensor:
        return omega[rows, None].log() + push * distance

    losses, _ = _confusions(features, y, p, log_push, (window, temperature, official))
    return (omega * losses).mean()


def _confusions(
    features: Tensor,
    y: Tensor,
    p: Tensor,
    log_push: Callable[[slice, Tensor], Tensor],
    how: tuple[float, float, bool],
) -> tuple[Tensor, Tensor]:
    """ConR's loss of each anchor, 0 without a negative or a positive, and the numbers of positives."""
    window, temperature, official = how
    expect_temperature(temperature)
    rows, place = unit(features), torch.arange(len(y), device=y.device)

    def losses_and_positives(block: slice) -> Tensor:
        distance, pushed = (y[block, None] - y).abs(), (p[block, None] - p).abs() <= window
        positive, negative = (distance <= window) & (place[block, None] != place), (distance > window) & pushed
        logits, weight = rows[block] @ rows.T / temperature, log_push(block, distance)
        if official:
            losses = _conr_as_coded(logits, positive, negative, weight)
        else:
            weight = torch.where(negative, weight, 0.0)
            losses = masked_contrast(logits, positive, positive | negative, log_weight=weight)
        losses = torch.where(negative.any(1), losses, 0.0)
        return torch.stack([losses, positive.sum(1).to(losses)], dim=1)

    losses, positives = in_row_blocks(losses_and_positives, features).unbind(dim=1)
    return losses, positives


def _conr_as_coded(logits: Tensor, positive: Tensor, negative: Tensor, log_push: Tensor) -> Tensor:
    """Masked logits become 0 and so add exp(0) = 1 each; parity with the published code only."""
    attracting = torch.where(positive, logits, 0.0).logsumexp(1)
    repelling = torch.where(negative, logits + log_push, -torch.inf)
    denominator = torch.cat([attracting[:, None], repelling], dim=1).logsumexp(1)
    mean = torch.where(positive, logits, 0.0).sum(1) / positive.sum(1).clamp(min=1)
    return torch.where(positive.any(1), denominator - mean, 0.0)


@full_precision
def conr_dense(
    features: Tensor,
    target: Tensor,
    prediction: Tensor,
    *,
    density_weight: Tensor | None = None,
    window: float = 0.2,
    temperature: float = 0.07,
    push: float = 0.2,
    official: bool = False,
) -> Tensor:
    """The regulariser for dense targets such as depth: labels, predictions and weights are averaged per image.

    The pushing weight is ``push * omega_i * |y_i - y_j|``, the mean over positives counts the anchor itself in its divisor, and
    there is no outer weight.

    Args:
        features: (N, C, H, W), flattened and normalised here.
        target: (N, 1, h, w) dense targets.
        prediction: (N, 1, h, w), used without gradient.
        density_weight: (N, 1, h, w) or None.
        window, temperature, push, official: as in ``conr``.

    Source: Keramati et al. 2024 (ConR), its depth-estimation form.
    """
    y, p = (value.flatten(1).mean(1) for value in (target, prediction.detach()))
    omega = torch.ones_like(y) if density_weight is None else density_weight.flatten(1).mean(1)

    def log_push(rows: slice, distance: Tensor) -> Tensor:
        return (push * omega[rows, None] * distance).log()

    losses, positives = _confusions(features.flatten(1), y, p, log_push, (window, temperature, official))
    return (losses * positives / (positives + 1)).mean()
