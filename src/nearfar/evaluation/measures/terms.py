"""How well terms of an ontology are predicted: Fmax, Smin and areas under precision and recall.

A protein has N scores, one for each of C terms. ``ancestors`` (C, A) says which terms follow from
each: its first C columns are the terms themselves, in their order and with each its own, and more
columns may follow for ancestors that are not predicted. Roots are left out.

Source: Radivojac et al. 2013, "A large-scale evaluation of computational protein function
prediction" (CAFA), and Clark and Radivojac 2013, "Information-theoretic evaluation of predicted
ontological annotations".
"""

from __future__ import annotations

import torch
from sklearn.metrics import average_precision_score
from torch import Tensor

from nearfar.errors import UserError

__all__ = ["information_content", "propagated", "term_areas", "term_fmax", "term_smin"]

ANNOTATED = 69_709
"""Annotated proteins behind the usual counts of terms."""


def propagated(scores: Tensor, ancestors: Tensor) -> Tensor:
    """Scores by the true path rule: each ancestor takes the highest score of its terms.

        p_a = max over terms c with ancestor a of p_c

    Args:
        scores: (N, C) floats, or bool for sets of terms.
        ancestors: (C, A) bool, as in the module's text.

    Returns:
        (N, A); 0 for a column that no term leads to.

    Example:
        >>> ancestors = torch.tensor([[True, True], [False, True]])  # term 0 is a kind of term 1
        >>> propagated(torch.tensor([[0.8, 0.3]]), ancestors)
        tensor([[0.8000, 0.8000]])

    Source: Radivojac et al. 2013 (the true path rule).
    """
    _check(scores, ancestors)
    found = scores.new_zeros(len(scores), ancestors.shape[1])
    for column in range(ancestors.shape[1]):
        members = ancestors[:, column].nonzero()[:, 0]
        if len(members):
            found[:, column] = scores[:, members].amax(dim=1)
    return found


def term_fmax(
    truth: Tensor, scores: Tensor, ancestors: Tensor | None = None
) -> tuple[float, float]:
    """The best F measure over thresholds, and its threshold.

        F(t) = 2 P R / (P + R),   S = terms with score > t
        P = mean of |T n S| / |S| over proteins with terms both true and predicted
        R = sum of |T n S| / |T| over the same proteins, divided by the number of all proteins

    Both sets are closed under ``ancestors``; t runs over 0.01, 0.02, ..., 0.99.

    Args:
        truth: (N, C) bool or 0 and 1.
        scores: (N, C) from 0 to 1.
        ancestors: (C, A) bool; None where there is no ontology.

    Returns:
        F in [0, 1] and t; 0 and the first t where nothing is ever found.

    Example:
        >>> truth = torch.tensor([[1, 0], [1, 1]])
        >>> term_fmax(truth, torch.tensor([[0.9, 0.25], [0.8, 0.4]]))
        (1.0, 0.25)

    Source: Radivojac et al. 2013, as HEAL's code has it (recall over the same proteins).
    """
    held, given = _pair(truth, scores)
    closure = _closure(held, ancestors)
    real = propagated(held.bool(), closure)
    score = propagated(given, closure)
    size = real.sum(dim=1)
    best = (0.0, 0.01)
    for step in range(1, 100):
        threshold = step / 100
        chosen = score > threshold
        predicted = chosen.sum(dim=1)
        counted = (predicted > 0) & (size > 0)
        if not bool(counted.any()):
            continue
        hits = (chosen & real).sum(dim=1).double()[counted]
        precision = float((hits / predicted[counted]).mean())
        recall = float((hits / size[counted]).sum() / len(real))
        if precision + recall > 0:
            measure = 2 * precision * recall / (precision + recall)
            best = (measure, threshold) if measure > best[0] else best
    return best


def information_content(counts: Tensor, total: int = ANNOTATED) -> Tensor:
    """How surprising a term is, in bits: -log2(count / total); a count of 0 is taken for 1.

    >>> information_content(torch.tensor([4, 1]), 4)
    tensor([-0., 2.], dtype=torch.float64)
    """
    if total < 1 or int(counts.max()) > total:
        raise UserError(
            f"A term is counted {int(counts.max()):,} times among {total:,} proteins;"
            " expected at most all of them."
        )
    return -torch.log2(counts.double().clamp(min=1) / total)


