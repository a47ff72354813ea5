"""Is the run healthy? A sentence for each thing that was looked at."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nearfar.comparison.differences import Side, difference, standard_error
from nearfar.comparison.judged import baselines_of, directions, judged_metrics, what_is_judged
from nearfar.comparison.verdict import ENCODER, PREDICTIONS, Finding
from nearfar.comparison.verdict import findings as corrected
from nearfar.evaluation.measures.collapse import collapse_seen
from nearfar.evaluation.result import Evaluation, Score


@dataclass(frozen=True)
class Gain:
    """The trained encoder beside the better baseline, by one metric or several.

    Attributes:
        beside: for each metric the better baseline and what is known of the encoder beside it.
        judged: what was judged, ``verdict.ENCODER`` or ``verdict.PREDICTIONS``.
    """

    beside: tuple[tuple[str, Finding], ...]
    judged: str = ENCODER

    @property
    def state(self) -> str:
        """ "good" or "bad" where something is sure and nothing speaks against it, otherwise
        "open".
        """
        states = {found.state for _, found in self.beside}
        if "better" in states:
            return "open" if "worse" in states else "good"
        return "bad" if "worse" in states else "open"

    @property
    def learned(self) -> bool:
        """Whether the encoder is surely better than the baselines by some metric."""
        return any(found.state == "better" for _, found in self.beside)

    def text(self) -> str:
        """A sentence for each metric."""
        return " ".join(_told(baseline, found, self.judged) for baseline, found in self.beside)


def _told(baseline: str, found: Finding, judged: str) -> str:
    points, digits = (100, 1) if found.unit == "%" else (1, 3)
    unit = " points" if found.unit == "%" else ""
    value, low, high = (points * end for end in found.interval)
    size = f"{abs(value):.{digits}f}{unit}"
    where = f"{size} {'above' if value > 0 else 'below'}" if value else "level with"
    read = " (less is better)" if found.better == "lower" else ""
    verb = "are" if judged == PREDICTIONS else "is"
    start = f"By {found.metric} {judged} {verb} {where} the {baseline}{read}, the better baseline"
    if found.sure:
        return f"{start}."
    if math.isnan(low):
        return f"{start}; whether that is more than chance is not known, as there is no interval."
    within = f"{low:.{digits}f} to {high:.{digits}f}{unit}"
    return f"{start}; this is not sure, the difference may be anything from {within}."


def gain(evaluation: Evaluation) -> Gain | None:
    """What the encoder gained over the better baseline; None where there is no metric to tell by,
    or no baseline.
    """
    better: dict[str, tuple[str, Finding]] = {}
    for row, found in gains(evaluation):
        metric = found.metric
        if metric not in better or found.gain < better[metric][1].gain:
            better[metric] = row, found
    return Gain(tuple(better.values()), what_is_judged(evaluation)) if better else None


def gains(evaluation: Evaluation) -> list[tuple[str, Finding]]:
    """For each metric to tell by and each baseline what is known of the encoder beside it.

    The metrics are those of ``judged.judged_metrics``; what is sure is corrected for the number of
    comparisons. Where what each test sample adds was kept, encoder and baseline are paired by it.
    """
    metrics = judged_metrics(evaluation)
    scores = {(s.metric, s.row): s for s in evaluation.scores}
    asked = [
        (metric, row)
        for metric in metrics
        for row in baselines_of(evaluation, metric)
        if (metric, row) in scores and (metric, "trained") in scores
    ]
    compared = [
        (
            m,
            scores[m, row].unit,
            difference(_side(evaluation, scores[m, row]), _side(evaluation, scores[m, "trained"])),
        )
        for m, row in asked
    ]
    decided = corrected(compared, directions(evaluation))
    return [(row, found) for (_, row), found in zip(asked, decided, strict=True)]


def _side(evaluation: Evaluation, score: Score) -> Side:
    answers = evaluation.answers.of(score.metric, score.row, score.value)
    return Side(
        [score.value], None if answers is None else [answers], errors=[standard_error(score)]
    )


def findings(
    rows: Sequence[Mapping[str, Any]], evaluation: Evaluation | None, dimensions: int
) -> list[tuple[bool, str]]:
    """(all is well, sentence) for what the training's metrics and the evaluation show.

    Args:
        rows: of metrics.jsonl.
        evaluation: if there is one.
        dimensions: of the features.
    """
    found = [(False, str(row["alarm"])) for row in rows if "alarm" in row]
    losses = [row["loss"] for row in rows if "loss" in row]
    if len(losses) > 3:
        quarter = max(1, len(losses) // 4)
        first = sum(losses[:quarter]) / quarter
        last = sum(losses[-quarter:]) / quarter
        found.append(
            (
                last < first,
                f"The loss went from {first:.3g} to {last:.3g} (means of the first and last "
                "quarter).",
            )
        )
    looks = [row for row in rows if "effective_rank" in row and "relative_std" in row]
    if looks:
        rank = looks[-1]["effective_rank"]
        spread = looks[-1]["relative_std"]
        warning = collapse_seen(spread, rank, dimensions)
        fine = (
            f"The features use about {rank:.0f} of {dimensions} dimensions and vary by "
            f"{spread:.2f} of what a full spread would."
        )
        found.append((warning is None, warning or fine))
    scores = [row["knn"] for row in rows if "knn" in row]
    if len(scores) > 3:
        rising = scores[-1] - max(scores[: -max(1, len(scores) // 4)])
        text = (
            "In the last quarter of the run the online kNN accuracy rose by "
            f"{100 * rising:.1f} points: a longer run should help."
        )
        found.append((True, text if rising > 0.01 else "The online kNN accuracy has levelled off."))
    better = gain(evaluation) if evaluation is not None else None
    if better is not None:
        hint = "" if better.learned else " It may have learned nothing useful for these labels yet."
        found.append((better.state == "good", better.text() + hint))
    return found
