"""Which metrics a verdict rests on, and which rows it compares an encoder with.

A verdict of a method that predicts rests on the headlines of the protocols that judge its results,
beside the simple answers of those protocols. A verdict of features rests on the accuracies of two
probes where samples have classes, and otherwise on the first headline that was measured.
"""

from __future__ import annotations

from collections.abc import Sequence

from nearfar.evaluation.protocols import all_protocols
from nearfar.evaluation.result import BASELINES, Evaluation

JUDGED = ("kNN accuracy", "linear accuracy")
"""The metrics that a verdict of features rests on, where samples have classes."""


def judged_metrics(metrics: Sequence[str]) -> list[str]:
    """The metrics that a verdict rests on, the headline first; none where nothing tells.

    Args:
        metrics: Names of what was measured.

    Example:
        >>> judged_metrics(["effective rank", "linear accuracy", "kNN accuracy"])
        ['kNN accuracy', 'linear accuracy']
    """
    of_results = _headlines(metrics, results=True)
    if of_results:
        return of_results
    of_classes = [metric for metric in JUDGED if metric in metrics]
    return of_classes or _headlines(metrics, results=False)[:1]


def headlines(metrics: Sequence[str]) -> list[str]:
    """The metrics that stand for their protocols, the most telling first.

    Args:
        metrics: Names of what was measured.
    """
    return [*_headlines(metrics, results=True), *_headlines(metrics, results=False)]


def baselines_of(evaluation: Evaluation, metric: str) -> list[str]:
    """Names of the rows that a method must beat by a metric: the shared baselines, and the simple
    answers of a protocol that judges results.

    Args:
        evaluation: Of one run.
        metric: As its scores name it.
    """
    results = metric in _headlines([metric], results=True)
    rows = [score.row for score in evaluation.scores if score.metric == metric]
    if results:
        return [row for row in rows if row != "trained"]
    return [row for row in BASELINES if row in rows]


def directions(evaluation: Evaluation) -> dict[str, str]:
    """For each metric the better end: "higher", "lower", or "" where neither is."""
    return {score.metric: score.better for score in evaluation.scores}


def _headlines(metrics: Sequence[str], *, results: bool) -> list[str]:
    """The headlines among the metrics, of protocols that judge results or of those for features;
    "recall@1" also stands for "image to text recall@1".
    """
    names = [
        name
        for protocol in all_protocols()
        for name in protocol.headline
        if (protocol.judges is not None) == results
    ]
    found = [m for name in names for m in metrics if m == name or m.endswith(f" {name}")]
    return list(dict.fromkeys(found))
