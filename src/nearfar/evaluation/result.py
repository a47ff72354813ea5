"""The outcome of an evaluation: scores with their intervals, as JSON, as a table, as HTML."""

from __future__ import annotations

import html
import json
import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from nearfar.errors import UserError
from nearfar.evaluation.intervals import Interval

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Score:
    """One number.

    Attributes:
        row: what was judged: "trained", "random encoder", "raw input" or a control.
        protocol: versioned name, such as "knn-v1".
        metric: what was measured.
        value: the number; accuracies and recalls lie in [0, 1].
        low: end of its 95 % interval, NaN without one.
        high: the other end.
        over: what the interval is over: "test samples", "draws", or "" without one.
    """

    row: str
    protocol: str
    metric: str
    value: float
    low: float = math.nan
    high: float = math.nan
    over: str = ""


def score(row: str, protocol: str, metric: str, interval: Interval | float, over: str = "") -> Score:
    """A score from a number or from an interval."""
    if isinstance(interval, Interval):
        return Score(row, protocol, metric, interval.value, interval.low, interval.high, over)
    return Score(row, protocol, metric, interval)


@dataclass(frozen=True)
class Evaluation:
    """All scores of one encoder on one data set.

    Attributes:
        data: the data set's name.
        scores: one for each row and metric.
        protocols: versioned name to what it does.
        notes: what a reader must know.
    """

    data: str
    scores: tuple[Score, ...]
    protocols: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def rows(self) -> list[str]:
        """Names of the rows, in order."""
        return list(dict.fromkeys(s.row for s in self.scores))

    def metrics(self) -> list[str]:
        """Names of the metrics, in order."""
        return list(dict.fromkeys(s.metric for s in self.scores))

    def value(self, metric: str, row: str = "trained") -> float:
        """One number.

        Raises:
            UserError: if it was not measured.
        """
        found = self._found(metric, row)
        if found is None:
            raise UserError(f"There is no {metric!r} of {row!r}; measured were: {', '.join(self.metrics())}.")
        return found.value

    def to_json(self) -> str:
        """As JSON; NaN ends are null."""
        values = asdict(self)
        for one in values["scores"]:
            one.update({key: None for key in ("low", "high") if math.isnan(one[key])})
        return json.dumps(values, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Evaluation:
        """The inverse of ``to_json``."""
        values = json.loads(text)
        scores = tuple(Score(**{k: math.nan if v is None else v for k, v in one.items()}) for one in values["scores"])
        return cls(values["data"], scores, values["protocols"], tuple(values["notes"]))

    def table(self) -> Table:
        """As a rich table: a line for each metric, a column for each row."""
        from rich.table import Table

        table = Table(title=f"evaluation on {self.data}", title_justify="left", caption="\n".join(self._caption()), caption_justify="left")
        table.add_column("")
        for row in self.rows():
            table.add_column(row, justify="right")
        for metric in self.metrics():
            table.add_row(metric, *(_text(self._found(metric, row)) for row in self.rows()))
        return table

    def to_html(self) -> str:
        """As an HTML table."""
        head = "".join(f"<th scope='col'>{html.escape(row)}</th>" for row in self.rows())
        body = "".join(
            f"<tr><th scope='row'>{html.escape(metric)}</th>"
            + "".join(f"<td>{html.escape(_text(self._found(metric, row)))}</td>" for row in self.rows())
            + "</tr>"
            for metric in self.metrics()
        )
        caption = "".join(f"<p><small>{html.escape(line)}</small></p>" for line in self._caption())
        return f"<table><thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table>{caption}"

    def _caption(self) -> list[str]:
        return [*(f"{name}: {what}" for name, what in self.protocols.items()), *self.notes]

    def _found(self, metric: str, row: str) -> Score | None:
        return next((s for s in self.scores if (s.metric, s.row) == (metric, row)), None)


def _text(found: Score | None) -> str:
    if found is None:
        return "–"
    share = found.metric.rpartition(" ")[2] in ("accuracy", "recall@1", "recall@5", "recall@10", "zero-shot")
    scale, digits = (100, 1) if share else (1, 3)
    text = f"{scale * found.value:.{digits}f}"
    if not math.isnan(found.low):
        text += f" ({scale * found.low:.{digits}f}–{scale * found.high:.{digits}f})"
    return text
