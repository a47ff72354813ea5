"""Which metrics verdicts rest on, beside which rows, and which end of them is better."""

from __future__ import annotations

from typing import Any

import pytest

from nearfar.comparison.judged import baselines_of, headlines, judged_metrics
from nearfar.evaluation.result import Evaluation, Score
from nearfar.reports.health import gain, gains
from nearfar.reports.terminal import verdict_line


def evaluation(protocol: str, values: dict[str, dict[str, float]], **more: Any) -> Evaluation:
    """Metric to row to value, each with a narrow interval."""
    scores = tuple(
        Score(row, protocol, metric, v, v - 0.01, v + 0.01, "test samples", 500, **more)
        for metric, rows in values.items()
        for row, v in rows.items()
    )
    return Evaluation("made", scores, {protocol: "told"})


DEPTH = evaluation(
    "depth-v1",
    {"abs_rel": {"trained": 0.1, "random encoder": 0.5, "mean depth": 0.3, "other": 0.05}},
    better="lower",
)


def joined(*each: Evaluation) -> Evaluation:
    scores = tuple(score for one in each for score in one.scores)
    return Evaluation("made", scores, {k: v for one in each for k, v in one.protocols.items()})


def features(value: float) -> Evaluation:
    rows = {"trained": value, "random encoder": 0.5, "raw input": 0.4, "commonest class": 0.1}
    return joined(
        evaluation("knn-v1", {"kNN accuracy": rows}, unit="%"),
        evaluation("linear-v1", {"linear accuracy": rows}, unit="%"),
    )


def test_results_lead_where_a_method_predicts() -> None:
    accuracy = evaluation(
        "accuracy-v1",
        {
            "accuracy": {"trained": 0.9, "random encoder": 0.1, "commonest class": 0.2},
            "balanced accuracy": {"trained": 0.8},
        },
    )
    assert judged_metrics(joined(accuracy, features(0.8))) == ["accuracy"]
    assert judged_metrics(features(0.8)) == ["kNN accuracy", "linear accuracy"]
    assert judged_metrics(joined(accuracy, features(0.8)), ["kNN accuracy"]) == ["kNN accuracy"]
    assert headlines(joined(features(0.8), accuracy)) == [
        "accuracy",
        "kNN accuracy",
        "linear accuracy",
    ]


def test_a_method_is_held_beside_what_it_must_beat_and_nothing_else() -> None:
    assert baselines_of(DEPTH, "abs_rel") == ["random encoder", "mean depth"]
    assert baselines_of(features(0.8), "kNN accuracy") == ["random encoder", "raw input"]
    assert baselines_of(DEPTH, "nothing") == []


def test_less_is_better_where_the_metric_says_so() -> None:
    assert {(row, one.state) for row, one in gains(DEPTH)} == {
        ("random encoder", "better"),
        ("mean depth", "better"),
    }
    found = gain(DEPTH)
    assert found is not None
    assert found.beside[0][0] == "mean depth", "the better baseline has the lower error"
    assert found.state == "good"
    worse = evaluation("depth-v1", {"abs_rel": {"trained": 0.4, "mean depth": 0.3}}, better="lower")
    assert [one.state for _, one in gains(worse)] == ["worse"]
    assert "worse than the mean depth" in verdict_line("monodepth2", worse)


def test_what_does_not_decide_leads_no_verdict() -> None:
    forgetting = evaluation(
        "forgetting-v1",
        {"accuracy, remaining test": {"trained": 0.9, "classifier before": 0.95}},
        unit="%",
    )
    assert judged_metrics(forgetting) == []
    assert gain(forgetting) is None


@pytest.mark.parametrize("metric", ["image to text recall@1", "first to second recall@1"])
def test_one_headline_stands_for_all_pairs_of_parts(metric: str) -> None:
    pairs = evaluation("pairs-v1", {metric: {"trained": 0.4, "random encoder": 0.1}}, unit="%")
    assert judged_metrics(pairs) == [metric]
