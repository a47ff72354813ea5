"""The outcome of an evaluation: scores with their intervals, as JSON, as a table, as HTML."""

from __future__ import annotations

import dataclasses
import html
import json
import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Literal

from nearfar.errors import UserError, unknown_name
from nearfar.evaluation.answers import Answers
from nearfar.stored import field_of, parsed_json, record, with_null

if TYPE_CHECKING:
    from rich.console import Group


BASELINES = ("random encoder", "raw input", "simple features")
"""The rows that a trained encoder is compared with."""

MEND = "remove it and judge the run again with `nearfar evaluate`"
"""What to do about a damaged evaluation."""


@dataclass(frozen=True)
class Score:
    """One number.

    Attributes:
        row: what was judged: "trained", "random encoder", "raw input" or a control.
        protocol: versioned name, such as "knn-v1".
        metric: what was measured.
        value: the number; a share lies in [0, 1]. NaN where it is undefined.
        low: end of its 95 % interval, NaN without one.
        high: the other end.
        over: what the interval is over: "test samples", "draws", or "" without one.
        count: how many of these there were, 0 without an interval.
        unit: "%" for a share (shown times 100), otherwise "".
        setting: what the probe chose, or how many labels it saw.
        better: "higher" or "lower", whichever is the better score; "" where neither is.
    """

    row: str
    protocol: str
    metric: str
    value: float
    low: float = math.nan
    high: float = math.nan
    over: str = ""
    count: int = 0
    unit: str = ""
    setting: str = ""
    better: Literal["higher", "lower", ""] = "higher"

    def text(self) -> str:
        """The number and its interval as the table shows them: "87.3 (85.0–89.4)"."""
        scale, digits = (100, 1) if self.unit == "%" else (1, 3)
        if math.isnan(self.value):
            return "undefined"
        text = f"{scale * self.value:.{digits}f}"
        if math.isnan(self.low):
            return text
        dash = "–" if self.low >= 0 else " to "
        return f"{text} ({scale * self.low:.{digits}f}{dash}{scale * self.high:.{digits}f})"


@dataclass(frozen=True)
class Evaluation:
    """All scores of one encoder on one data set, beside its baselines and controls.

    Attributes:
        data: the data set's name.
        scores: one for each row and metric.
        protocols: versioned name to what it does.
        notes: what a reader must know.
        answers: what each test sample adds to some scores; kept in a file of its own.
    """

    data: str
    scores: tuple[Score, ...]
    protocols: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    answers: Answers = field(default_factory=Answers, compare=False, repr=False)

    def rows(self) -> list[str]:
        """Names of the rows, in order."""
        return list(dict.fromkeys(s.row for s in self.scores))

    def metrics(self) -> list[str]:
        """Names of the metrics, in order."""
        return list(dict.fromkeys(s.metric for s in self.scores))

    def score(self, metric: str, row: str = "trained") -> Score:
        """One score.

        Raises:
            UserError: if it was not measured.
        """
        found = next((s for s in self.scores if (s.metric, s.row) == (metric, row)), None)
        if found is None:
            raise UserError(
                f"There is no {metric!r} of {row!r}; measured were {', '.join(self.metrics())} of "
                f"{', '.join(self.rows())}."
            )
        return found

    def value(self, metric: str, row: str = "trained") -> float:
        """The number of ``score``."""
        return self.score(metric, row).value

    def updated(self, other: Evaluation) -> Evaluation:
        """This evaluation with the protocols of a later one on the same data: where both have a
        protocol, in any version, the later stands.
        """

        def name(protocol: str) -> str:
            return protocol.rpartition("-v")[0]

        anew = {name(protocol) for protocol in other.protocols}
        scores = (*(s for s in self.scores if name(s.protocol) not in anew), *other.scores)
        kept = {
            protocol: what
            for protocol, what in self.protocols.items()
            if name(protocol) not in anew
        }
        notes = tuple(dict.fromkeys((*self.notes, *other.notes)))
        return Evaluation(
            other.data,
            scores,
            {**kept, **other.protocols},
            notes,
            self.answers.updated(other.answers),
        )

    def to_json(self) -> str:
        """As JSON; NaN is null."""
        values = asdict(dataclasses.replace(self, answers=Answers()))
        del values["answers"]
        values["scores"] = with_null(values["scores"])
        return json.dumps(values, indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str = "the evaluation") -> Evaluation:
        """The inverse of ``to_json``.

        Raises:
            UserError: if the text is no evaluation; ``where`` says which file it comes from.
        """
        values = parsed_json(text, where, MEND)
        scores = field_of(values, "scores", list, where)
        if "answers" in values:
            raise unknown_name(
                f"field in {where}", "answers", ("data", "scores", "protocols", "notes")
            )
        found = tuple(
            record(Score, one, f"score {number} of {where}") for number, one in enumerate(scores)
        )
        return record(cls, {**values, "scores": found}, where)

    def table(self) -> Group:
        """For rich: a line for each metric, a column for each row; protocols with other rows get a
        table of their own.
        """
        from rich.box import SIMPLE
        from rich.console import Group
        from rich.markup import escape
        from rich.table import Table

        tables = []
        for rows, lines in self.blocks():
            table = Table("", box=SIMPLE)
            for row in rows:
                table.add_column(escape(row), justify="right")
            for line in lines:
                table.add_row(*map(escape, line))
            tables.append(table)
        return Group(
            escape(f"evaluation on {self.data}"), *tables, escape("\n".join(self.caption()))
        )

    def to_html(self) -> str:
        """The same in HTML."""
        tables = []
        for rows, lines in self.blocks():
            head = "".join(f"<th scope='col'>{html.escape(row)}</th>" for row in rows)
            body = ""
            for metric, *cells in lines:
                values = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
                body += f"<tr><th scope='row'>{html.escape(metric)}</th>{values}</tr>"
            tables.append(
                f"<table><thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table>"
            )
        return "".join(tables) + "".join(
            f"<p><small>{html.escape(line)}</small></p>" for line in self.caption()
        )

    def blocks(self) -> list[tuple[list[str], list[list[str]]]]:
        """Protocols that judged the same rows, together: the rows, and for each metric its name and
        cells.
        """
        cells = {(s.metric, s.row): s.text() for s in self.scores}
        metrics: dict[tuple[str, ...], dict[str, None]] = {}
        for protocol in dict.fromkeys(s.protocol for s in self.scores):
            scores = [s for s in self.scores if s.protocol == protocol]
            rows = tuple(row for row in self.rows() if row in {s.row for s in scores})
            metrics.setdefault(rows, {}).update(dict.fromkeys(s.metric for s in scores))
        return [
            (list(rows), [[m, *(cells.get((m, row), "–") for row in rows)] for m in names])
            for rows, names in metrics.items()
        ]

    def caption(self) -> list[str]:
        """What stands under the table: units, protocols and notes."""
        return [
            "Shares in %; in brackets 95 % intervals.",
            *(f"{name}: {what}" for name, what in self.protocols.items()),
            *self.notes,
        ]
