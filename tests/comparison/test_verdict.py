"""Nothing is called sure too often, no sentence contradicts its test, and intervals hold both
errors.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest

from nearfar.comparison.differences import (
    LEVEL,
    Difference,
    Side,
    difference,
    holm,
    mean,
    seeds_needed,
)
from nearfar.comparison.verdict import Finding, findings, gained, sentence
from nearfar.evaluation.kernels.intervals import wilson

Answers = NDArray[np.float64]


def answers(
    random: np.random.Generator,
    seeds: int,
    count: int,
    *,
    skill: float,
    spread: float,
    noise: float,
    common: Answers,
) -> Answers:
    """Right and wrong answers (seeds, N): a probit of a common ease of each sample, a draw of each
    seed and noise.
    """
    of_seed = skill + spread * random.standard_normal((seeds, 1))
    return (of_seed + common + noise * random.standard_normal((seeds, count)) > 0).astype(
        np.float64
    )


def side(found: Answers) -> Side:
    return Side(found.mean(axis=1).tolist(), list(found))


def family(
    random: np.random.Generator, seeds: int, count: int, spread: float, arms: int, gain: float = 0
) -> list[Finding]:
    """Findings by two metrics of every arm beside the first."""
    compared = []
    for metric in ("kNN accuracy", "linear accuracy"):
        common = random.standard_normal(count)
        sides = []
        for arm in range(arms):
            own = common + 0.5 * random.standard_normal(count)
            skill = 0.5 + (gain if arm else 0)
            sides.append(
                side(
                    answers(random, seeds, count, skill=skill, spread=spread, noise=0.5, common=own)
                )
            )
        compared += [(metric, "%", difference(sides[0], other)) for other in sides[1:]]
    return findings(compared)


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize(("count", "repeats"), [(200, 500), (2000, 250), (10_000, 60)])
@pytest.mark.parametrize("spread", [0.0, 0.1])
def test_without_a_difference_methods_are_seldom_called_apart(
    seeds: int, count: int, repeats: int, spread: float
) -> None:
    random = np.random.default_rng(seeds * count)
    wrong = sum(
        any(f.sure for f in family(random, seeds, count, spread, arms=3)) for _ in range(repeats)
    )
    # At the promised share of errors more than this many would be seen once in a thousand
    # simulations.
    assert binomtest(wrong, repeats, LEVEL, alternative="greater").pvalue > 1e-3


@pytest.mark.parametrize(("count", "repeats"), [(200, 800), (2000, 300), (10_000, 60)])
def test_without_a_difference_two_encoders_are_seldom_called_apart(
    count: int, repeats: int
) -> None:
    random = np.random.default_rng(count)
    wrong = sum(any(f.sure for f in family(random, 1, count, 0.0, arms=3)) for _ in range(repeats))
    assert binomtest(wrong, repeats, LEVEL, alternative="greater").pvalue > 1e-3


def test_a_clear_gain_is_sure_with_three_seeds() -> None:
    random = np.random.default_rng(0)
    found = [family(random, 3, 1000, 0.02, arms=2, gain=0.6) for _ in range(50)]
    assert np.mean([all(f.state == "better" for f in one) for one in found]) > 0.9


def test_few_answers_that_differ_are_judged_exactly() -> None:
    first = np.zeros((1, 200))
    second = np.zeros((1, 200))
    for more in range(1, 12):
        second[0, :more] = 1
        found = difference(side(first), side(second))
        assert found.exact == pytest.approx(binomtest(0, more, 0.5).pvalue)
        assert found.p() >= found.exact
        assert (found.interval().low > 0) == (found.p() <= LEVEL)


def test_pairing_sees_what_overlapping_intervals_hide() -> None:
    random = np.random.default_rng(1)
    first = (random.random((1, 1000)) < 0.5).astype(np.float64)
    second = first.copy()
    second[0, np.flatnonzero(first[0] == 0)[:30]] = 1
    assert wilson(float(second.mean()), 1000).low < wilson(float(first.mean()), 1000).high
    assert difference(side(first), side(second)).p() < 1e-6
    alone = difference(
        Side([float(first.mean())], errors=[0.0158]), Side([float(second.mean())], errors=[0.0158])
    )
    assert alone.p() > 0.1


def test_seeds_with_test_samples_of_their_own_are_paired_within_the_seed() -> None:
    random = np.random.default_rng(4)
    first = [(random.random(count) < 0.5).astype(np.float64) for count in (300, 310, 290)]
    second = [one.copy() for one in first]
    for number, one in enumerate(second):
        one[np.flatnonzero(one == 0)[: 40 + number]] = 1
    values = [[float(one.mean()) for one in of] for of in (first, second)]
    found = difference(
        Side(values[0], first, ["a", "b", "c"]), Side(values[1], second, ["a", "b", "c"])
    )
    assert found.count == 290
    assert found.p() < LEVEL / 4
    other = difference(
        Side(values[0], first, ["a", "b", "c"]), Side(values[1], second, ["a", "b", "d"])
    )
    assert other.count == 0
    assert other.sample_variance > 2 * found.sample_variance


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_test_samples_drawn_by_the_seed_make_no_verdict_too_sure(seeds: int) -> None:
    random = np.random.default_rng(seeds)
    wrong = 0
    repeats = 400
    for _ in range(repeats):
        ease = random.standard_normal(1000)
        arms: list[list[Answers]] = [[], []]
        own = [ease + 0.5 * random.standard_normal(1000) for _ in arms]
        for _ in range(seeds):
            rows = random.permutation(1000)[:200]
            for arm, common in zip(arms, own, strict=True):
                arm.append(
                    answers(random, 1, 200, skill=0.5, spread=0.05, noise=0.5, common=common[rows])[
                        0
                    ]
                )
        tests = [str(seed) for seed in range(seeds)]
        sides = [Side([float(one.mean()) for one in arm], arm, tests) for arm in arms]
        wrong += difference(*sides).p() <= LEVEL
    assert binomtest(wrong, repeats, LEVEL, alternative="greater").pvalue > 1e-3


def test_the_interval_of_a_mean_holds_both_errors() -> None:
    random = np.random.default_rng(2)
    same = np.tile((random.random(500) < 0.39).astype(np.float64), (3, 1))
    found = mean(side(same), share=True)  # the seeds agree, so only the samples' error is left
    assert found.high - found.low == pytest.approx(
        wilson(float(same.mean()), 500).high - wilson(float(same.mean()), 500).low, rel=0.05
    )
    wide = mean(Side([0.35, 0.39, 0.43], errors=[0.02] * 3), share=True)
    seeds_only = mean(Side([0.35, 0.39, 0.43], errors=[0.0] * 3), share=True)
    assert wide.low < seeds_only.low
    assert wide.high > seeds_only.high
    assert mean(Side([0.02, 0.5, 0.9], errors=[0.02] * 3), share=True)[1:] == (0.0, 1.0)
    assert math.isnan(mean(Side([0.33, 0.43], errors=[0.02] * 2)).low)
    one = mean(Side([0.4], errors=[0.02]))
    assert one.high - one.low == pytest.approx(2 * 1.96 * 0.02, rel=1e-3)


@pytest.mark.parametrize(
    "p", [[0.001, 0.02, 0.04], [0.01, 0.04, 0.03], [0.2, 0.5], [0.04], [0.0001, 0.0001, 0.9]]
)
def test_holm_steps_down(p: list[float]) -> None:
    order = sorted(p)
    expected = []
    for value in p:
        rank = order.index(value)
        expected.append(all(order[i] <= LEVEL / (len(p) - i) for i in range(rank + 1)))
    found = holm(p)
    assert [sure for sure, _ in found] == expected
    assert all((value <= level) == sure for value, (sure, level) in zip(p, found, strict=True))


def test_seeds_needed_are_enough_and_no_fewer() -> None:
    found = Difference(0.02, 3, 1000, 0.01**2, 0.004**2)
    assert found.p() > LEVEL
    needed = seeds_needed(found)
    assert needed is not None
    assert Difference(0.02, needed, 1000, 3 * 0.01**2 / needed, 0.004**2).p() <= LEVEL
    assert Difference(0.02, needed - 1, 1000, 3 * 0.01**2 / (needed - 1), 0.004**2).p() > LEVEL
    assert seeds_needed(Difference(0.002, 3, 100, 0.001**2, 0.03**2)) is None


CASES = {
    "sure gain": ([0.50, 0.51, 0.52], [0.60, 0.612, 0.62], 0.005),
    "sure loss": ([0.60, 0.612, 0.62], [0.50, 0.51, 0.52], 0.005),
    "unsure by seeds": ([0.50, 0.40, 0.60], [0.60, 0.50, 0.51], 0.005),
    "unsure by samples": ([0.50, 0.501, 0.502], [0.51, 0.511, 0.512], 0.04),
    "level": ([0.5, 0.6, 0.7], [0.5, 0.6, 0.7], 0.01),
    "two seeds": ([0.50, 0.51], [0.60, 0.62], 0.01),
    "two seeds, sure": ([0.50, 0.51], [0.60, 0.6101], 0.001),
    "one seed, sure": ([0.50], [0.60], 0.01),
    "one seed, unsure": ([0.50], [0.51], 0.02),
    "old runs": ([0.50, 0.51, 0.52], [0.60, 0.612, 0.62], math.nan),
}


@pytest.mark.parametrize(("one", "other"), list(itertools.product(CASES, CASES)))
def test_no_sentence_contradicts_its_test(one: str, other: str) -> None:
    compared = []
    for metric, case in (("kNN accuracy", one), ("linear accuracy", other)):
        first, second, error = CASES[case]
        compared.append(
            (
                metric,
                "%",
                difference(
                    Side(first, errors=[error] * len(first)),
                    Side(second, errors=[error] * len(second)),
                ),
            )
        )
    if compared[0][2].seeds != compared[1][2].seeds:
        return
    found = findings(compared)
    text = sentence("simclr", "simclr temperature=0.1", found)
    p = sorted(f.of.p() for f in found)
    assert any(f.sure for f in found) == (p[0] <= LEVEL / 2)
    for f in found:
        assert f.sure == (f.interval.low > 0 or f.interval.high < 0)
        where = text.index(f.metric)
        said = {
            "better": text.rfind("is better than", 0, where),
            "worse": text.rfind("is worse than", 0, where),
        }
        open_at = max(
            text.rfind(words, 0, where) for words in ("cannot be told from", "the difference of")
        )
        nearest = max({**said, "unsure": open_at}.items(), key=lambda item: item[1])[0]
        assert nearest == f.state
    if found[0].of.seeds == 1:
        assert text.startswith(
            "simclr temperature=0.1 and simclr cannot be compared with one seed, at least 3 are "
            "needed; "
        )
        assert "the encoder of simclr temperature=0.1" in text
    assert ("is not known" in text) == (
        found[0].of.seeds > 1 and any(math.isnan(f.of.sample_variance) for f in found)
    )
    assert ("would be needed" in text or "would not make" in text) == (
        found[0].of.seeds > 1 and not all(f.sure for f in found)
    )
    assert "nan" not in text


@pytest.mark.parametrize(("knn", "linear"), list(itertools.product(CASES, CASES)))
def test_no_sentence_about_baselines_contradicts_its_test(knn: str, linear: str) -> None:
    if len(CASES[knn][0]) != len(CASES[linear][0]):
        return
    compared = []
    for metric, case in (("kNN accuracy", knn), ("linear accuracy", linear)):
        baseline, trained, error = CASES[case]
        for shift in (0.0, 0.001):
            sides = [
                Side([value - of for value in values], errors=[error] * len(values))
                for values, of in ((baseline, shift), (trained, 0.0))
            ]
            compared.append((metric, "%", difference(*sides)))
    gains = list(zip(["raw input", "random encoder"] * 2, findings(compared), strict=True))
    text = gained("simclr", gains)
    states = {
        metric: [one.state for _, one in gains if one.metric == metric]
        for metric in ("kNN accuracy", "linear accuracy")
    }
    good = [metric for metric, of in states.items() if set(of) == {"better"}]
    start, _, but = text.partition(", but not than")
    assert ("surely better than" in start and "not surely better" not in start) == bool(good)
    for metric in states:
        assert (metric in start and "not surely better" not in start and good != []) == (
            metric in good
        )
    if len(good) == 2:
        assert not but
        assert text == (
            f"{'the encoder of ' if len(CASES[knn][0]) == 1 else ''}simclr is surely better than "
            "the raw input and the random encoder by kNN accuracy and linear accuracy."
        )
    lowest = {
        metric: min((one for _, one in gains if one.metric == metric), key=lambda f: f.of.value)
        for metric in states
        if metric not in good
    }
    assert ("nothing useful" in text) == (
        not good and all(one.state == "worse" for one in lowest.values())
    )
    if not good:
        assert ("is worse than" in text) == any(one.state == "worse" for one in lowest.values())
        for metric, one in lowest.items():
            where = text.index(metric)
            worse = text.rfind("worse than", 0, where)
            open_at = text.rfind("not surely better than", 0, where)
            assert (worse > open_at) == (one.state == "worse")
    assert "nan" not in text


@pytest.mark.parametrize(("better", "state"), [("higher", "worse"), ("lower", "better")])
def test_the_better_end_of_a_metric_decides_who_wins(better: str, state: str) -> None:
    less = Difference(-0.3, seeds=5, count=0, seed_variance=1e-6, sample_variance=1e-6)
    (found,) = findings([("error", "", less)], {"error": better})
    assert found.state == state
    assert found.gain == pytest.approx(0.3 if better == "lower" else -0.3)
    told = sentence("first", "second", [found])
    assert told.startswith(f"second is {state} than first by 0.300 error")
