"""95 % intervals: of a mean over seeds, of a share of samples, of a paired difference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from scipy.special import ndtri, stdtrit

from nearfar.errors import UserError

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """An estimate and the ends of its interval; NaN ends where one observation says nothing about
    its spread.
    """

    value: float
    low: float
    high: float


def mean_interval(values: Sequence[float], *, confidence: float = CONFIDENCE) -> Interval:
    """Mean of independent values with Student's t-interval; one value has no interval (NaN ends).

    Raises:
        UserError: if there are no values.
    """
    if not len(values):
        raise UserError("There are no values to average; expected at least one.")
    count = len(values)
    mean = math.fsum(values) / count
    if count == 1:
        return Interval(mean, math.nan, math.nan)
    deviation = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (count - 1))
    half = float(stdtrit(count - 1, (1 + confidence) / 2)) * deviation / math.sqrt(count)
    return Interval(mean, mean - half, mean + half)


def paired_difference(
    first: Sequence[float], second: Sequence[float], *, confidence: float = CONFIDENCE
) -> Interval:
    """Mean of ``second - first`` over pairs (the same seeds) with a t-interval; above 0 throughout:
    second is larger.

    Raises:
        UserError: if the lengths differ or are 0.
    """
    if len(first) != len(second):
        raise UserError(
            f"Paired values have lengths {len(first)} and {len(second)}; expected the same seeds "
            "for both."
        )
    return mean_interval([b - a for a, b in zip(first, second, strict=True)], confidence=confidence)


def wilson(share: float, count: int, *, confidence: float = CONFIDENCE) -> Interval:
    """A share in [0, 1] of ``count`` samples with its Wilson score interval.

    Source: Wilson 1927, "Probable Inference, the Law of Succession, and Statistical Inference".
    """
    if count < 1 or not 0 <= share <= 1:
        raise UserError(
            f"No interval for a share of {share} of {count} samples; expected a share in [0, 1] of "
            "at least 1."
        )
    z = float(ndtri((1 + confidence) / 2))
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = (
        z
        / (1 + z * z / count)
        * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    )
    # Rounding must not push the interval past the share itself where that is 0 or 1.
    return Interval(share, min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half)))
