"""The errors of a difference of two encoders or two methods, and when it is larger than those.

The score of a method varies with the seed of its training and with the test samples. Both errors
count. Everything here is a pure function of scores.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, stdtrit

from nearfar.evaluation.kernels.intervals import Interval
from nearfar.evaluation.result import Score

LEVEL = 0.05
"""The share of families of comparisons without any difference in which something is called sure, at
most.
"""
FEWEST_SEEDS = 3
"""With fewer seeds a comparison shows values and no interval over seeds."""
MOST_SEEDS = 50
"""More seeds than this are not recommended to anybody."""
_NORMAL = 10**6
"""Degrees of freedom where the number of samples is not known."""
_PSEUDO = 2.0
"""Samples that are added to those on which two encoders differ: with few of them a normal law is
too sure.
"""


@dataclass(frozen=True)
class Side:
    """What one encoder or method scored by one metric.

    Attributes:
        values: one for each seed.
        samples: for each seed (N,) what each test sample adds, with the value as its mean; None
            where it was not kept.
        tests: for each seed a fingerprint of its test samples; () if all seeds have the same.
        errors: for each seed the standard error of its value over test samples; NaN where it is not
            known.
    """

    values: Sequence[float]
    samples: Sequence[NDArray[np.float64]] | None = field(default=None, compare=False)
    tests: Sequence[str] = ()
    errors: Sequence[float] = ()


@dataclass(frozen=True)
class Difference:
    """The second side minus the first, with its two errors.

    Attributes:
        value: mean over seeds.
        seeds: number of seeds.
        count: number of test samples that were paired; 0 where none were.
        seed_variance: of the mean, by the spread between seeds; NaN with one seed.
        sample_variance: of the mean, by the test samples; NaN where it is not known.
        exact: p of McNemar's exact test with one seed and shares of right answers; otherwise 0.
    """

    value: float
    seeds: int
    count: int
    seed_variance: float
    sample_variance: float
    exact: float = 0.0

    @property
    def known(self) -> bool:
        """Whether any of its errors is known."""
        return not (math.isnan(self.seed_variance) and math.isnan(self.sample_variance))

    def half(self, level: float = LEVEL) -> float:
        """Half of the interval that misses the true difference with a probability of at most
        ``level``.

        sqrt(t1^2 V1 + t2^2 V2) for the variances by seeds and by samples, t1 and t2 of their
        degrees of freedom.

        Source: Banerjee 1961, "On confidence interval for two-means problem based on separate
            estimates of variances
        and tabulated values of t-table": this interval never covers less than it says.
        """
        if not self.known:
            return math.nan
        squared = 0.0
        if not math.isnan(self.seed_variance):
            squared += _quantile(self.seeds - 1, level) ** 2 * self.seed_variance
        if not math.isnan(self.sample_variance):
            squared += (
                _quantile(self.count - 1 if self.count > 1 else _NORMAL, level) ** 2
                * self.sample_variance
            )
        return math.sqrt(squared)

    def p(self) -> float:
        """The smallest level at which the difference is apart from 0; 1 where no error is known."""
        if not self.known or self.value == 0 or math.isnan(self.value):
            return 1.0
        # of the logarithm of the level
        low = -40.0
        high = 0.0
        if self.half(1.0 - 1e-12) >= abs(self.value):
            return 1.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (
                (low, middle) if self.half(math.exp(middle)) < abs(self.value) else (middle, high)
            )
        return max(math.exp(high), self.exact)

    def interval(self, level: float = LEVEL) -> Interval:
        """The difference and the ends of its interval, which contains 0 where ``p`` is above the
        level.
        """
        half = self.half(level)
        if math.isnan(half):
            return Interval(self.value, math.nan, math.nan)
        low = self.value - half
        high = self.value + half
        return (
            Interval(self.value, min(low, 0.0), max(high, 0.0))
            if self.p() > level
            else Interval(self.value, low, high)
        )


def difference(first: Side, second: Side) -> Difference:
    """The second side minus the first, paired over seeds, and over test samples where both have
    kept them.

    Raises:
        ValueError: if the sides have not the same number of seeds, or none.
    """
    seeds = len(first.values)
    if seeds != len(second.values) or not seeds:
        raise ValueError(f"the sides have {seeds} and {len(second.values)} seeds")
    each = np.asarray(second.values, dtype=np.float64) - np.asarray(first.values, dtype=np.float64)
    seed_variance = float(each.var(ddof=1) / seeds) if seeds > 1 else math.nan
    if first.samples is None or second.samples is None or not _paired(first, second):
        sample_variance = _unpaired(first) + _unpaired(second)
        return Difference(float(each.mean()), seeds, 0, seed_variance, sample_variance)
    by_seed = [two - one for one, two in zip(first.samples, second.samples, strict=True)]
    drawn = [np.mean(by_seed, axis=0)] if len(set(first.tests)) <= 1 else by_seed
    # Where seeds have test samples of their own, these overlap: they count as if all seeds had the
    # same.
    sample_variance = float(np.mean([_sample_variance(one) for one in drawn]))
    exact = _mcnemar(first.samples[0], second.samples[0]) if seeds == 1 else 0.0
    count = min(len(one) for one in by_seed)
    return Difference(float(each.mean()), seeds, count, seed_variance, sample_variance, exact)


def mean(side: Side, *, share: bool = False) -> Interval:
    """Mean over seeds; its 95 % interval contains the error by seeds and by test samples.

    With two seeds there is no interval (NaN ends), as two values say next to nothing of their
    spread. With one seed the interval is that of the test samples.

    Args:
        share: whether the values lie in [0, 1], where the interval then ends.
    """
    values = np.asarray(side.values, dtype=np.float64)
    value = float(values.mean())
    if 1 < len(values) < FEWEST_SEEDS:
        return Interval(value, math.nan, math.nan)
    seed_variance = float(values.var(ddof=1) / len(values)) if len(values) > 1 else math.nan
    half = Difference(value, len(values), 0, seed_variance, _unpaired(side)).half()
    low = value - half
    high = value + half
    if share and not math.isnan(half):
        low = max(0.0, low)
        high = min(1.0, high)
    return Interval(value, low, high)


def holm(p: Sequence[float], level: float = LEVEL) -> list[tuple[bool, float]]:
    """For each p whether it is sure, and the level that decided on it; the intervals at these
    levels agree with that.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    order = sorted(range(len(p)), key=lambda place: p[place])
    found: list[tuple[bool, float]] = [(False, level)] * len(p)
    failed = 0.0
    for rank, place in enumerate(order):
        own = failed or level / (len(p) - rank)
        if not failed and p[place] > own:
            failed = own
        found[place] = (not failed, own)
    return found


