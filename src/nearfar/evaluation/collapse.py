"""Has the representation collapsed, and what usually helps?"""

from __future__ import annotations

from torch import Tensor

from nearfar.evaluation.geometry import effective_rank, relative_std

LEAST_STD = 0.03
"""Mean deviation per dimension of unit features, relative to 1 / sqrt(D): below, all samples sit in one spot. A random encoder's
features, which share a large mean, are at 0.1 and more."""
LEAST_RANK = 1.5
"""Dimensions in use after centring: below, all samples sit on one line."""

_ADVICE = "usual remedies: a lower learning rate, a larger batch, batch norm in the projector, stronger views, or another seed"


def collapse(features: Tensor) -> str | None:
    """One sentence if features (N, D) of different samples are all but the same, or all but on one line; otherwise None.

    The features of fewer than 8 samples or of one dimension are not judged.
    """
    if len(features) < 8 or features.shape[1] < 2:
        return None
    spread, rank = relative_std(features), effective_rank(features)
    if spread < LEAST_STD:
        return (
            f"All samples have nearly the same features (their spread is {spread:.1e} of what fills the sphere), so the encoder has"
            f" stopped telling them apart; {_ADVICE}."
        )
    if rank < LEAST_RANK:
        return f"The features use {rank:.1f} of {features.shape[1]} dimensions, so samples differ along one line only; {_ADVICE}."
    return None
