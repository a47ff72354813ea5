"""The outcome of a study: every score of every run, and the means and ranks that are read off."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nearfar.comparison.result import Comparison
from nearfar.comparison.table import score_text
from nearfar.studies.study import Study

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Group


@dataclass(frozen=True)
class Carried:
    """A run judged on the data of another condition.

    Attributes:
        arm: Of the run.
        trained_on: The condition under which it was trained.
        judged_on: The condition on whose data it was judged.
        seed: Of the run.
        scores: Metric to value of the trained encoder.
    """

    arm: str
    trained_on: str
    judged_on: str
    seed: int
    scores: dict[str, float] = field(hash=False)


@dataclass(frozen=True)
class Outcome:
    """All runs of a study.

    Attributes:
        name: Of the study.
        study: What was asked.
        comparisons: By condition.
        conditions: Each with its options.
        carried: Runs on the data of other conditions; () where each was judged on its own.
    """

    name: str
    study: Study
    comparisons: dict[str, Comparison]
    conditions: Mapping[str, Mapping[str, Any]]
    carried: tuple[Carried, ...] = ()

    def arms(self) -> list[str]:
        """Names of the arms, in order."""
        return next(iter(self.comparisons.values())).arms()

    def ranks(self) -> dict[str, float]:
        """Each arm's place by the headline metric, 1 for the best, as a mean over conditions.

        Arms of one value share the mean of their places. A condition under which the metric is
        undefined of an arm gives no places; NaN where every condition is such.
        """
        places: dict[str, list[float]] = {arm: [] for arm in self.arms()}
        for comparison in self.comparisons.values():
            metric = comparison.headline
            values = [comparison.mean(arm, metric).value for arm in self.arms()]
            if any(math.isnan(value) for value in values):
                continue
            if comparison.direction(metric) != "lower":
                values = [-value for value in values]
            for arm, value in zip(self.arms(), values, strict=True):
                before = sum(other < value for other in values)
                same = sum(other == value for other in values)
                places[arm].append(before + (same + 1) / 2)
        return {arm: _mean(each) for arm, each in places.items()}

    def matrix(self, arm: str) -> list[list[float]]:
        """What an arm's encoders of each condition (rows) reach on the data of each (columns): the
        mean over seeds of the headline metric of the judged data; NaN where it was not measured.
        """
        conditions = list(self.comparisons)
        return [
            [self._reached(arm, first, second) for second in conditions] for first in conditions
        ]

    def generalisation(self, arm: str) -> float:
        """The mean of the matrix off its diagonal; NaN where nothing was carried over."""
        found = self.matrix(arm)
        others = [
            value
            for row, values in enumerate(found)
            for column, value in enumerate(values)
            if row != column
        ]
        return _mean(others)

    def _reached(self, arm: str, trained_on: str, judged_on: str) -> float:
        metric = self.comparisons[judged_on].headline
        if trained_on == judged_on:
            return self.comparisons[trained_on].mean(arm, metric).value
        values = [
            one.scores.get(metric, float("nan"))
            for one in self.carried
            if (one.arm, one.trained_on, one.judged_on) == (arm, trained_on, judged_on)
        ]
        return _mean(values)

    def rows(self) -> list[dict[str, Any]]:
        """One row for each run, data set and score: what the parquet holds."""
        found = [
            {"trained_on": condition, "judged_on": condition, **row}
            for condition, comparison in self.comparisons.items()
            for row in comparison.rows()
        ]
        for one in self.carried:
            about = {
                "trained_on": one.trained_on,
                "judged_on": one.judged_on,
                "arm": one.arm,
                "seed": one.seed,
                "row": "trained",
            }
            found += [{**about, "metric": name, "value": v} for name, v in one.scores.items()]
        return found

    def write_parquet(self, path: Path) -> None:
        """``rows`` as a parquet file, replacing an older one."""
        from nearfar.comparison.result import write_rows

        write_rows(self.rows(), path)

    def lines(self) -> tuple[list[str], list[list[str]]]:
        """The main table: its columns, and a line for each arm and each baseline.

        A cell holds mean and interval of the condition's headline metric.
        """
        conditions = self.comparisons
        metrics = {name: one.headline for name, one in conditions.items()}
        columns = ["", *(f"{name}: {metric}" for name, metric in metrics.items()), "mean rank"]
        ranks = self.ranks()
        lines = []
        for arm in sorted(self.arms(), key=lambda one: ranks[one]):
            cells = [score_text(one, arm, metrics[name]) for name, one in conditions.items()]
            lines.append([arm, *cells, "–" if math.isnan(ranks[arm]) else f"{ranks[arm]:.2f}"])
        baselines = [row for one in conditions.values() for row in one.baselines]
        for row in dict.fromkeys(baselines):
            cells = [_baseline(one, metrics[name], row) for name, one in conditions.items()]
            lines.append([row, *cells, ""])
        return columns, lines

    def carried_lines(self) -> tuple[list[str], list[list[str]]]:
        """The matrix of every arm below each other; no lines where nothing was carried over."""
        if not self.carried:
            return [], []
        conditions = list(self.comparisons)
        columns = ["arm", "trained on", *conditions, "mean over others"]
        lines = []
        for arm in self.arms():
            for trained_on, values in zip(conditions, self.matrix(arm), strict=True):
                others = [
                    v for name, v in zip(conditions, values, strict=True) if name != trained_on
                ]
                lines.append([arm, trained_on, *map(_text, values), _text(_mean(others))])
        return columns, lines

    def verdicts(self) -> dict[str, list[str]]:
        """For each condition what may be said of the arms."""
        return {name: one.verdicts() for name, one in self.comparisons.items()}

    def table(self) -> Group:
        """For rich: the main table, the matrix where there is one, and the verdicts."""
        from rich.console import Group
        from rich.markup import escape

        told = [
            escape(f"{condition}: {sentence}")
            for condition, sentences in self.verdicts().items()
            for sentence in sentences
        ]
        made = [_table(*self.lines())]
        if self.carried:
            made.append(_table(*self.carried_lines()))
        return Group(escape(self.study.question), *made, *told)


def _mean(values: Sequence[float]) -> float:
    """Of those that were measured; NaN for none."""
    known = [value for value in values if not math.isnan(value)]
    return statistics.fmean(known) if known else math.nan


def _text(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


def _baseline(comparison: Comparison, metric: str, row: str) -> str:
    first = comparison.entries[0].evaluation
    if not any((score.row, score.metric) == (row, metric) for score in first.scores):
        return "–"
    return score_text(comparison, comparison.arms()[0], metric, row)


def _table(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> Any:
    from rich.box import SIMPLE
    from rich.markup import escape
    from rich.table import Table

    table = Table(*map(escape, columns), box=SIMPLE)
    for line in lines:
        table.add_row(*map(escape, line))
    return table
