"""The first lines after a run say what its paired test says, and the next command can be typed."""

from __future__ import annotations

import io
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import nearfar
from nearfar import cli
from nearfar.comparison import Comparison, Entry
from nearfar.data.spec import Spec
from nearfar.evaluation.answers import Answers
from nearfar.evaluation.kernels.intervals import wilson
from nearfar.evaluation.result import Evaluation, Score
from nearfar.options import Config, PretrainOptions
from nearfar.reports.health import gain, gains
from nearfar.reports.page import lead
from nearfar.reports.terminal import first_lines, judged_lines, result_line, verdict_line
from nearfar.verbs.next_steps.next_command import is_still_learning, next_command
from nearfar.verbs.run import Run

COUNT = 500


def evaluation(**shares: tuple[float, float, float]) -> Evaluation:
    """Right and wrong answers of trained, random and raw; what a worse one gets right, a better one
    mostly gets right.
    """
    values = {}
    scores = []
    for name, of in shares.items():
        metric = f"{name} accuracy"
        for row, share in zip(("trained", "random encoder", "raw input"), of, strict=True):
            right = (np.arange(COUNT) * 0.61803 % 1 < share).astype(np.float32)
            values[metric, row] = right
            mean, low, high = wilson(float(right.mean()), COUNT)
            scores.append(Score(row, "p", metric, mean, low, high, "test samples", COUNT, "%"))
    return Evaluation("toys", tuple(scores), answers=Answers("t", values))


CASES = {
    "sure gain": evaluation(kNN=(0.9, 0.5, 0.6), linear=(0.95, 0.7, 0.6)),
    "sure loss": evaluation(kNN=(0.3, 0.5, 0.6), linear=(0.35, 0.7, 0.6)),
    "level": evaluation(kNN=(0.5, 0.5, 0.5), linear=(0.6, 0.6, 0.6)),
    "gain by one": evaluation(kNN=(0.5, 0.5, 0.6), linear=(0.9, 0.7, 0.6)),
    "gain over one": evaluation(kNN=(0.55, 0.5, 0.7), linear=(0.8, 0.7, 0.9)),
    "gain and loss": evaluation(kNN=(0.3, 0.5, 0.6), linear=(0.9, 0.7, 0.6)),
    "kNN alone": evaluation(kNN=(0.9, 0.5, 0.6)),
}


@pytest.mark.parametrize("case", CASES)
def test_the_verdict_says_what_the_paired_test_says(case: str) -> None:
    found = CASES[case]
    told = verdict_line("simclr", found)
    states: dict[str, set[str]] = {}
    for _, one in gains(found):
        states.setdefault(one.metric, set()).add(one.state)
    good = [metric for metric, of in states.items() if of == {"better"}]
    assert ("simclr is surely better than" in told) == bool(good), told
    assert ("but not than" in told) == (0 < len(good) < len(states))
    if len(good) == len(states):
        assert "not surely" not in told
    assert "Of simclr with another seed this says nothing." in told
    page = lead(found)
    better = gain(found)
    assert better is not None
    assert (better.state == "good") == ('class="good"' in page)
    if better.state == "good":
        assert "surely better" in told


def test_the_result_names_every_row_and_judges_nothing() -> None:
    found = CASES["sure gain"]
    told = result_line(found)
    shown = [f"{100 * score.value:.1f} %" for score in found.scores]
    assert told == (
        f"kNN accuracy {shown[0]} beside {shown[1]} of the random encoder and {shown[2]} of the "
        f"raw input; linear accuracy {shown[3]} beside {shown[4]} of the random encoder and "
        f"{shown[5]} of the raw input"
    )
    assert not {"better", "worse", "sure", "learned"} & set(told.split())


def test_without_labels_there_is_no_verdict() -> None:
    found = Evaluation("toys", (Score("trained", "geometry-v2", "effective rank", 3.0),))
    assert verdict_line("simclr", found).startswith("no verdict: without labels")
    assert result_line(found) == "no metric was measured that has a baseline"


def test_values_and_pairs_have_their_lines() -> None:
    rows = {"trained": 0.8, "random encoder": 0.5}
    scores = [
        Score(row, "ridge-v2", "R2", value, value - 0.02, value + 0.02, "test samples", 100)
        for row, value in rows.items()
    ]
    found = Evaluation("toys", tuple(scores))
    assert result_line(found) == "R2 0.800 beside 0.500 of the random encoder"
    assert "surely better than the random encoder by R2." in verdict_line("simclr", found)


