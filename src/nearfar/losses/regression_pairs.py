"""Contrast for regression: pairs are positive or negative by the distance of their labels (SupReMix, ConR)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from nearfar.losses.masked_contrast import masked_contrast

DISTANCE_WEIGHTS = ("none", "l1-inverse", "l2-inverse", "l1", "l2")


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

    Source: Wu et al. 2023 (SupReMix), sections 3.2 and 3.3. Memory grows with M^3 through the mixed positives.
    """
    unit, distance = normalize(z, dim=1), (label[:, None] - label).abs()
    real, constant = unit @ unit.T / temperature, unit @ unit.detach().T / temperature
    other = ~torch.eye(len(z), dtype=torch.bool, device=z.device)
    logits, positive, valid = [real], [(distance == 0) & other], [other]
    weights = [_log_distance_weight(distance, distance_weight)]
    if mixing is not None:
        logits.append(mixing * constant.diagonal()[:, None] + (1 - mixing) * constant)
        valid.append(distance != 0)
        positive.append(torch.zeros_like(other))
        weights.append(_log_distance_weight((1 - mixing) * distance, distance_weight))
    if window is not None:
        mixed, exists = _mixed_positives(constant, label, window)
        logits.append(mixed)
        positive.append(exists)
        valid.append(exists)
        weights.append(torch.zeros_like(mixed))
    chosen = torch.cat(positive, 1)
    losses = masked_contrast(torch.cat(logits, 1), chosen, torch.cat(valid, 1), log_weight=torch.cat(weights, 1))
    return losses.sum() / chosen.any(1).sum().clamp(min=1)


def _mixed_positives(constant: Tensor, label: Tensor, window: float) -> tuple[Tensor, Tensor]:
    """Logits (M, T) of the mixed positives and which (anchor, pair) exist; T pairs (j, k) that serve any anchor."""
    below = (label[:, None] > label) & (label[:, None] - label < window)  # (i, j): y_j below y_i within the window
    above = (label[:, None] < label) & (label - label[:, None] < window)
    exists = below[:, :, None] & above[:, None, :]
    used = exists.any(0)
    j, k = used.nonzero(as_tuple=True)
    alpha = (label[k] - label[:, None]) / (label[k] - label[j])
    return alpha * constant[:, j] + (1 - alpha) * constant[:, k], exists[:, j, k]


def _log_distance_weight(distance: Tensor, kind: str) -> Tensor:
    if kind not in DISTANCE_WEIGHTS:
        raise ValueError(f"distance_weight is {kind!r}; expected one of {', '.join(DISTANCE_WEIGHTS)}.")
    if kind == "none":
        return torch.zeros_like(distance)
    value = torch.log1p(distance if kind.startswith("l1") else distance.square())
    return value if kind.endswith("inverse") else -value


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
    y, p = label.reshape(-1), prediction.detach().reshape(-1)
    omega = torch.ones_like(y) if density_weight is None else density_weight.reshape(-1)
    log_push = omega.log()[:, None] + push * (y[:, None] - y).abs()
    losses, _ = _confusions(features, y, p, log_push, (window, temperature, official))
    return (omega * losses).mean()


def _confusions(
    features: Tensor, y: Tensor, p: Tensor, log_push: Tensor, how: tuple[float, float, bool]
) -> tuple[Tensor, Tensor]:
    """ConR's loss of each anchor, 0 without a negative or a positive, and the numbers of positives."""
    window, temperature, official = how
    unit, distance = normalize(features, dim=1), (y[:, None] - y).abs()
    logits = unit @ unit.T / temperature
    positive = (distance <= window) & ~torch.eye(len(y), dtype=torch.bool, device=y.device)
    negative = (distance > window) & ((p[:, None] - p).abs() <= window)
    if official:
        losses = _conr_as_coded(logits, positive, negative, log_push)
    else:
        losses = masked_contrast(logits, positive, positive | negative, log_weight=torch.where(negative, log_push, 0.0))
    return torch.where(negative.any(1), losses, 0.0), positive.sum(1)


def _conr_as_coded(logits: Tensor, positive: Tensor, negative: Tensor, log_push: Tensor) -> Tensor:
    """Masked logits become 0 and so add exp(0) = 1 each; parity with the published code only."""
    attracting = torch.where(positive, logits, 0.0).logsumexp(1)
    repelling = torch.where(negative, logits + log_push, -torch.inf).logsumexp(1)
    denominator = torch.logaddexp(attracting, repelling)
    mean = torch.where(positive, logits, 0.0).sum(1) / positive.sum(1).clamp(min=1)
    return torch.where(positive.any(1), denominator - mean, 0.0)


def conr_dense(
    features: Tensor, target: Tensor, prediction: Tensor, *, density_weight: Tensor | None = None, window: float = 0.2,
    temperature: float = 0.07, push: float = 0.2, official: bool = False,
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
    log_push = (push * omega[:, None] * (y[:, None] - y).abs()).log()
    losses, positives = _confusions(features.flatten(1), y, p, log_push, (window, temperature, official))
    return (losses * positives / (positives + 1)).mean()
