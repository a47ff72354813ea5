"""Intervals against scipy."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from nearfar.errors import UserError
from nearfar.evaluation.kernels.intervals import mean_interval, paired_difference, wilson


@pytest.mark.parametrize("values", [[0.1, 0.2, 0.15], [3.0, 1.0], [5.0, 5.5, 4.0, 7.0, 6.5, 5.1]])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_mean_interval_is_the_t_interval(values: list[float], confidence: float) -> None:
    low, high = stats.t.interval(
        confidence, len(values) - 1, loc=sum(values) / len(values), scale=stats.sem(values)
    )
    assert mean_interval(values, confidence=confidence) == pytest.approx(
        (sum(values) / len(values), low, high), rel=1e-9
    )


def test_one_value_has_no_interval_and_equal_values_have_none_to_speak_of() -> None:
    value, low, high = mean_interval([0.5])
    assert value == 0.5
    assert math.isnan(low)
    assert math.isnan(high)
    assert mean_interval([0.25, 0.25]) == (0.25, 0.25, 0.25)


@pytest.mark.parametrize(("successes", "count"), [(0, 10), (10, 10), (3, 10), (450, 500), (1, 1)])
def test_wilson_is_that_of_scipy(successes: int, count: int) -> None:
    expected = stats.binomtest(successes, count).proportion_ci(method="wilson")
    assert wilson(successes / count, count) == pytest.approx(
        (successes / count, expected.low, expected.high), abs=1e-12
    )


def test_paired_difference_is_second_minus_first() -> None:
    first = [0.5, 0.6, 0.4]
    second = [0.55, 0.66, 0.43]
    expected = stats.ttest_rel(second, first).confidence_interval()
    found = paired_difference(first, second)
    assert found.value == pytest.approx(0.14 / 3)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_wilson_covers_the_truth_as_often_as_it_says() -> None:
    share = 0.8
    count = 60
    covered = 0.0
    for successes in range(count + 1):
        interval = wilson(successes / count, count)
        if interval.low <= share <= interval.high:
            covered += float(stats.binom.pmf(successes, count, share))
    assert covered == pytest.approx(0.95, abs=0.02)


def test_errors() -> None:
    with pytest.raises(UserError, match="no values to average"):
        mean_interval([])
    with pytest.raises(UserError, match="lengths 1 and 2; expected the same seeds for both"):
        paired_difference([1.0], [1.0, 2.0])
    for share, count in ((1.2, 10), (-0.1, 10), (0.5, 0)):
        with pytest.raises(UserError, match="No interval for a share"):
            wilson(share, count)
