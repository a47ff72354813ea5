"""Arms from a grid, paired differences, sentences that say no more than the numbers, and one
parquet for all.
"""

from __future__ import annotations

import dataclasses
import io
import math
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from nearfar.comparison import Comparison, Entry
from nearfar.comparison.arms import Arm, arms_of
from nearfar.comparison.budgets import Spent
from nearfar.comparison.options import CompareOptions
from nearfar.errors import UserError
from nearfar.evaluation.answers import Answers
from nearfar.evaluation.kernels.intervals import wilson
from nearfar.evaluation.result import Evaluation, Score
from nearfar.reports.comparison_page import _lead
from nearfar.reports.health import gain
from nearfar.reports.terminal import verdict_line


def entry(arm: str, seed: int, knn: float, baseline: float = 0.3, **settings: object) -> Entry:
    scores = (
        Score("trained", "knn-v1", "kNN accuracy", knn, unit="%"),
        Score("random encoder", "knn-v1", "kNN accuracy", baseline, unit="%"),
        Score("trained", "geometry-v1", "effective rank", 12.5),
    )
    return Entry(
        arm,
        arm.split()[0],
        dict(settings),
        seed,
        Path(arm) / str(seed),
        Evaluation("toys", scores),
        1000.0 + seed,
        512.0,
        60.0,
    )


def comparison(**values: list[float]) -> Comparison:
    return Comparison(
        "toys",
        "5 epochs each",
        tuple(entry(arm, seed, v) for arm, of in values.items() for seed, v in enumerate(of)),
    )


def test_the_verdict_says_better_worse_or_neither() -> None:
    found = comparison(
        simclr=[0.50, 0.52, 0.54],
        dcl=[0.60, 0.62, 0.641],
        vicreg=[0.40, 0.42, 0.441],
        byol=[0.45, 0.60, 0.54],
    )
    better, worse, neither, *_ = found.verdicts()
    assert better.startswith("dcl is better than simclr by 10.0 points kNN accuracy (")
    assert worse.startswith("vicreg is worse than simclr by 10.0 points kNN accuracy (")
    assert neither.startswith(
        "byol cannot be told from simclr with 3 seeds (+1.0 points kNN accuracy ("
    )
    assert found.best() is None  # dcl is not surely better than byol


def test_the_best_is_named_only_where_it_is_sure() -> None:
    assert comparison(simclr=[0.50, 0.52, 0.54], dcl=[0.60, 0.62, 0.641]).best() == "dcl"
    assert comparison(dcl=[0.60, 0.62, 0.641], simclr=[0.50, 0.52, 0.54]).best() == "dcl"
    assert comparison(simclr=[0.50, 0.52, 0.54], dcl=[0.50, 0.62, 0.641]).best() is None
    assert comparison(simclr=[0.50], dcl=[0.60]).best() is None


def test_one_seed_speaks_of_encoders_and_a_method_below_its_baseline_is_named() -> None:
    found = judged([answered(0.5)], [answered(0.25)])
    beside, *warnings = found.verdicts()
    start = (
        "dcl and simclr cannot be compared with one seed, at least 3 are needed; of these two "
        "runs alone: "
    )
    assert beside.startswith(
        f"{start}the encoder of dcl is worse than the encoder of simclr by 25.0 points kNN "
        "accuracy ("
    )
    (warning,) = warnings
    assert warning.startswith(
        "the encoder of dcl is worse than the random encoder (-10.0 points kNN accuracy ("
    )
    assert warning.endswith("it has learned nothing useful here in this budget.")


def test_one_seed_of_methods_that_predict_speaks_of_predictions() -> None:
    def predicted(share: float) -> Evaluation:
        right = np.arange(200) < 200 * share
        rows = {"trained": right, "commonest class": np.arange(200) < 20}
        scores = tuple(
            Score(row, "accuracy-v1", "accuracy", float(one.mean()), unit="%")
            for row, one in rows.items()
        )
        answers = Answers(
            "t", {("accuracy", row): one.astype(np.float32) for row, one in rows.items()}
        )
        return Evaluation("toys", scores, answers=answers)

    beside, *alone = judged([predicted(0.5)], [predicted(0.9)]).verdicts()
    assert "the predictions of dcl are better than the predictions of simclr by" in beside
    (weak,) = judged([predicted(0.5)], [predicted(0.05)]).verdicts()[1:]
    assert weak.startswith("the predictions of dcl are ")
    assert weak.endswith("dcl has learned nothing useful here in this budget.")
    assert not alone
    assert verdict_line("dcl", predicted(0.9)).startswith("the predictions of dcl are surely")
    assert "the predictions are" in gain(predicted(0.9)).text()


