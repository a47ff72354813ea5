"""The first line of a page tells encoder, samples, length, seed and time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nearfar.data import load
from nearfar.options import Config, PretrainOptions
from nearfar.reports.facts import _duration, facts, facts_of_several, line
from nearfar.reports.look import Look
from nearfar.verbs.run import Run


class Simulated(Run):
    """A run with a configuration and metrics of its own."""

    def __init__(self, folder: Path, options: PretrainOptions, rows: list[dict[str, Any]]) -> None:
        folder.mkdir()
        (folder / "config.toml").write_text(Config("simclr", options).to_toml())
        super().__init__(folder)
        self.rows = rows

    def metrics(self) -> list[dict[str, Any]]:
        return self.rows


def run(folder: Path, seed: int, seconds: float) -> Simulated:
    options = PretrainOptions(encoder="perceptron", epochs=2, batch_size=50, seed=seed)
    rows = [
        {"step": 4, "epoch": 1.0, "seconds": seconds / 2},
        {"step": 8, "epoch": 2.0, "seconds": seconds, "knn": 0.5},
    ]
    return Simulated(folder, options, rows)


def test_the_facts_of_a_run(tmp_path: Path) -> None:
    look = Look(run(tmp_path / "a", 3, 75.2), load("digits", limit=200))
    assert facts(look) == [
        "encoder perceptron",
        "200 image samples for training",
        "360 for testing",
        "2 epochs (8 steps), batches of 50",
        "seed 3",
        "1 min 15 s of training",
    ]
    assert "perceptron \u00b7 200 image samples" in line(facts(look))
    assert "&lt;b&gt;" in line(["<b>"])


def test_the_facts_of_a_comparison(tmp_path: Path) -> None:
    runs = [run(tmp_path / str(seed), seed, 10.0) for seed in (1, 0)]
    looks = [Look(runs[0], load("digits", limit=200))]
    told = facts_of_several(looks, runs)
    assert told[0] == "encoder perceptron"
    assert told[-2:] == ["seeds 0, 1", "20 s of training for 2 runs"]


def test_a_run_without_metrics_has_facts(tmp_path: Path) -> None:
    bare = Simulated(tmp_path / "bare", PretrainOptions(), [])
    assert facts(Look(bare, load("digits", limit=20)))[-1] == "seed 0"


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.4, "0.4 s"), (9.6, "10 s"), (59.4, "59 s"), (60, "1 min 0 s"), (7500, "2 h 5 min")],
)
def test_durations_are_readable(seconds: float, told: str) -> None:
    assert _duration(seconds) == told