def seeds_needed(of: Difference, level: float = LEVEL) -> int | None:
    """The least number of seeds with which this difference would be sure if it and its spread
    stayed as they are.

    None where no number up to ``MOST_SEEDS`` would do, or nothing is known of the spread between
    seeds.
    """
    if math.isnan(of.seed_variance) or of.value == 0:
        return None
    spread = of.seed_variance * of.seeds
    for seeds in range(max(of.seeds + 1, FEWEST_SEEDS), MOST_SEEDS + 1):
        if Difference(of.value, seeds, of.count, spread / seeds, of.sample_variance).half(
            level
        ) < abs(of.value):
            return seeds
    return None


def standard_error(score: Score) -> float:
    """The standard error of a score by its interval; NaN where it has none."""
    if math.isnan(score.low) or math.isnan(score.high):
        return math.nan
    freedom = score.count - 1 if score.over != "test samples" and score.count > 1 else _NORMAL
    return (score.high - score.low) / 2 / _quantile(freedom, LEVEL)


def _paired(first: Side, second: Side) -> bool:
    """Whether both sides answered the same test samples, seed by seed."""
    if first.samples is None or second.samples is None or list(first.tests) != list(second.tests):
        return False
    counts = [len(one) for one in first.samples]
    same = len(set(first.tests)) > 1 or len(set(counts)) == 1
    return same and counts == [len(one) for one in second.samples] and min(counts) > 1


def _sample_variance(differences: NDArray[np.float64]) -> float:
    """Variance of the mean of the differences (N,) of the samples."""
    largest = float(np.square(differences).max(initial=0.0)) or 1.0
    spread = float(np.square(differences - differences.mean()).sum())
    return (spread + _PSEUDO * min(1.0, largest)) / len(differences) ** 2


def _unpaired(side: Side) -> float:
    """Variance of the mean by the test samples, which all seeds share."""
    if side.samples is not None and min(len(one) for one in side.samples) > 1:
        same = len(set(side.tests)) <= 1 and len({len(one) for one in side.samples}) == 1
        drawn = [np.mean(side.samples, axis=0)] if same else side.samples
        return float(
            np.mean([(one.var() * len(one) + 0.25 * _PSEUDO) / len(one) ** 2 for one in drawn])
        )
    errors = np.asarray(side.errors, dtype=np.float64)
    if not len(errors) or not np.isfinite(errors).all():
        return math.nan
    return float(np.square(errors).mean())


def _quantile(freedom: int, level: float) -> float:
    return float(-stdtrit(freedom, level / 2))


def _mcnemar(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Two-sided p of McNemar's exact test; 0 where the values are no right and wrong answers.

    Source: McNemar 1947, "Note on the sampling error of the difference between correlated
        proportions or percentages".
    """
    if not (np.isin(first, (0.0, 1.0)).all() and np.isin(second, (0.0, 1.0)).all()):
        return 0.0
    more = int((second > first).sum())
    less = int((first > second).sum())
    return min(1.0, 2 * float(bdtr(min(more, less), more + less, 0.5))) if more + less else 1.0