def term_smin(truth: Tensor, scores: Tensor, content: Tensor) -> float:
    """The least semantic distance over thresholds, normalised by the terms at stake.

        ru = ic(T - S) / ic(T u S),  mi = ic(S - T) / ic(T u S),  ic of a set: the sum of its terms
        S(t) = sqrt( mean ru^2 + mean mi^2 ) of the means;  S = terms with score >= t

    t runs over 100 even steps from 0 to 1.

    A protein of which the union weighs nothing counts as 0.

    Args:
        truth: (N, C) bool or 0 and 1.
        scores: (N, C) from 0 to 1, propagated.
        content: (C,) information content of each term.

    Returns:
        At least 0, lower is better.

    Example:
        >>> term_smin(torch.tensor([[1, 0]]), torch.tensor([[0.9, 0.1]]), torch.ones(2))
        0.0

    Source: Clark and Radivojac 2013, equations 3 to 5, normalised.
    """
    held, given = _pair(truth, scores)
    if content.shape != (held.shape[1],):
        raise UserError(
            f"The information content must be ({held.shape[1]},); found {tuple(content.shape)}."
        )
    weight = content.double()
    real = held.bool()
    best = float("inf")
    for threshold in torch.linspace(0, 1, 100, dtype=torch.float64):
        chosen = given >= threshold
        union = (chosen | real).double() @ weight
        scale = torch.where(union > 0, union, 1)
        missed = ((real & ~chosen).double() @ weight / scale).mean()
        false = ((chosen & ~real).double() @ weight / scale).mean()
        best = min(best, float((missed.square() + false.square()).sqrt()))
    return best


def term_areas(truth: Tensor, scores: Tensor) -> tuple[float, float]:
    """Average precision: the mean over terms that a protein has, and over all pairs at once.

        macro = mean over terms of sum_n (R_n - R_{n-1}) P_n
        micro = the same sum over all (protein, term) pairs

    Args:
        truth: (N, C) bool or 0 and 1, at least one of them 1.
        scores: (N, C).

    Returns:
        Macro and micro area, each in [0, 1].

    Example:
        >>> term_areas(torch.tensor([[1, 0], [0, 1]]), torch.tensor([[0.9, 0.25], [0.8, 0.4]]))
        (1.0, 0.8333333333333333)

    Source: Radivojac et al. 2013; average precision as scikit-learn has it.
    """
    held, given = _pair(truth, scores)
    real, score = held.numpy().astype(bool), given.numpy()
    seen = real.any(axis=0)
    if not seen.any():
        raise UserError(
            "No protein has any of the terms, so there is nothing to judge;"
            " choose other proteins or terms."
        )
    macro = average_precision_score(real[:, seen], score[:, seen], average="macro")
    micro = average_precision_score(real[:, seen].ravel(), score[:, seen].ravel())
    return float(macro), float(micro)


def _closure(held: Tensor, ancestors: Tensor | None) -> Tensor:
    return (
        torch.eye(held.shape[1], dtype=torch.bool) if ancestors is None else ancestors.cpu().bool()
    )


def _pair(truth: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    if truth.ndim != 2 or truth.shape != scores.shape or 0 in truth.shape:
        found = f"{tuple(truth.shape)} and {tuple(scores.shape)}"
        raise UserError(
            "Truth and scores must be of one shape (proteins, terms), none of them 0;"
            f" found {found}."
        )
    if not bool(torch.isfinite(scores.double()).all()):
        raise UserError("The scores of terms hold NaN or infinity; expected numbers from 0 to 1.")
    return truth.detach().cpu(), scores.detach().cpu().double()


def _check(scores: Tensor, ancestors: Tensor) -> None:
    if scores.ndim != 2 or ancestors.ndim != 2 or scores.shape[1] != len(ancestors):
        found = f"{tuple(scores.shape)} and {tuple(ancestors.shape)}"
        raise UserError(f"Scores (N, C) and ancestors (C, A) must agree in C; found {found}.")
