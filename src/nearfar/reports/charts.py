"""Charts as Vega-Lite specifications, and the script that draws them without a network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import altair
from torch import Tensor

from nearfar.reports.palette import COLOURS, PAIRS
from nearfar.stored import finite_number

Row = dict[str, Any]
Chart = dict[str, Any]


def script() -> str:
    """Vega, Vega-Lite and vega-embed as one script; they lie in ``scripts`` with their licences."""
    folder = resources.files("nearfar.reports").joinpath("scripts")
    texts = [
        folder.joinpath(f"{name}.min.js").read_text(encoding="utf-8")
        for name in ("vega", "vega-lite", "vega-embed")
    ]
    return "\n".join(texts)


def curve(
    rows: Sequence[Row],
    value: str,
    title: str,
    *,
    percent: bool = False,
    colours: Mapping[str, str] | None = None,
    levels: Mapping[str, float] | None = None,
) -> Chart:
    """One quantity over the steps of a run; rows of several runs are told apart by their "run".

    The quantity's name may be any text: it comes from a file. It stands in titles alone, never in a
    field's name.

    Args:
        rows: with "step", the value and perhaps "run".
        value: the quantity's key.
        title: of the chart.
        percent: whether the value is a share, which is then shown in per cent.
        colours: of runs and levels, by name.
        levels: values that are drawn as dashed lines, by name; in the unit of ``value``.
    """
    scale = 100 if percent else 1
    title = f"{title}, %" if percent else title
    shown = [row for row in rows if _is_number(row.get(value)) and _is_number(row.get("step"))]
    named = bool(levels) or any("run" in row for row in shown)
    points = [
        {
            "step": row["step"],
            "value": scale * row[value],
            **({"run": str(row.get("run", "this run"))} if named else {}),
        }
        for row in shown
    ]
    alone = len(points) == 1
    base = altair.Chart({"values": points}, title=title, width="container", height=200)
    chart = (
        base.mark_point(filled=True, size=70) if alone else base.mark_line(point=len(points) < 40)
    )
    encoding: dict[str, Any] = {
        "x": altair.X(
            "step:Q", title="step", axis=altair.Axis(tickMinStep=1, tickCount=6, format=",d")
        ),
        "y": altair.Y("value:Q", title=None, scale=altair.Scale(zero=False)),
        "tooltip": ["step:Q", altair.Tooltip("value:Q", format=".4f")],
    }
    if not named:
        encoding["color"] = altair.value(COLOURS[0])
        return specification(chart.encode(**encoding))
    names = list(dict.fromkeys([*(point["run"] for point in points), *(levels or {})]))
    encoding["color"] = altair.Color(
        "run:N",
        title=None,
        legend=altair.Legend(orient="bottom"),
        scale=colour_scale(names, colours or {}),
    )
    encoding["tooltip"].append("run:N")
    chart = chart.encode(**encoding)
    if not levels:
        return with_notes(specification(chart), longest=max(map(len, names)))
    lines = [{"run": name, "value": scale * level} for name, level in levels.items()]
    rules = (
        altair.Chart({"values": lines})
        .mark_rule(strokeDash=[5, 4], strokeWidth=2)
        .encode(
            y="value:Q",
            color=encoding["color"],
            tooltip=["run:N", altair.Tooltip("value:Q", format=".1f")],
        )
    )
    layered = altair.layer(chart, rules, title=title, width="container", height=200)
    return with_notes(specification(layered), longest=max(map(len, names)))


def colour_scale(names: Sequence[str], colours: Mapping[str, str]) -> Any:
    """A scale with the colour of each name; names without one take those that are left."""
    left = iter(colour for colour in COLOURS if colour not in colours.values())
    return altair.Scale(
        domain=list(names),
        range=[colours[name] if name in colours else next(left, COLOURS[0]) for name in names],
    )


def _is_number(value: object) -> bool:
    return finite_number(value) is not None


def similarity_histograms(rows: Sequence[Row]) -> dict[str, Chart]:
    """Positive and negative similarities at the first, the middle and the last look, a chart for
    each, all over the range that the data fill.
    """
    looks = [row for row in rows if "positive_similarity" in row]
    picked = [looks[place] for place in sorted({0, len(looks) // 2, len(looks) - 1})]
    kinds = tuple(PAIRS)
    edges = [
        edge
        for row in picked
        for kind in kinds
        for start, end, share in _bins(row[f"{kind}_similarity"])
        if share > 0
        for edge in (start, end)
    ]
    domain = [min(edges, default=-1.0), max(edges, default=1.0)]
    made: dict[str, Chart] = {}
    for number, row in enumerate(picked):
        points = [
            {"from": start, "to": end, "share": 100 * share, "pairs": kind}
            for kind in kinds
            for start, end, share in _bins(row[f"{kind}_similarity"])
            if share > 0
        ]
        chart = (
            altair.Chart(
                {"values": points}, title=f"step {row['step']}", width="container", height=140
            )
            .mark_bar(opacity=0.6)
            .encode(
                x=altair.X(
                    "from:Q",
                    title="cosine",
                    bin="binned",
                    scale=altair.Scale(domain=domain),
                    axis=altair.Axis(tickCount=6, labelOverlap=True),
                ),
                x2="to:Q",
                y=altair.Y("share:Q", title="% of the pairs", stack=None),
                color=altair.Color(
                    "pairs:N",
                    title=None,
                    legend=altair.Legend(orient="bottom"),
                    scale=altair.Scale(domain=list(kinds), range=list(PAIRS.values())),
                ),
                tooltip=[
                    "pairs:N",
                    altair.Tooltip("from:Q", format=".2f"),
                    altair.Tooltip("share:Q", format=".1f"),
                ],
            )
        )
        made[f"similarities-{number}"] = specification(chart)
    return made


def _bins(shares: Sequence[float]) -> list[tuple[float, float, float]]:
    """Start, end and share of each of the even bins from -1 to 1."""
    width = 2 / len(shares)
    return [
        (round(-1 + place * width, 6), round(-1 + (place + 1) * width, 6), share)
        for place, share in enumerate(shares)
    ]


def confusion(counts: Tensor, classes: Sequence[str]) -> Chart:
    """(C, C) counts of true (row) against predicted class: the number in each cell, coloured by its
    share of the row on one scale from 0 to 1, the same in both themes.
    """
    totals = counts.sum(dim=1).clamp(min=1)
    cells = [
        {
            "true": classes[row],
            "predicted": classes[column],
            "samples": int(counts[row, column]),
            "share": round(float(counts[row, column] / totals[row]), 4),
        }
        for row in range(len(classes))
        for column in range(len(classes))
    ]
    cell = 30 if len(classes) <= 12 else 22
    side = cell * max(len(classes), 4)
    base = altair.Chart({"values": cells}, width=side, height=side).encode(
        x=altair.X(
            "predicted:N",
            sort=list(classes),
            title="predicted",
            axis=altair.Axis(labelAngle=-90, labelLimit=90),
        ),
        y=altair.Y("true:N", sort=list(classes), title="true", axis=altair.Axis(labelLimit=90)),
        tooltip=[
            "true:N",
            "predicted:N",
            "samples:Q",
            altair.Tooltip("share:Q", format=".1%", title="share of the true class"),
        ],
    )
    squares = base.mark_rect().encode(
        color=altair.Color(
            "share:Q",
            scale=altair.Scale(domain=[0, 1], range=list(_PALE_TO_DARK)),
            legend=altair.Legend(
                title="share of the true class",
                format=".0%",
                orient="bottom",
                gradientLength=120,
                values=[0, 0.5, 1],
            ),
        )
    )
    numbers = (
        base.transform_filter("datum.samples > 0")
        .mark_text(fontSize=11 if cell == 30 else 9)
        .encode(
            text="samples:Q",
            color=altair.condition(
                "datum.share > 0.5", altair.value("#ffffff"), altair.value("#101828")
            ),
        )
    )
    return with_notes(specification(squares + numbers), cells=len(classes))


_PALE_TO_DARK = ("#eef3fc", "#12357f")
"""The two ends of the scale of a confusion matrix."""


def with_notes(chart: Chart, **notes: Any) -> Chart:
    """The chart with notes for the page's script.

    Args:
        chart: a specification.
        notes: "longest": letters of the longest word of the legend; "cells": cells along a side;
            "shared": whether the chart reads rows that the page holds once.
    """
    return {**chart, "usermeta": notes}


def specification(chart: Any) -> Chart:
    specification: Chart = json.loads(chart.to_json())
    return specification