def test_unequal_budgets_are_told_beside_the_verdict() -> None:
    found = comparison(simclr=[0.50, 0.52, 0.54], dcl=[0.60, 0.62, 0.641])

    def given(dcl: Spent) -> str:
        entries = [
            dataclasses.replace(one, spent=dcl if one.arm == "dcl" else Spent(100, 12800))
            for one in found.entries
        ]
        return Comparison("toys", "5 epochs each", tuple(entries)).verdicts()[0]

    assert "budgets" not in given(Spent(100, 12800))
    assert given(Spent(300, 25600, before=100)).endswith(
        " Their budgets differ: simclr had 100 steps on 12,800 samples, dcl 300 steps (100 of "
        "them by what it starts from) on 25,600 samples."
    )


def test_an_undefined_score_is_called_so_and_nothing_is_concluded() -> None:
    found = comparison(simclr=[0.50, 0.52, 0.54], dcl=[math.nan, 0.62, 0.64])
    said = found.verdicts()[0]
    assert said.startswith("dcl cannot be told from simclr")
    assert "undefined" in said
    assert "nan" not in said
    assert "seeds would" not in said
    console = Console(width=100, file=io.StringIO())
    console.print(found.table())
    assert "undefined" in console.file.getvalue()
    assert "nan" not in console.file.getvalue()


def answered(
    knn: float, linear: float | None = None, baseline: float = 0.35, count: int = 1000
) -> Evaluation:
    """An evaluation with the answers of each sample; where one encoder is right, a worse one may be
    right as well.
    """
    values = {}
    scores = []
    for metric, one in (("kNN accuracy", knn), ("linear accuracy", linear)):
        for row, share in (("trained", one), ("random encoder", baseline)):
            if share is None or one is None:
                continue
            right = (np.arange(count) * 0.61803 % 1 < share).astype(np.float32)
            values[metric, row] = right
            low, high = wilson(float(right.mean()), count)[1:]
            scores.append(
                Score(
                    row,
                    "knn-v1",
                    metric,
                    float(right.mean()),
                    low,
                    high,
                    "test samples",
                    count,
                    "%",
                )
            )
    return Evaluation("toys", tuple(scores), answers=Answers("t", values))


def judged(*arms: list[Evaluation]) -> Comparison:
    entries = [
        Entry(name, name, {}, seed, Path(name), found, 1.0, 1.0, 1.0)
        for name, of in zip(("simclr", "dcl", "byol"), arms, strict=False)
        for seed, found in enumerate(of)
    ]
    return Comparison("toys", "5 epochs each", tuple(entries))


def test_samples_are_paired_where_they_were_kept_and_old_runs_still_compare() -> None:
    arms = [
        [answered(0.50), answered(0.502), answered(0.504)],
        [answered(0.53), answered(0.532), answered(0.534)],
    ]
    found = judged(*arms)
    assert found.findings["dcl"][0].of.count == 1000
    assert found.verdicts()[0].startswith("dcl is better than simclr by 3.0 points kNN accuracy (")
    old = judged(*[[dataclasses.replace(e, answers=Answers()) for e in of] for of in arms])
    assert old.findings["dcl"][0].of.count == 0
    assert "cannot be told from" in old.verdicts()[0]  # by their intervals alone they overlap
    other = dataclasses.replace(arms[0][0], answers=Answers("u", arms[0][0].answers.values))
    assert judged([other, *arms[0][1:]], arms[1]).findings["dcl"][0].of.count == 0


def test_a_sure_linear_gain_never_stands_beside_nothing_learned() -> None:
    found = judged(
        [answered(0.30, linear=0.50), answered(0.302, linear=0.502), answered(0.304, linear=0.504)]
    )
    (told,) = found.verdicts()
    assert "nothing useful" not in told
    assert told.startswith(
        "simclr is surely better than the baselines by linear accuracy, but not than the random "
        "encoder (-"
    )
    low = judged(
        [answered(0.30, linear=0.30), answered(0.302, linear=0.302), answered(0.304, linear=0.304)]
    )
    assert low.verdicts()[0].endswith("it has learned nothing useful here in this budget.")
    level = judged(
        [answered(0.30, linear=0.352), answered(0.302, linear=0.35), answered(0.304, linear=0.349)]
    )
    assert level.verdicts()[0].endswith("that it has learned anything useful is not shown.")