def test_three_lines_come_first() -> None:
    lines = first_lines("simclr", CASES["sure gain"], "nearfar report run")
    assert [label for label, _ in lines] == ["result", "verdict", "next"]


class Simulated(Run):
    """A run with a configuration and metrics of its own."""

    def __init__(self, folder: Path, config: Config, rows: list[dict[str, Any]]) -> None:
        (folder / "config.toml").write_text(config.to_toml())
        super().__init__(folder)
        self.rows = rows

    def metrics(self) -> list[dict[str, Any]]:
        return self.rows


RISING = [{"step": n, "knn": 0.1 * n} for n in range(1, 9)]
LEVEL = [{"step": n, "knn": 0.5} for n in range(1, 9)]


@pytest.mark.parametrize("case", [*CASES, "no labels"])
@pytest.mark.parametrize("rows", [RISING, LEVEL], ids=["rising", "level"])
@pytest.mark.parametrize(
    "options",
    [
        PretrainOptions(epochs=3),
        PretrainOptions(steps=5, epochs=None, data="my data/a.parquet", label="a b", limit=10),
    ],
    ids=["epochs", "steps"],
)
def test_the_next_command_can_be_typed(
    case: str,
    rows: list[dict[str, Any]],
    options: PretrainOptions,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = CASES.get(case) or Evaluation("toys", (Score("trained", "g", "uniformity", -1.0),))
    run = Simulated(tmp_path, Config("simclr", options), rows)
    spec = Spec("toys", "image", (1, 32, 32), 100, ("a", "b"), "class")
    command, _, reason = next_command(run, spec, found).partition("  # ")
    assert reason
    called: dict[str, Any] = {}

    class CalledError(Exception):
        pass

    def stub(name: str) -> Any:
        def taken(*words: Any, **given: Any) -> Any:
            called.update(name=name, words=words, **given)
            raise CalledError

        return taken

    for name in ("pretrain", "compare", "advise"):
        monkeypatch.setattr(nearfar, name, stub(name), raising=False)
    monkeypatch.setattr("nearfar.reports.page.write_page", stub("report"))
    program, *words = shlex.split(command)
    assert program == "nearfar"
    with pytest.raises(CalledError):
        cli._dispatch(words)
    better = gain(found)
    if better is None:
        assert called["name"] == "report"
    elif better.state == "good":
        assert called["name"] == "compare"
        assert called["words"][0] == "simclr"
        assert len(set(called["words"])) == 3
        assert called["seeds"] == 3
        assert (called["data"], called.get("limit")) == (options.data, options.limit)
    elif rows is RISING:
        assert called["name"] == "pretrain"
        length = {"steps": 20} if options.steps else {"epochs": 12}
        assert {key: called[key] for key in length} == length
    else:
        assert called["name"] == "advise"


def test_a_run_is_still_learning_while_its_curve_rises() -> None:
    assert is_still_learning(RISING)
    assert not is_still_learning(LEVEL)
    falling = [{"step": n, "loss": 8.0 - n} for n in range(8)]
    flat = [{"step": n, "loss": 8.0 if n == 0 else 1.0} for n in range(8)]
    assert is_still_learning(falling)
    assert not is_still_learning(flat)


@pytest.mark.parametrize("seeds", [1, 2, 3])
@pytest.mark.parametrize("arms", [1, 2, 3])
def test_a_comparison_prints_one_table(arms: int, seeds: int) -> None:
    entries = [
        Entry(name, name, {}, seed, Path(name), CASES[case], 1.0, 512.0, 60.0)
        for name, case in zip(("simclr", "dcl", "byol"), list(CASES)[:arms], strict=False)
        for seed in range(seeds)
    ]
    comparison = Comparison("toys", "5 epochs each", tuple(entries))
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(comparison.table())
    text = console.export_text()
    assert sum(set(line.strip()) == {"─"} for line in text.splitlines()) == 1
    assert "simclr: 60 s of training, 1 samples/s, 512 MiB at most" in text
    told = " ".join(text.split())
    for sentence in comparison.verdicts():
        assert sentence in told
    assert text.index("samples/s") > text.index("random encoder")


@pytest.mark.parametrize("case", CASES)
def test_an_evaluation_alone_says_the_same(case: str) -> None:
    (_, result), (_, verdict) = judged_lines(CASES[case])
    assert result == result_line(CASES[case])
    assert verdict_line("this run", CASES[case]).startswith(verdict)
    geometry = Evaluation("toys", (Score("trained", "geometry-v2", "uniformity", -1.0),))
    assert judged_lines(geometry) == []
