"""Is the run healthy? A sentence for each thing that was looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nearfar.evaluation.collapse import collapse_seen
from nearfar.evaluation.result import Evaluation

HEADLINES = ("kNN accuracy", "R2", "similarity, Spearman", "recall@1")
"""Of these, all better the higher, the first that was measured is what a page leads with."""


@dataclass(frozen=True)
class Gain:
    """The trained encoder beside the better baseline.

    Attributes:
        metric: by which.
        value: how much higher the trained encoder is.
        baseline: name of the better baseline.
        sure: whether their 95 % intervals are apart.
        unit: of the metric, "%" or "".
    """

    metric: str
    value: float
    baseline: str
    sure: bool
    unit: str

    @property
    def state(self) -> str:
        """"good", "bad" or "open"."""
        return "open" if not self.sure else "good" if self.value > 0 else "bad"

    def text(self) -> str:
        """One sentence."""
        size = f"{abs(100 * self.value):.1f} points" if self.unit == "%" else f"{abs(self.value):.3f}"
        where = f"{size} {'above' if self.value > 0 else 'below'}" if self.value else "level with"
        doubt = "" if self.sure else "; their 95 % intervals overlap, so the two cannot be told apart by this"
        return f"By {self.metric} the encoder is {where} the {self.baseline}, the better baseline{doubt}."


def gain(evaluation: Evaluation) -> Gain | None:
    """What the encoder gained over the better baseline by the headline metric; None where there is none, or no baseline."""
    metric = next((m for name in HEADLINES for m in evaluation.metrics() if name in m), None)
    scores = {s.row: s for s in evaluation.scores if s.metric == metric}
    baselines = [scores[row] for row in ("random encoder", "raw input") if row in scores]
    if metric is None or not baselines or "trained" not in scores:
        return None
    best, trained = max(baselines, key=lambda score: score.value), scores["trained"]
    sure = trained.low > best.high or trained.high < best.low  # false where an interval is missing
    return Gain(metric, trained.value - best.value, best.row, sure, trained.unit)


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
    better = gain(evaluation) if evaluation is not None else None
    if better is not None:
        hint = "" if better.state == "good" else " It may have learned nothing useful for these labels yet."
        found.append((better.state == "good", better.text() + hint))
    return found
