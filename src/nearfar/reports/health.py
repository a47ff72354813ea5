"""Is the run healthy? A sentence for each thing that was looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nearfar.evaluation.collapse import collapse_seen
from nearfar.evaluation.result import Evaluation


def headline_metric(evaluation: Evaluation) -> str:
    """What the page leads with: the first of the usual metrics that was measured."""
    usual = ("kNN accuracy", "R2", "recall@1")
    return next((m for name in usual for m in evaluation.metrics() if name in m), evaluation.metrics()[0])


def gain(evaluation: Evaluation, metric: str) -> tuple[float, str] | None:
    """The trained row minus the better baseline, and that baseline's name; None without baselines."""
    values = {s.row: s.value for s in evaluation.scores if s.metric == metric}
    baselines = {row: values[row] for row in ("random encoder", "raw input") if row in values}
    if not baselines or "trained" not in values:
        return None
    best = max(baselines, key=lambda row: baselines[row])
    return values["trained"] - baselines[best], best


def findings(rows: Sequence[Mapping[str, Any]], evaluation: Evaluation | None, dimensions: int) -> list[tuple[bool, str]]:
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
        first, last = sum(losses[:quarter]) / quarter, sum(losses[-quarter:]) / quarter
        found.append((last < first, f"The loss went from {first:.3g} to {last:.3g} (means of the first and last quarter)."))
    looks = [row for row in rows if "effective_rank" in row and "relative_std" in row]
    if looks:
        rank, spread = looks[-1]["effective_rank"], looks[-1]["relative_std"]
        warning = collapse_seen(spread, rank, dimensions)
        fine = f"The features use about {rank:.0f} of {dimensions} dimensions and vary by {spread:.2f} of what a full spread would."
        found.append((warning is None, warning or fine))
    scores = [row["knn"] for row in rows if "knn" in row]
    if len(scores) > 3:
        rising = scores[-1] - max(scores[: -max(1, len(scores) // 4)])
        text = f"In the last quarter of the run the online kNN accuracy rose by {100 * rising:.1f} points: a longer run should help."
        found.append((True, text if rising > 0.01 else "The online kNN accuracy has levelled off."))
    if evaluation is not None and (better := gain(evaluation, headline_metric(evaluation))) is not None:
        metric, (points, baseline) = headline_metric(evaluation), better
        sentence = f"By {metric} the encoder is {abs(100 * points):.1f} points {'above' if points > 0 else 'below'} the {baseline}"
        found.append((points > 0, sentence + ("." if points > 0 else ": it has learned nothing useful for these labels yet.")))
    return found
