"""Which metrics a verdict rests on, and which rows it compares an encoder with.

A verdict of a method that predicts rests on the headlines of the protocols that judge its results,
beside the simple answers of those protocols. A verdict of features rests on the accuracies of two
probes where samples have classes, and otherwise on the first headline that was measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

from nearfar.comparison.verdict import ENCODER, PREDICTIONS
from nearfar.evaluation.protocol import Protocol
from nearfar.evaluation.protocols import all_protocols
from nearfar.evaluation.result import BASELINES, Evaluation

JUDGED = ("kNN accuracy", "linear accuracy")
"""The metrics that a verdict of features rests on, where samples have classes."""


def judged_metrics(evaluation: Evaluation, among: Sequence[str] | None = None) -> list[str]:
    """The metrics that a verdict rests on, the headline first; none where nothing tells.

    Args:
        evaluation: Of one run.
        among: Names of metrics; by default all that were measured.
    """
    measured = evaluation.metrics() if among is None else among
    of_results = [m for m in _headlines(evaluation, _is_decisive) if m in measured]
    if of_results:
        return of_results
    of_classes = [metric for metric in JUDGED if metric in measured]
    of_features = [m for m in _headlines(evaluation, _is_of_features) if m in measured]
    return of_classes or of_features[:1]


def what_is_judged(evaluation: Evaluation, among: Sequence[str] | None = None) -> str:
    """What a verdict by ``judged_metrics`` is about: ``PREDICTIONS`` or ``ENCODER``."""
    of_results = set(_headlines(evaluation, _is_decisive))
    found = judged_metrics(evaluation, among)
    return PREDICTIONS if of_results.intersection(found) else ENCODER


def headlines(evaluation: Evaluation) -> list[str]:
    """The metrics that stand for their protocols, the most telling first."""
    return _headlines(evaluation, lambda _: True)


def baselines_of(evaluation: Evaluation, metric: str) -> list[str]:
    """Names of the rows that a method must beat by a metric: of features the shared baselines, of
    results a random encoder and the simple answers of the protocol.

    Args:
        evaluation: Of one run.
        metric: As its scores name it.
    """
    scores = [score for score in evaluation.scores if score.metric == metric]
    protocol = _known().get(_base(scores[0].protocol)) if scores else None
    wanted: tuple[str, ...] = BASELINES
    if protocol is not None and protocol.judges is not None:
        wanted = (BASELINES[0], *protocol.beats)
    rows = {score.row for score in scores}
    return [row for row in wanted if row in rows]


def directions(evaluation: Evaluation) -> dict[str, str]:
    """For each metric the better end: "higher", "lower", or "" where neither is."""
    return {score.metric: score.better for score in evaluation.scores}


def _headlines(evaluation: Evaluation, wanted: Callable[[Protocol], bool]) -> list[str]:
    """The headlines that were measured of some protocols, in the order of these."""
    metrics: dict[str, list[str]] = {}
    for score in evaluation.scores:
        metrics.setdefault(_base(score.protocol), []).append(score.metric)
    found = [
        metric
        for protocol in all_protocols()
        if wanted(protocol)
        for pattern in protocol.headline
        for metric in metrics.get(_base(protocol.version), ())
        if fnmatchcase(metric, pattern)
    ]
    return list(dict.fromkeys(found))


def _is_decisive(protocol: Protocol) -> bool:
    return protocol.judges is not None and bool(protocol.beats)


def _is_of_features(protocol: Protocol) -> bool:
    return protocol.judges is None


def _base(version: str) -> str:
    """The name of a protocol by that of one of its versions."""
    return version.rpartition("-v")[0]


def _known() -> dict[str, Protocol]:
    return {_base(one.version): one for one in all_protocols()}
