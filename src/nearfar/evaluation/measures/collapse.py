"""Has the representation collapsed, and what usually helps?"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from nearfar.evaluation.measures.geometry import effective_rank, relative_std

LEAST_STD = 0.02
"""Spread of unit features per dimension, relative to 1 / sqrt(D). Untrained residual networks,
transformers and plain convolutions, whose features share a large mean, were measured at 0.10 and
more on pictures of digits; collapsed encoders below 0.005.
"""
LEAST_RANK = 1.5
"""Effective rank: below, all samples sit on one line. The same untrained encoders were at 26 and
more; two classes that a supervised method has pulled together need not be far above 1, which is
health of a kind.
"""


MOST_COSINE = 0.9
"""Mean cosine of different samples' projections. Short runs of 14 methods on cluttered digits begin
at 0.97 to 1.0, untrained, and were at 0.73 and below halfway, but for one that had hardly begun to
learn; VICReg without its variance and covariance terms and DINO with a teacher temperature of 10
come down to 0.86 and 0.94 first and then rise to 0.99 and more.
"""
_RISE = 0.02
_JUDGED_FROM = 0.5  # share of the run


def projections_collapsed(head: str, cosines: Sequence[float], share: float) -> str | None:
    """One sentence if a head makes nearly the same of all samples and gets no better; otherwise
    None.

    Args:
        head: its name.
        cosines: mean cosines of different samples, of all looks so far, the newest last.
        share: of the run that is done, in [0, 1].
    """
    now = cosines[-1]
    earlier = cosines[:-1]
    if share < _JUDGED_FROM or now < MOST_COSINE or not earlier:
        return None
    risen = now > min(earlier) + _RISE
    stuck = share >= 1 and now >= max(earlier) - _RISE / 2
    if not (risen or stuck):
        return None
    return (
        "All samples have nearly the same projections (the mean cosine of different samples "
        f"behind {head} is {now:.2f}, healthy runs are"
        f" below {MOST_COSINE}); usually more weight for what spreads them (negatives, a variance "
        "and a covariance term, a centre and a"
        " lower temperature of the teacher) or a lower learning rate helps."
    )


def collapse(features: Tensor) -> str | None:
    """One sentence if the features (N, D) of different samples are all but the same, or all but on
    one line; otherwise None.

    The features of fewer than 8 samples or of one dimension are not judged.
    """
    if len(features) < 8 or features.shape[1] < 2:
        return None
    return collapse_seen(relative_std(features), effective_rank(features), features.shape[1])


def collapse_seen(spread: float, rank: float, dimension: int) -> str | None:
    """As ``collapse``, from ``relative_std`` and ``effective_rank`` of features with that many
    dimensions.
    """
    if spread < LEAST_STD:
        return (
            f"All samples have nearly the same features (their spread is {spread:.2g} of what "
            "fills the sphere, healthy encoders have"
            f" more than {LEAST_STD}); usually a lower learning rate or a longer warm-up helps, "
            "and where the method has no negatives"
            " a slower target (higher momentum), batch norm in the projector or a stronger "
            "variance term."
        )
    if rank < LEAST_RANK:
        return (
            f"The features differ along {rank:.1f} of their {dimension} dimensions only; usually a "
            "larger batch, stronger views or a"
            " stronger decorrelation term helps, or a lower learning rate."
        )
    return None
