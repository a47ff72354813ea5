"""The outcome of a comparison: scores by arm and seed, paired differences to the first arm, and what can be said."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearfar.errors import UserError
from nearfar.evaluation.intervals import Interval, mean_interval, paired_difference
from nearfar.evaluation.result import Evaluation
from nearfar.files import replacing

if TYPE_CHECKING:
    from rich.console import Group

_HEADLINES = ("kNN accuracy", "linear accuracy", "R2", "recall@1")
"""What the verdict is about: the first of these that was measured."""


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
        return sorted((entry for entry in self.entries if entry.arm == arm), key=lambda entry: entry.seed)

    def metrics(self) -> list[str]:
        """Names of the metrics that every run has, the headline first."""
        first, *others = (entry.evaluation for entry in self.entries)
        common = [m for m in first.metrics() if all(_measured(e, m) for e in (first, *others))]
        headline = self.headline
        return [headline, *(metric for metric in common if metric != headline)]

    @property
    def headline(self) -> str:
        """The metric that the verdict is about."""
        found = self.entries[0].evaluation.metrics()
        if not found:
            folder = self.entries[0].folder
            raise UserError(f"The evaluation of {folder} holds no score; judge it again with `nearfar evaluate {folder}`.")
        return next((m for name in _HEADLINES for m in found if name in m), found[0])

    def unit(self, metric: str) -> str:
        """"%" for shares, otherwise ""."""
        return self.entries[0].evaluation.score(metric).unit

    def values(self, arm: str, metric: str, row: str = "trained") -> list[float]:
        """One value for each seed."""
        return [entry.evaluation.value(metric, row) for entry in self.of(arm)]

    def mean(self, arm: str, metric: str, row: str = "trained") -> Interval:
        """Mean over seeds with its 95 % t-interval."""
        return mean_interval(self.values(arm, metric, row))

    def difference(self, arm: str, metric: str) -> Interval:
        """Paired difference of an arm to the first, with its 95 % t-interval; above 0: the arm has more."""
        return paired_difference(self.values(self.arms()[0], metric), self.values(arm, metric))

    def verdicts(self) -> list[str]:
        """A sentence for each arm but the first, by the headline metric, and for each that is no better than no training at all."""
        first, *others = self.arms()
        return [self._verdict(first, arm) for arm in others] + [text for arm in self.arms() if (text := self._warning(arm))]

    def _verdict(self, first: str, arm: str) -> str:
        difference, what = self.difference(arm, self.headline), self.headline
        seeds = len(self.of(arm))
        if seeds < 2:
            return f"{arm} and {first} cannot be compared with one seed ({self._amount(difference)} {what})."
        if difference.low > 0:
            return f"{arm} is better than {first} by {self._amount(difference)} {what}."
        if difference.high < 0:
            return f"{arm} is worse than {first} by {self._amount(difference, sign=-1)} {what}."
        return f"{arm} cannot be told from {first} with {seeds} seeds ({self._amount(difference)} {what})."

    def _amount(self, difference: Interval, sign: int = 1) -> str:
        scale, unit, digits = (100, " points", 1) if self.unit(self.headline) == "%" else (1, "", 3)
        text = f"{sign * scale * difference.value:.{digits}f}"
        half = (difference.high - difference.low) / 2
        return f"{text}{unit}" if math.isnan(half) else f"{text} ± {scale * half:.{digits}f}{unit}"

    def _warning(self, arm: str) -> str:
        baselines = [row for row in ("random encoder", "raw input") if row in self.of(arm)[0].evaluation.rows()]
        best = max((self.mean(arm, self.headline, row).value, row) for row in baselines) if baselines else (-math.inf, "")
        if self.mean(arm, self.headline).value > best[0]:
            return ""
        return f"{arm} is no better than the {best[1]} by {self.headline}: it has learned nothing useful here in this budget."

    def rows(self) -> list[dict[str, Any]]:
        """One row for each run and score: what the parquet holds."""
        found = []
        for entry in self.entries:
            about = {
                "arm": entry.arm, "method": entry.method, "seed": entry.seed, "folder": str(entry.folder),
                "samples_per_second": entry.samples_per_second, "peak_memory_mib": entry.peak_memory, "seconds": entry.seconds,
                **{f"settings.{key}": value for key, value in entry.settings.items()},
            }
            for score in entry.evaluation.scores:
                found.append({**about, "row": score.row, "protocol": score.protocol, "metric": score.metric, "value": score.value})
        return found

    def write_parquet(self, path: Path) -> None:
        """``rows`` as a parquet file, replacing an older one; settings that an arm does not have are null."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows = self.rows()
        columns = list(dict.fromkeys(key for row in rows for key in row))
        table = pa.table({key: _column([row.get(key) for row in rows]) for key in columns})
        # pyarrow takes a path with a colon for an address, so it gets a file.
        with replacing(path, overwrite=True) as temporary, temporary.open("wb") as file:
            pq.write_table(table, file)

    def table(self) -> Group:
        """For rich: a line for each arm, then the verdicts."""
        from nearfar.comparison.table import rich_table

        return rich_table(self)


def _measured(evaluation: Evaluation, metric: str) -> bool:
    return any(score.metric == metric and score.row == "trained" for score in evaluation.scores)


def _column(values: Sequence[Any]) -> list[Any]:
    """Values of one type: settings of several types become text."""
    kinds = {type(value) for value in values if value is not None}
    return list(values) if len(kinds) <= 1 or kinds <= {int, float} else [None if value is None else str(value) for value in values]
