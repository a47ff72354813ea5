"""The scores of an evaluation as tables of a page: each metric with what it says, rarely read ones
folded away.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence

from nearfar.evaluation.result import Evaluation
from nearfar.reports.meanings import is_rare, meaning
from nearfar.reports.palette import colours_of_rows, swatch


def scores_tables(evaluation: Evaluation) -> str:
    """All scores; a table for each set of rows that a protocol judged."""
    often: list[str] = []
    seldom: list[str] = []
    for rows, lines in evaluation.blocks():
        for shown, into in ((False, often), (True, seldom)):
            chosen = [(metric, cells) for metric, *cells in lines if is_rare(metric) == shown]
            if chosen:
                into.append(table(rows, chosen, colours_of_rows(evaluation.rows())))
    caption = "".join(f"<li>{html.escape(line)}</li>" for line in evaluation.caption())
    told = (
        "<p>Shares in %; in brackets 95 % intervals. ↑: high is better, ↓: low is better, ·: "
        "neither by itself.</p>"
    )
    measured = f"<details><summary>How this was measured</summary><ul>{caption}</ul></details>"
    return f"{told}{''.join(often)}{folded(''.join(seldom))}{measured}"


def folded(tables: str) -> str:
    """Tables of rarely read metrics, closed; "" for none."""
    return f"<details><summary>Rarely read</summary>{tables}</details>" if tables else ""


def table(
    columns: Sequence[str],
    lines: Iterable[tuple[str, Sequence[str]]],
    colours: Mapping[str, str],
) -> str:
    """A line for each metric, with its meaning below its name; on a phone each line is a block.

    Args:
        columns: names of the columns.
        lines: (metric, a cell for each column), as text; line ends in cells stay.
        colours: of columns, by name.
    """
    head = "".join(
        f"<th scope='col'>{swatch(colours[name]) if name in colours else ''}"
        f"{html.escape(name)}</th>"
        for name in columns
    )
    body = "".join(_line(columns, metric, cells) for metric, cells in lines)
    return (
        "<div class='scroll' tabindex='0'><table class='scores stack'><thead><tr><td></td>"
        f"{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _line(columns: Sequence[str], metric: str, cells: Sequence[str]) -> str:
    found = meaning(metric)
    name = html.escape(metric)
    if found is not None:
        name = f"{name} {found.sign()} <small>{html.escape(found.sentence())}</small>"
    values = "".join(
        f"<td data-row='{html.escape(column)}'><span>{_broken(cell)}</span></td>"
        for column, cell in zip(columns, cells, strict=True)
    )
    return f"<tr><th scope='row'>{name}</th>{values}</tr>"


def _broken(cell: str) -> str:
    first, *rest = cell.split("\n")
    return html.escape(first) + "".join(f"<br><small>{html.escape(line)}</small>" for line in rest)
