"""Contrast for regression: pairs are positive or negative by the distance of their labels
(SupReMix, ConR)."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from nearfar.losses.instance.masked_contrast import masked_contrast, masked_logsumexp
from nearfar.losses.kernels.blocks import in_row_blocks
from nearfar.losses.kernels.similarity import (
    expect_no_nan,
    expect_rows,
    expect_shapes,
    expect_temperature,
    expect_values,
    full_precision,
    reduce,
    unit,
)
from nearfar.losses.supervised.mixed_positives import Labels, Terms, mixed_positives

__all__ = ["DISTANCE_WEIGHTS", "Distance", "conr", "conr_dense", "label_distances", "supremix"]

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
    official: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """Supervised contrast with mixed hard negatives and mixed hard positives.

    For anchor i, with sg the stop-gradient:
        mixed negative of k, y_k != y_i:
          lambda_ik sg(z_i) + (1 - lambda_ik) sg(z_k), label mixed alike
        mixed positive of y_j < y_i < y_k:  alpha sg(z_j) + (1 - alpha) sg(z_k),
          alpha = (y_k - y_i) / (y_k - y_j), label y_i
        L_i = - mean over real and mixed positives of ( s_ip - log sum over all terms t
                of W_it exp(s_it) ),  s = z . z / tau
    A term's weight W grows with the distance of its label. The loss is the mean over anchors that
    have a positive.

    Args:
        z: (M, D) embeddings of all views, normalised here; M = views x samples.
        label: (M,) floats.
        mixing: (M, M) weights lambda of the anchor in [0, 1], drawn from a Beta distribution; None:
            no mixed negatives.
        window: largest label distance (exclusive) of a mixed positive's parents; None: no mixed
            positives.
        temperature: above 0.
        distance_weight: "l1-inverse" d + 1, "l2-inverse" d^2 + 1, "l1" 1 / (d + 1), "l2" 1 / (d^2 +
            1), or "none".
        official: as the authors' code, which takes the largest logit off real and mixed terms, each
            their own, before they share the softmax; that changes the loss.
        reduction: "mean", or "none": (M,), 0 for an anchor without a positive.

    An anchor has up to M^2 / 4 mixed positives, which are summed label by label (see
    ``mixed_positives``), so time grows with M^2 times the number of labels within the window;
    memory is that of a block of anchors, and linear in M. ``torch.compile`` breaks the graph where
    mixed positives are sought, since their number depends on the labels.

    Example:
        >>> import torch
        >>> from nearfar.losses.supervised.regression_pairs import supremix
        >>> supremix(torch.eye(4), torch.tensor([1.0, 1.0, 2.0, 3.0]), torch.full((4, 4), 0.5))
        tensor(2.8303)

    Source: Wu et al. 2023 (SupReMix), sections 3.2 and 3.3.
    """
    expect_shapes(z=(z, "M D"), label=(label, "M"))
    if mixing is not None:
        expect_shapes(label=(label, "M"), mixing=(mixing, "M M"))
    expect_temperature(temperature)
    expect_no_nan("supremix", label=label, mixing=mixing)
    rows = unit(z)
    place = torch.arange(len(z), device=z.device)
    label = label.to(z.dtype)
    mixing = None if mixing is None else mixing.to(z.dtype)
    if window is not None:
        expect_values("supremix", label=label)
    labels = None if window is None else Labels.of(label)

    def losses_and_anchors(block: slice) -> Tensor:
        distance = (label[block, None] - label).abs()
        other = place[block, None] != place
        constant = rows[block] @ rows.detach().T / temperature
        mixtures = []
        terms = _real_terms(
            rows[block] @ rows.T / temperature,
            (distance == 0) & other,
            other,
            _log_weight(distance, distance_weight),
        )
        if mixing is not None:
            share = mixing[block]
            own = constant.diagonal(block.start)[:, None]
            weight = _log_weight((1 - share) * distance, distance_weight)
            mixtures.append(
                _negative_terms(share * own + (1 - share) * constant, distance != 0, weight)
            )
        if labels is not None and window is not None:
            mixtures.append(mixed_positives(constant, label[block], labels, window))
        if mixtures:
            mixed = functools.reduce(Terms.beside, mixtures)
            terms = (
                terms.from_largest().beside(mixed.from_largest())
                if official
                else terms.beside(mixed)
            )
        losses = torch.where(
            terms.number > 0, terms.logsumexp - terms.total / terms.number.clamp(min=1), 0.0
        )
        return torch.stack([losses, (terms.number > 0).to(losses)], dim=1)

    columns = len(z) if labels is None or window is None else max(len(z), labels.entries(window))
    losses, anchors = in_row_blocks(losses_and_anchors, z, columns=columns).unbind(dim=1)
    return (
        losses.sum() / anchors.sum().clamp(min=1)
        if reduction == "mean"
        else reduce(losses, reduction)
    )


def _real_terms(logits: Tensor, positive: Tensor, other: Tensor, log_weight: Tensor) -> Terms:
    """The other rows; the anchor itself counts for the largest logit alone."""
    total = torch.where(positive, logits, 0.0).sum(1)
    count = positive.sum(1).to(logits)
    return Terms(
        masked_logsumexp(logits + log_weight, other), total, count, logits.detach().amax(1)
    )


def _negative_terms(logits: Tensor, valid: Tensor, log_weight: Tensor) -> Terms:
    none = logits.new_zeros(len(logits))
    largest = logits.detach().masked_fill(~valid, -torch.inf).amax(1)
    return Terms(masked_logsumexp(logits + log_weight, valid), none, none, largest)


def _log_weight(distance: Tensor, kind: str) -> Tensor:
    if kind not in DISTANCE_WEIGHTS:
        raise ValueError(
            f"distance_weight is {kind!r}; expected one of {', '.join(DISTANCE_WEIGHTS)}."
        )
    if kind == "none":
        return torch.zeros_like(distance)
    value = torch.log1p(distance if kind.startswith("l1") else distance.square())
    return value if kind.endswith("inverse") else -value


def label_distances(first: Tensor, second: Tensor) -> Tensor:
    """Distances of labels of one or several dimensions: (N,) or (N, K), and (M,) or (M, K), to (N,
    M), Euclidean."""
    if first.ndim == 1 or first.shape[1] == 1:
        return (first.reshape(-1, 1) - second.reshape(-1)).abs()
    return torch.cdist(
        first, second, compute_mode="donot_use_mm_for_euclid_dist"
    )  # exact for equal labels


Distance = Callable[[Tensor, Tensor], Tensor]
"""From labels (N, K) and (M, K), or (N,) and (M,), to their distances (N, M)."""


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
    distance: Distance = label_distances,
    official: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """Contrastive regulariser of imbalanced regression.

        positives P_i: d(y_i, y_j) <= window, j != i;
          negatives: d(y_i, y_j) > window and d(p_i, p_j) <= window (confusions)
        L_i = - 1/|P_i| sum_P ( l_ip - log( sum_P exp(l) + sum_N S_in exp(l_in) ) ),
          S_ij = omega_i exp(push d(y_i, y_j))
        loss = mean over all rows of omega_i L_i, where L_i = 0 without a negative or without a
        positive

    Args:
        features: (M, D), normalised here.
        label: (M,) or (M, K) floats.
        prediction: (M,) or (M, K) predictions, used without gradient.
        density_weight: (M,) or (M, 1) weights omega by the rarity of the label; 1 by default.
        window: label distance up to which a pair is alike.
        temperature: above 0.
        push: strength with which the label distance pushes.
        distance: d, of labels and of predictions; the absolute difference by default, Euclidean for
            K above 1.
        official: as the authors' code, where every column that is not a positive or a negative adds
            1 to the denominator and weights its negatives inside.
        reduction: "mean", or "none": (M,), omega_i L_i.

    Raises:
        ValueError: if labels and predictions are not of one shape with a row for each of the
            features.

    Example:
        >>> import torch
        >>> from nearfar.losses.supervised.regression_pairs import conr
        >>> label = torch.tensor([1.0, 1.0, 5.0, 5.0])
        >>> prediction = torch.tensor([1.0, 1.0, 1.5, 5.0])
        >>> conr(torch.eye(4), label, prediction)
        tensor(0.6380)

    Source: Keramati et al. 2024 (ConR), equations 3 to 5.
    """
    expect_rows(features=features)
    y, p = (
        values.squeeze(1) if values.ndim == 2 and values.shape[1] == 1 else values
        for values in (label, prediction.detach())
    )
    if y.shape != p.shape or y.ndim not in (1, 2) or len(y) != len(features):
        shapes = f"{tuple(label.shape)} and {tuple(prediction.shape)} for {len(features)} features"
        raise ValueError(
            "label and prediction must both be (M,) or (M, K), a row for each feature; found "
            f"{shapes}."
        )
    expect_no_nan("conr", label=label, prediction=prediction, density_weight=density_weight)
    omega = y.new_ones(len(y)) if density_weight is None else density_weight.reshape(-1)
    expect_shapes(features=(features, "M D"), density_weight=(omega, "M"))

    def log_push(rows: slice, distances: Tensor) -> Tensor:
        return omega[rows, None].log() + push * distances

    losses, _ = _confusions(features, (y, p), distance, log_push, (window, temperature, official))
    return reduce(omega * losses, reduction)


def _confusions(
    features: Tensor,
    labels: tuple[Tensor, Tensor],
    measure: Distance,
    log_push: Callable[[slice, Tensor], Tensor],
    how: tuple[float, float, bool],
) -> tuple[Tensor, Tensor]:
    """ConR's loss of each anchor, 0 without a negative or a positive, and the numbers of
    positives."""
    (y, p) = labels
    (window, temperature, official) = how
    expect_temperature(temperature)
    rows = unit(features)
    place = torch.arange(len(y), device=y.device)

    def losses_and_positives(block: slice) -> Tensor:
        distance = measure(y[block], y)
        pushed = measure(p[block], p) <= window
        positive = (distance <= window) & (place[block, None] != place)
        negative = (distance > window) & pushed
        logits = rows[block] @ rows.T / temperature
        weight = log_push(block, distance)
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
    """The regulariser for dense targets such as depth: labels, predictions and weights are averaged
    per image.

    The pushing weight is ``push * omega_i * |y_i - y_j|``, the mean over positives counts the
    anchor itself in its divisor, and there is no outer weight.

    Args:
        features: (N, C, H, W), flattened and normalised here.
        target: (N, 1, h, w) dense targets.
        prediction: (N, 1, h, w), used without gradient.
        density_weight: (N, 1, h, w) or None.
        window, temperature, push, official: as in ``conr``.

    Source: Keramati et al. 2024 (ConR), its depth-estimation form.
    """
    fits = (
        target.ndim > 1
        and target.shape == prediction.shape
        and len(features) == len(target)
        and features.ndim == 4
    )
    if not fits or 0 in features.shape or 0 in target.shape:
        found = ", ".join(str(tuple(x.shape)) for x in (features, target, prediction))
        raise ValueError(
            "Expected features (N, C, H, W), target and prediction (N, 1, h, w), none of them "
            f"empty; found {found}."
        )
    expect_no_nan("conr_dense", target=target, prediction=prediction, density_weight=density_weight)
    y, p = (value.flatten(1).mean(1) for value in (target, prediction.detach()))
    omega = torch.ones_like(y) if density_weight is None else density_weight.flatten(1).mean(1)

    def log_push(rows: slice, distance: Tensor) -> Tensor:
        return (push * omega[rows, None] * distance).log()

    losses, positives = _confusions(
        features.flatten(1), (y, p), label_distances, log_push, (window, temperature, official)
    )
    return (losses * positives / (positives + 1)).mean()
