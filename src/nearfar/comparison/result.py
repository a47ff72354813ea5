"""The outcome of a comparison: scores by arm and seed, paired differences to the first arm, and
what can be said.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearfar.comparison.budgets import NOT_KNOWN, Spent, unequal_budgets
from nearfar.comparison.differences import Side, difference, mean, standard_error
from nearfar.comparison.judged import baselines_of, directions, judged_metrics, what_is_judged
from nearfar.comparison.verdict import Finding, findings, learned, sentence
from nearfar.errors import UserError
from nearfar.evaluation.kernels.intervals import Interval
from nearfar.evaluation.result import Evaluation
from nearfar.files import replacing

if TYPE_CHECKING:
    from rich.console import Group


@dataclass(frozen=True)
class Entry:
    """One finished run of a comparison.

    Attributes:
        arm: the arm's name.
        method: the method's name.
        settings: those that the grid sets.
        seed: of the run.
        folder: of the run.
        evaluation: of its encoder.
        samples_per_second: median over the training, online evaluation left out.
        peak_memory: largest resident memory of the run's process in MiB; NaN where it is not known.
        seconds: of training.
        spent: on training by the run itself and by what was trained for it to start from.
    """

    arm: str
    method: str
    settings: dict[str, Any]
    seed: int
    folder: Path
    evaluation: Evaluation
    samples_per_second: float
    peak_memory: float
    seconds: float
    spent: Spent = NOT_KNOWN


@dataclass(frozen=True)
class Comparison:
    """All runs; the first arm is the one that the others are compared with.

    Attributes:
        data: the data set's name.
        budget: what every run was given, in words.
        entries: arm by arm, each with the same seeds.
    """

    data: str
    budget: str
    entries: tuple[Entry, ...]

    def arms(self) -> list[str]:
        """Names of the arms, in order."""
        return list(dict.fromkeys(entry.arm for entry in self.entries))

    def of(self, arm: str) -> list[Entry]:
        """An arm's runs by seed."""
        return sorted(
            (entry for entry in self.entries if entry.arm == arm), key=lambda entry: entry.seed
        )

    def metrics(self) -> list[str]:
        """Names of the metrics that every run has, the headline first."""
        common = self._common
        headline = self.headline
        return [headline, *(metric for metric in common if metric != headline)]

    @property
    def headline(self) -> str:
        """The metric that the verdict is about."""
        found = self.entries[0].evaluation.metrics()
        if not found or not self._common:
            folder = self.entries[0].folder
            raise UserError(
                f"The evaluation of {folder} holds no score; judge it again with `nearfar evaluate "
                f"{folder}`."
            )
        return (judged_metrics(self.entries[0].evaluation, self._common) or self._common)[0]

    @cached_property
    def _common(self) -> list[str]:
        """Names of the metrics that every run has."""
        each = [entry.evaluation for entry in self.entries]
        return [m for m in each[0].metrics() if all(_measured(one, m) for one in each)]

    @cached_property
    def baselines(self) -> list[str]:
        """Names of the rows that the arms are compared with, in order."""
        first = self.entries[0].evaluation
        beside = {row for metric in self.judged for row in baselines_of(first, metric)}
        return [row for row in first.rows() if row in beside]

    @cached_property
    def _directions(self) -> dict[str, str]:
        return directions(self.entries[0].evaluation)

    def unit(self, metric: str) -> str:
        """ "%" for shares, otherwise ""."""
        return self.entries[0].evaluation.score(metric).unit

    def direction(self, metric: str) -> str:
        """The better end of a metric: "higher", "lower", or "" where neither is."""
        return self._directions.get(metric, "higher")

    def values(self, arm: str, metric: str, row: str = "trained") -> list[float]:
        """One value for each seed."""
        return [entry.evaluation.value(metric, row) for entry in self.of(arm)]

    def side(self, arm: str, metric: str, row: str = "trained") -> Side:
        """An arm's values of a metric with what is known of their error by the test samples."""
        scores = [entry.evaluation.score(metric, row) for entry in self.of(arm)]
        answers = [
            entry.evaluation.answers.of(metric, row, score.value)
            for entry, score in zip(self.of(arm), scores, strict=True)
        ]
        kept = [one for one in answers if one is not None]
        samples = kept if len(kept) == len(scores) else None
        tests = [entry.evaluation.answers.test for entry in self.of(arm)]
        return Side(
            [score.value for score in scores],
            samples,
            tests,
            [standard_error(score) for score in scores],
        )

    @cached_property
    def judged(self) -> list[str]:
        """The metrics that verdicts rest on, the headline first; see ``judged.judged_metrics``."""
        return judged_metrics(self.entries[0].evaluation, self._common) or [self.headline]

    def mean(self, arm: str, metric: str, row: str = "trained") -> Interval:
        """Mean over seeds; its 95 % interval contains the error by seeds and by test samples; see
        ``verdict.mean``.
        """
        return mean(self.side(arm, metric, row), share=self.unit(metric) == "%")

    def difference(self, arm: str, metric: str) -> Interval:
        """Paired difference of an arm to the first; above 0: the arm has more.

        Of the metrics that verdicts rest on, the interval is corrected for the number of
        comparisons, as the verdict.
        """
        found = next((one for one in self.findings.get(arm, ()) if one.metric == metric), None)
        if found is not None:
            return found.interval
        return difference(self.side(self.arms()[0], metric), self.side(arm, metric)).interval()

    @cached_property
    def findings(self) -> dict[str, list[Finding]]:
        """For each arm but the first what is known of it beside the first, corrected for the number
        of arms.
        """
        first, *others = self.arms()
        return {
            arm: found
            for (_, arm), found in self._compared([(first, arm) for arm in others]).items()
        }

    def pairs(self) -> dict[tuple[str, str], list[Finding]]:
        """For every pair of arms what is known of the second beside the first, corrected for the
        number of pairs.
        """
        return self._compared(list(itertools.combinations(self.arms(), 2)))

    def _compared(self, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], list[Finding]]:
        asked = [(pair, metric) for pair in pairs for metric in self.judged]
        found = findings(
            [
                (
                    metric,
                    self.unit(metric),
                    difference(self.side(first, metric), self.side(second, metric)),
                )
                for (first, second), metric in asked
            ],
            self._directions,
        )
        return {
            pair: [f for (other, _), f in zip(asked, found, strict=True) if other == pair]
            for pair in pairs
        }

    def best(self) -> str | None:
        """The arm that is surely better than every other by the headline metric and surely worse by
        none; or None.
        """
        if len(self.of(self.arms()[0])) < 2:
            return None
        for arm in self.arms():
            states = []
            for (first, second), found in self.pairs().items():
                if arm not in (first, second):
                    continue
                turned = {"better": "worse", "worse": "better"} if arm == first else {}
                states.append({f.metric: turned.get(f.state, f.state) for f in found})
            if states and all(
                s[self.judged[0]] == "better" and "worse" not in s.values() for s in states
            ):
                return arm
        return None

    def verdicts(self) -> list[str]:
        """A sentence for each arm but the first, and for each that is not shown to be better than
        no training at all.
        """
        first = self.arms()[0]
        judged = self._subject
        beside = [
            self._with_budgets(first, arm, sentence(first, arm, found, judged))
            for arm, found in self.findings.items()
        ]
        alone = [learned(arm, self.gains[arm], judged) for arm in self.arms()]
        return beside + [text for text in alone if text]

    def verdicts_of_pairs(self) -> list[str]:
        """A sentence for every pair of arms."""
        return [
            self._with_budgets(first, second, sentence(first, second, found, self._subject))
            for (first, second), found in self.pairs().items()
        ]

    def _with_budgets(self, first: str, second: str, told: str) -> str:
        """A sentence about two arms, followed by how unequally they were trained if they were."""
        budgets = {arm: [entry.spent for entry in self.of(arm)] for arm in (first, second)}
        return f"{told}{unequal_budgets(budgets)}"

    @cached_property
    def _subject(self) -> str:
        """What verdicts with one seed are about."""
        return what_is_judged(self.entries[0].evaluation, self._common)

    @cached_property
    def gains(self) -> dict[str, list[tuple[str, Finding]]]:
        """For each arm (baseline, what is known of the arm beside it), corrected for all of them
        together.
        """
        asked = [
            (arm, row, metric)
            for arm in self.arms()
            for metric in self.judged
            for row in baselines_of(self.entries[0].evaluation, metric)
            if all(
                any((s.row, s.metric) == (row, metric) for s in e.evaluation.scores)
                for e in self.of(arm)
            )
        ]
        found = findings(
            [
                (
                    metric,
                    self.unit(metric),
                    difference(self.side(arm, metric, row), self.side(arm, metric)),
                )
                for arm, row, metric in asked
            ],
            self._directions,
        )
        gains: dict[str, list[tuple[str, Finding]]] = {arm: [] for arm in self.arms()}
        for (arm, row, _), one in zip(asked, found, strict=True):
            gains[arm].append((row, one))
        return gains

    def rows(self) -> list[dict[str, Any]]:
        """One row for each run and score: what the parquet holds."""
        found = []
        for entry in self.entries:
            about = {
                "arm": entry.arm,
                "method": entry.method,
                "seed": entry.seed,
                "folder": str(entry.folder),
                "samples_per_second": entry.samples_per_second,
                "peak_memory_mib": entry.peak_memory,
                "seconds": entry.seconds,
                **{f"settings.{key}": value for key, value in entry.settings.items()},
            }
            for score in entry.evaluation.scores:
                found.append(
                    {
                        **about,
                        "row": score.row,
                        "protocol": score.protocol,
                        "metric": score.metric,
                        "value": score.value,
                    }
                )
        return found

    def write_parquet(self, path: Path) -> None:
        """``rows`` as a parquet file, replacing an older one; settings that an arm does not have
        are null.
        """
        write_rows(self.rows(), path)

    def table(self, *, pairs: bool = False) -> Group:
        """For rich: a line for each arm, then the verdicts; ``pairs``: of every pair of arms."""
        from nearfar.comparison.table import rich_table

        return rich_table(self, pairs=pairs)


def write_rows(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Rows as a parquet file, replacing an older one; what a row does not have is null."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = list(dict.fromkeys(key for row in rows for key in row))
    table = pa.table({key: _column([row.get(key) for row in rows]) for key in columns})
    # pyarrow takes a path with a colon for an address, so it gets a file.
    with replacing(path, overwrite=True) as temporary, temporary.open("wb") as file:
        pq.write_table(table, file)


def _measured(evaluation: Evaluation, metric: str) -> bool:
    return any(score.metric == metric and score.row == "trained" for score in evaluation.scores)


def _column(values: Sequence[Any]) -> list[Any]:
    """Values of one type: settings of several types become text."""
    kinds = {type(value) for value in values if value is not None}
    return (
        list(values)
        if len(kinds) <= 1 or kinds <= {int, float}
        else [None if value is None else str(value) for value in values]
    )
