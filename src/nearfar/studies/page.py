"""One self-contained page about a study."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nearfar.files import write_text
from nearfar.reports.document import Section, document
from nearfar.runs.folder import REPORT
from nearfar.studies.outcome import Outcome


def write_study(outcome: Outcome, path: Path) -> Path:
    """Write the page, replacing an older one; opens without a network.

    Args:
        outcome: Of a study with at least one condition.
        path: The page's file, in the folder of the study.
    """
    made = [_scores(outcome)]
    if outcome.carried:
        made.append(_carried(outcome))
    made += [_verdicts(outcome), _paper(outcome)]
    lead = f"<p><b>{html.escape(outcome.study.question)}</b></p>"
    write_text(path, document(f"Study {outcome.name}", lead, made), overwrite=True)
    return path


def _scores(outcome: Outcome) -> Section:
    told = (
        "<p>Each cell: the metric that the verdicts of its condition rest on, with its 95 % "
        "interval by seeds and test samples. The mean rank is over the conditions under which the "
        "metric is defined of every method, 1 is best, and tells nothing of its own error.</p>"
    )
    return Section("Scores", told + _table(*outcome.lines()))


def _carried(outcome: Outcome) -> Section:
    told = (
        "<p>Encoders of one condition (lines) judged on the data of the others (columns), means "
        "over seeds; the last column leaves the own data out. A dash: the encoder does not take "
        "samples of that shape.</p>"
    )
    return Section("What carries over", told + _table(*outcome.carried_lines()))


def _verdicts(outcome: Outcome) -> Section:
    parts = []
    for condition, sentences in outcome.verdicts().items():
        items = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in sentences)
        link = html.escape(f"{condition}/{REPORT}", quote=True)
        head = f'<h3><a href="{link}">{html.escape(condition)}</a></h3>'
        parts.append(f"{head}<ul>{items}</ul>")
    return Section("Verdicts by condition", "".join(parts))


def _paper(outcome: Outcome) -> Section:
    paper = outcome.study.paper
    text = f"{paper.title} ({paper.authors}, {paper.year})"
    items = "".join(f"<li>{html.escape(one)}</li>" for one in paper.departures)
    conditions = "".join(
        f"<li><code>{html.escape(name)}</code>: {html.escape(_options(options))}</li>"
        for name, options in outcome.conditions.items()
    )
    body = f"<p>{html.escape(text)}</p><ul>{items}</ul><h3>Conditions</h3><ul>{conditions}</ul>"
    return Section("Where it comes from", body)


def _options(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in options.items())


def _table(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th scope='col'>{html.escape(name)}</th>" for name in columns)
    body = ""
    for first, *cells in lines:
        values = "".join(
            f"<td data-row='{html.escape(column)}'><span>{html.escape(cell)}</span></td>"
            for column, cell in zip(columns[1:], cells, strict=True)
        )
        body += f"<tr><th scope='row'>{html.escape(first)}</th>{values}</tr>"
    table = f"<table class='stack'><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f"<div class='scroll' tabindex='0'>{table}</div>"