@pytest.mark.parametrize("seeds", [1, 2, 3])
@pytest.mark.parametrize("gain", [0.0, 0.01, 0.2])
def test_page_and_terminal_name_a_best_only_where_it_is_sure(seeds: int, gain: float) -> None:
    spread = [0.0, 0.003, 0.005][:seeds]
    found = judged([answered(0.5 + s) for s in spread], [answered(0.5 + gain - s) for s in spread])
    console = Console(width=300, record=True, file=io.StringIO())
    console.print(found.table(pairs=True))
    text = console.export_text()
    page = _lead(found)
    sure = seeds > 1 and found.findings["dcl"][0].sure
    assert sure == (seeds > 1 and gain == 0.2)
    assert ("Best by kNN accuracy: dcl" in text) == ("Best by kNN accuracy: dcl" in page) == sure
    assert ("No method is surely the best" in page) == (not sure)
    for sentence in found.verdicts():
        assert sentence in text
        assert sentence in page
    assert "Every pair, corrected for the number of pairs:" in text


def test_every_pair_is_told_on_request() -> None:
    arms = [[answered(v), answered(v + 0.002), answered(v + 0.004)] for v in (0.5, 0.53, 0.6)]
    found = judged(*arms)
    assert [text.partition(" by ")[0] for text in found.verdicts_of_pairs()] == [
        "dcl is better than simclr",
        "byol is better than simclr",
        "byol is better than dcl",
    ]
    assert found.best() == "byol"


@pytest.mark.parametrize(
    ("seeds", "shown", "told"),
    [
        (1, r"50\.0 ± 3\.1", "interval by the test samples alone"),
        (2, r"50\.0, 50\.3", "one value for each seed"),
        (3, r"50\.3 ± 3\.", "interval by seeds and test samples together"),
    ],
)
def test_the_table_shows_intervals_that_hold_both_errors(seeds: int, shown: str, told: str) -> None:
    found = judged(*[[answered(v + 0.003 * seed) for seed in range(seeds)] for v in (0.5, 0.6)])
    console = Console(width=300, record=True, file=io.StringIO())
    console.print(found.table())
    text = console.export_text()
    assert re.search(shown, text), text
    assert told in text


def test_differences_are_paired_by_seed() -> None:
    found = comparison(simclr=[0.1, 0.5, 0.9], dcl=[0.11, 0.51, 0.91])
    difference = found.difference("dcl", "effective rank")
    assert difference.value == 0
    difference = found.difference("dcl", "kNN accuracy")
    assert difference.value == pytest.approx(0.01)
    assert difference.high - difference.low < 1e-9


def test_the_table_and_the_parquet_hold_everything(tmp_path: Path) -> None:
    arms = ("simclr temperature=0.1", "simclr temperature=0.2")
    entries = tuple(
        entry(arm, seed, 0.5 + seed / 10, temperature=float(arm[-3:]))
        for arm in arms
        for seed in (0, 1)
    )
    found = Comparison(
        "toys", "5 epochs each", (*entries, *(entry("vicreg", seed, 0.4) for seed in (0, 1)))
    )
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(found.table())
    text = console.export_text()
    assert "simclr temperature=0.2" in text
    assert "random encoder" in text
    assert "50.0, 60.0" in text
    found.write_parquet(tmp_path / "r.parquet")
    rows = pq.read_table(tmp_path / "r.parquet").to_pylist()
    assert len(rows) == 6 * 3
    assert {row["settings.temperature"] for row in rows} == {0.1, 0.2, None}
    assert {row["row"] for row in rows} == {"trained", "random encoder"}


def test_a_grid_runs_each_method_with_the_settings_it_has() -> None:
    arms = arms_of(["simclr", "byol"], {"temperature": ["0.1", "0.2"], "hidden": [64]})
    assert [arm.name for arm in arms] == [
        "simclr temperature=0.1 hidden=64",
        "simclr temperature=0.2 hidden=64",
        "byol hidden=64",
    ]
    assert arms[0].settings == {"temperature": 0.1, "hidden": 64}
    assert arms_of(["simclr"], {}) == [Arm("simclr")]


@pytest.mark.parametrize(
    ("methods", "grid", "sentence"),
    [
        ([], {}, "No method was named"),
        (["simclr", "simclr"], {}, "simclr is named twice"),
        (["simclrr"], {}, "did you mean simclr"),
        (["simclr"], {"temprature": ["1"]}, "did you mean temperature"),
        (
            ["simclr"],
            {"temperature": ["warm"]},
            "Setting temperature is 'warm', a str; expected a number above 0",
        ),
    ],
)
def test_wrong_arms_get_one_sentence(
    methods: list[str], grid: dict[str, list[str]], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        arms_of(methods, grid)


def test_two_budgets_are_refused() -> None:
    with pytest.raises(UserError, match="Options epochs and seconds were both given"):
        CompareOptions(epochs=3, seconds=10.0)
    with pytest.raises(UserError, match="seeds is 0"):
        CompareOptions(seeds=0)
