"""Values with their intervals, side by side, in one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair

from nearfar.reports.charts import Chart, Row, colour_scale, specification, with_notes

_NEAR = 0.25
"""Share of the range of all values: an axis is rounded by at most about this."""


def intervals(
    rows: Sequence[Row], title: str, colours: Mapping[str, str], *, percent: bool = False
) -> Chart:
    """A point with its interval for each "arm": "value", "low", "high", within a "metric" where
    there are several.

    Args:
        rows: in order, of at least one value; ends that are None are not drawn. "each": the values
            of the single seeds, drawn as rings.
        title: of the chart.
        colours: of the arms, by name.
        percent: whether the values are shares, which are then shown in per cent.
    """
    scale = 100 if percent else 1
    shown = [row for row in rows if row["value"] is not None]
    values = [{**row, **_scaled(row, scale)} for row in shown]
    singles = [
        {"arm": row["arm"], "value": scale * one} for row in shown for one in row.get("each", ())
    ]
    arms = list(dict.fromkeys(row["arm"] for row in shown))
    metrics = list(dict.fromkeys(row["metric"] for row in shown if "metric" in row))
    place = _places(arms, metrics)
    place["color"] = altair.Color(
        "arm:N",
        title=None,
        legend=altair.Legend(orient="bottom") if metrics else None,
        scale=colour_scale(arms, colours),
    )
    axis = altair.Axis(tickCount=6, labelOverlap=True)
    bounds: dict[str, Any] = dict(_bounds(values)) if percent else {}
    scale_of_x = altair.Scale(zero=False, padding=12, **bounds)
    x: dict[str, Any] = {"title": None, "scale": scale_of_x, "axis": axis}
    number = ".1f" if percent else ".4f"
    about = ["metric:N"] if metrics else []
    ends = [
        altair.Tooltip(f"{key}:Q", format=number)
        for key in ("value", "low", "high")
        if any(row.get(key) is not None for row in values)
    ]
    points = (
        altair.Chart({"values": values})
        .mark_point(filled=True, size=90, opacity=1)
        .encode(x=altair.X("value:Q", **x), tooltip=[*about, "arm:N", *ends], **place)
    )
    layers = [points]
    known = [row for row in values if row["low"] is not None and row["high"] is not None]
    if known:
        bars = altair.Chart({"values": known}).mark_rule(strokeWidth=3)
        layers.insert(0, bars.encode(x=altair.X("low:Q", **x), x2="high:Q", **place))
    if singles:
        rings = altair.Chart({"values": singles}).mark_point(filled=False, size=50)
        told = ["arm:N", altair.Tooltip("value:Q", format=number, title="one seed")]
        layers.append(rings.encode(x=altair.X("value:Q", **x), tooltip=told, **place))
    chart = altair.layer(
        *layers,
        title=f"{title}, %" if percent else title,
        width="container",
        height=(16 if metrics else 34) * len(shown) + 14 * len(metrics) + 30,
    )
    return with_notes(specification(chart), longest=max(map(len, arms), default=0))


def _bounds(values: Sequence[Row]) -> dict[str, Any]:
    """Ends of the axis at 0 and 100 where shares lie so near to them that it would go beyond."""
    keys = ("value", "low", "high")
    ends = [row[key] for row in values for key in keys if row.get(key) is not None]
    room = _NEAR * (max(ends) - min(ends))
    found = {}
    if 0 <= min(ends) <= room:
        found["domainMin"] = 0
    if 100 - room <= max(ends) <= 100:
        found["domainMax"] = 100
    return found


def _scaled(row: Row, scale: float) -> Row:
    keys = ("value", "low", "high")
    return {
        "each": None,
        **{key: None if row.get(key) is None else scale * row[key] for key in keys},
    }


def _places(arms: Sequence[str], metrics: Sequence[str]) -> dict[str, Any]:
    """Where an arm's line is: by itself, or among those of its metric."""
    if not metrics:
        return {"y": altair.Y("arm:N", sort=list(arms), title=None)}
    of_metric = altair.Y(
        "metric:N", sort=list(metrics), title=None, scale=altair.Scale(paddingInner=0.3)
    )
    return {"y": of_metric, "yOffset": altair.YOffset("arm:N", sort=list(arms))}
