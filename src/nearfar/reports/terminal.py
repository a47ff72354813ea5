"""What the terminal says first after a run: the result, whether it is sure, and what to do next."""

from __future__ import annotations

import math

from nearfar.comparison.judged import what_is_judged
from nearfar.comparison.verdict import gained
from nearfar.evaluation.result import Evaluation
from nearfar.reports.health import gains

BRIEF = "NEARFAR_BRIEF"
"""The variable that a comparison sets for its runs: they print one line instead of their table."""
_NO_LABELS = "no verdict: without labels nothing says whether the features are any good"


def result_line(evaluation: Evaluation) -> str:
    """The metrics that the verdict rests on, each with its baselines: figures and no judgement."""
    found = gains(evaluation)
    told = []
    for metric in dict.fromkeys(one.metric for _, one in found):
        baselines = [row for row, one in found if one.metric == metric]
        beside = " and ".join(
            f"{_number(evaluation, metric, row)} of the {row}" for row in baselines
        )
        told.append(f"{metric} {_number(evaluation, metric, 'trained')} beside {beside}")
    return "; ".join(told) or "no metric was measured that has a baseline"


def verdict_line(method: str, evaluation: Evaluation) -> str:
    """Whether that is sure, by the paired test over the test samples."""
    found = gains(evaluation)
    if not found:
        return _NO_LABELS
    told = gained(method, found, what_is_judged(evaluation))
    return f"{told} Of {method} with another seed this says nothing."


def first_lines(method: str, evaluation: Evaluation, command: str) -> list[tuple[str, str]]:
    """(label, text) of the three lines that stand before the table.

    Args:
        method: the method's name.
        evaluation: of the run.
        command: what to type next.
    """
    return [
        ("result", result_line(evaluation)),
        ("verdict", verdict_line(method, evaluation)),
        ("next", command),
    ]


def judged_lines(evaluation: Evaluation) -> list[tuple[str, str]]:
    """(label, text) of the lines before the table of an evaluation alone, whatever was judged in
    it; none where it holds nothing to tell by.
    """
    found = gains(evaluation)
    if not found:
        return []
    told = gained("this run", found, what_is_judged(evaluation))
    return [("result", result_line(evaluation)), ("verdict", told)]


def _number(evaluation: Evaluation, metric: str, row: str) -> str:
    score = evaluation.score(metric, row)
    if math.isnan(score.value):
        return "undefined"
    return f"{100 * score.value:.1f} %" if score.unit == "%" else f"{score.value:.3f}"
