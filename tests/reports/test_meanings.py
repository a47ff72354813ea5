"""Every metric that nearfar measures has a sentence that says which end is better."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import nearfar
from nearfar.evaluation.result import Evaluation, Score
from nearfar.reports.meanings import is_rare, meaning
from nearfar.reports.score_tables import scores_tables


@pytest.mark.parametrize(
    ("metric", "better", "rare"),
    [
        ("kNN accuracy", "high", False),
        ("linear accuracy", "high", False),
        ("accuracy", "high", False),
        ("balanced accuracy", "high", False),
        ("cross-entropy", "low", False),
        ("1 label a class", "high", False),
        ("10 % of labels", "high", False),
        ("5-way 1-shot accuracy", "high", False),
        ("mean absolute error", "low", False),
        ("mean absolute error, few shots", "low", True),
        ("image to text recall@1", "high", False),
        ("image to text mean rank", "low", True),
        ("outsiders by kNN distance: FPR95", "low", True),
        ("error under blur", "low", True),
        ("modality gap", "", True),
        ("uniformity", "low", True),
        ("effective rank", "high", False),
        ("worst patient: accuracy", "high", False),
    ],
)
def test_the_direction_of_a_metric(metric: str, better: str, rare: bool) -> None:
    found = meaning(metric)
    assert found is not None
    assert found.better == better
    assert is_rare(metric) == rare
    assert found.sentence().endswith(("high is better.", "low is better.", "better by itself."))


def test_a_metric_of_somebody_else_has_no_meaning_here() -> None:
    assert meaning("my own figure") is None
    assert not is_rare("my own figure")


def test_the_tables_fold_what_is_rarely_read_and_say_which_end_is_better() -> None:
    scores = (
        Score("trained", "knn-v1", "kNN accuracy", 0.5, unit="%"),
        Score("trained", "geometry-v2", "uniformity", -1.0),
        Score("trained", "own-v1", "my <own> figure", 1.0),
    )
    page = scores_tables(Evaluation("toys", scores, {"knn-v1": "k=20"}))
    often, _, rest = page.partition("<summary>Rarely read</summary>")
    assert "kNN accuracy ↑" in often
    assert "my &lt;own&gt; figure" in often
    assert "uniformity ↓" not in often
    assert "uniformity ↓" in rest
    assert "low is better." in rest
    assert "knn-v1: k=20" in rest


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["classes", "values"])
def test_every_metric_of_every_protocol_has_a_meaning(kind: str, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 255, (60, 16, 16, 1), dtype=np.uint8)
    if kind == "classes":
        label = np.arange(60) % 3
    else:
        label = random.integers(1, 9, 60).astype(float) + 0.5
    np.savez(tmp_path / "a.npz", images=pixels, label=label, patient=np.arange(60) // 5)
    run = nearfar.pretrain(
        "simclr",
        data=str(tmp_path / "a.npz"),
        group="patient",
        steps=2,
        batch_size=16,
        output=tmp_path / "run",
        evaluate=False,
        quiet=True,
    )
    found = nearfar.evaluate(run.folder, protocols="all", outsiders="digits", seeds=2)
    assert len(found.metrics()) > 8
    assert [metric for metric in found.metrics() if meaning(metric) is None] == []
