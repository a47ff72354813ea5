"""Arms from a grid, paired differences, sentences that say no more than the numbers, and one parquet for all."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from nearfar.comparison import Comparison, Entry
from nearfar.comparison.arms import Arm, arms_of
from nearfar.comparison.options import CompareOptions
from nearfar.errors import UserError
from nearfar.evaluation.result import Evaluation, Score


def entry(arm: str, seed: int, knn: float, baseline: float = 0.3, **settings: object) -> Entry:
    scores = (
        Score("trained", "knn-v1", "kNN accuracy", knn, unit="%"),
        Score("random encoder", "knn-v1", "kNN accuracy", baseline, unit="%"),
        Score("trained", "geometry-v1", "effective rank", 12.5),
    )
    return Entry(arm, arm.split()[0], dict(settings), seed, Path(arm) / str(seed), Evaluation("toys", scores), 1000.0 + seed, 512.0, 60.0)


def comparison(**values: list[float]) -> Comparison:
    return Comparison("toys", "5 epochs each", tuple(entry(arm, seed, v) for arm, of in values.items() for seed, v in enumerate(of)))


def test_the_verdict_says_better_worse_or_neither() -> None:
    found = comparison(simclr=[0.50, 0.52, 0.54], dcl=[0.56, 0.575, 0.60], vicreg=[0.40, 0.425, 0.44], byol=[0.45, 0.60, 0.54])
    better, worse, neither = found.verdicts()
    assert better.startswith("dcl is better than simclr by 5.8 ± ")
    assert better.endswith(" points kNN accuracy.")
    assert worse.startswith("vicreg is worse than simclr by 9.8 ± ")
    assert neither.startswith("byol cannot be told from simclr with 3 seeds (1.0 ± ")


def test_one_seed_allows_no_verdict_and_a_method_below_its_baseline_is_named() -> None:
    found = comparison(simclr=[0.50], dcl=[0.25])
    assert found.verdicts() == [
        "dcl and simclr cannot be compared with one seed (-25.0 points kNN accuracy).",
        "dcl is no better than the random encoder by kNN accuracy: it has learned nothing useful here in this budget.",
    ]


def test_differences_are_paired_by_seed() -> None:
    found = comparison(simclr=[0.1, 0.5, 0.9], dcl=[0.11, 0.51, 0.91])
    difference = found.difference("dcl", "kNN accuracy")
    assert difference.value == pytest.approx(0.01)
    assert difference.high - difference.low < 1e-9


def test_the_table_and_the_parquet_hold_everything(tmp_path: Path) -> None:
    arms = ("simclr temperature=0.1", "simclr temperature=0.2")
    entries = tuple(entry(arm, seed, 0.5 + seed / 10, temperature=float(arm[-3:])) for arm in arms for seed in (0, 1))
    found = Comparison("toys", "5 epochs each", (*entries, *(entry("vicreg", seed, 0.4) for seed in (0, 1))))
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(found.table())
    text = console.export_text()
    assert "simclr temperature=0.2" in text
    assert "random encoder" in text
    assert "55.0 ± " in text
    found.write_parquet(tmp_path / "r.parquet")
    rows = pq.read_table(tmp_path / "r.parquet").to_pylist()
    assert len(rows) == 6 * 3
    assert {row["settings.temperature"] for row in rows} == {0.1, 0.2, None}
    assert {row["row"] for row in rows} == {"trained", "random encoder"}


def test_a_grid_runs_each_method_with_the_settings_it_has() -> None:
    arms = arms_of(["simclr", "byol"], {"temperature": ["0.1", "0.2"], "hidden": [64]})
    assert [arm.name for arm in arms] == ["simclr temperature=0.1 hidden=64", "simclr temperature=0.2 hidden=64", "byol hidden=64"]
    assert arms[0].settings == {"temperature": 0.1, "hidden": 64}
    assert arms_of(["simclr"], {}) == [Arm("simclr")]


@pytest.mark.parametrize(
    ("methods", "grid", "sentence"),
    [
        ([], {}, "No method was named"),
        (["simclr", "simclr"], {}, "simclr is named twice"),
        (["simclrr"], {}, "did you mean simclr"),
        (["simclr"], {"temprature": ["1"]}, "did you mean temperature"),
        (["simclr"], {"temperature": ["warm"]}, "Setting temperature is 'warm', a str; expected a number above 0"),
    ],
)
def test_wrong_arms_get_one_sentence(methods: list[str], grid: dict[str, list[str]], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        arms_of(methods, grid)


def test_two_budgets_are_refused() -> None:
    with pytest.raises(UserError, match="Options epochs and seconds were both given"):
        CompareOptions(epochs=3, seconds=10.0)
    with pytest.raises(UserError, match="seeds is 0"):
        CompareOptions(seeds=0)
