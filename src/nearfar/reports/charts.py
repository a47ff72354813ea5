"""Charts as Vega-Lite specifications, and the script that draws them without a network."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import altair
from torch import Tensor

from nearfar.cache_folder import cache_folder
from nearfar.files import write_text
from nearfar.runs.stored import finite_number

Row = dict[str, Any]
Chart = dict[str, Any]


def script() -> str:
    """Vega, Vega-Lite and vega-embed as one script; made once for each version and kept in the
    cache folder.
    """
    version = ".".join(altair.SCHEMA_VERSION.lstrip("v").split(".")[:2])
    path = cache_folder() / f"vega-{version}.js"
    if path.exists():
        return path.read_text(encoding="utf-8")
    import vl_convert

    bundle: Any = (
        vl_convert.javascript_bundle
    )  # its annotation wrongly requires an optional argument
    text: str = bundle(vl_version=version)
    with contextlib.suppress(
        OSError
    ):  # a cache that cannot be written only costs the seconds to make the script again
        write_text(path, text, overwrite=True)
    return text


def curve(rows: Sequence[Row], value: str, title: str) -> Chart:
    """One quantity over the steps of a run; rows of several runs are told apart by their "run".

    The quantity's name may be any text: it comes from a file. It stands in titles alone, never in a
    field's name.
    """
    shown = [row for row in rows if _is_number(row.get(value)) and _is_number(row.get("step"))]
    points = [
        {
            "step": row["step"],
            "value": row[value],
            **({"run": str(row["run"])} if "run" in row else {}),
        }
        for row in shown
    ]
    chart = altair.Chart({"values": points}, title=title, width="container", height=200).mark_line(
        point=len(points) < 40
    )
    encoding: dict[str, Any] = {
        "x": altair.X("step:Q", title="step"),
        "y": altair.Y("value:Q", title=None, scale=altair.Scale(zero=False)),
        "tooltip": ["step:Q", altair.Tooltip("value:Q", format=".4f")],
    }
    if any("run" in point for point in points):
        encoding["color"] = altair.Color(
            "run:N", title=None, legend=altair.Legend(orient="bottom", columns=2, labelLimit=320)
        )
        encoding["tooltip"].append("run:N")
    return _specification(chart.encode(**encoding))


def _is_number(value: object) -> bool:
    return finite_number(value) is not None


def embedding_map(points: Sequence[Row], colours: Mapping[str, str]) -> Chart:
    """Samples in the plane; hovering shows the sample, and a select box chooses what colours mean.

    Args:
        points: "x", "y", for the tooltip "image" (a data address), "caption", and a column for each
            colour.
        colours: column to what the select box calls it; the first is chosen at first.
    """
    columns = {
        column: f"colour{number}" for number, column in enumerate(colours)
    }  # names from files stay out of fields' names
    values = [{columns.get(key, key): value for key, value in point.items()} for point in points]
    told = {
        "image": "image",
        "caption": "caption",
        **{columns[column]: called for column, called in colours.items()},
    }
    shown = {key: called for key, called in told.items() if any(value.get(key) for value in values)}
    tooltip = [altair.Tooltip(f"{key}:N", title=called) for key, called in shown.items()]
    base = altair.Chart({"values": values}, width="container", height=420)
    encoding: dict[str, Any] = {
        "x": altair.X("x:Q", axis=None),
        "y": altair.Y("y:Q", axis=None),
        "tooltip": tooltip,
    }
    if not colours:
        return _specification(
            base.mark_circle(size=45, opacity=0.75).encode(**encoding).interactive()
        )
    keys = list(columns.values())
    choice = altair.binding_select(options=keys, labels=list(colours.values()), name="Colour by ")
    chosen = altair.param(name="colour", value=keys[0], bind=choice)
    encoding["color"] = altair.Color(
        "shown:N", title=None, legend=altair.Legend(orient="bottom", columns=6, symbolLimit=24)
    )
    chart = (
        base.transform_calculate(shown="datum[colour]")
        .mark_circle(size=45, opacity=0.75)
        .encode(**encoding)
        .add_params(chosen)
    )
    return _specification(chart.interactive())


def similarity_histograms(rows: Sequence[Row]) -> Chart:
    """Positive and negative similarities at the first, the middle and the last look, one panel
    each.
    """
    looks = [row for row in rows if "positive_similarity" in row]
    picked = [looks[place] for place in sorted({0, len(looks) // 2, len(looks) - 1})]
    points = []
    for row in picked:
        for kind in ("positive", "negative"):
            shares = row[f"{kind}_similarity"]
            width = 2 / len(shares)
            for place, share in enumerate(shares):
                start = -1 + place * width
                points.append(
                    {
                        "from": start,
                        "to": start + width,
                        "share": share,
                        "pairs": kind,
                        "step": f"step {row['step']}",
                    }
                )
    panel = (
        altair.Chart(height=130, width=220)
        .mark_bar(opacity=0.55)
        .encode(
            x=altair.X("from:Q", title="cosine", bin="binned"),
            x2="to:Q",
            y=altair.Y("share:Q", title=None, stack=None),
            color=altair.Color("pairs:N", title=None, legend=altair.Legend(orient="bottom")),
            tooltip=[
                "pairs:N",
                altair.Tooltip("from:Q", format=".2f"),
                altair.Tooltip("share:Q", format=".3f"),
            ],
        )
    )
    order = [f"step {row['step']}" for row in picked]
    chart = panel.properties(data={"values": points}).facet(
        facet=altair.Facet("step:N", title=None, sort=order), columns=3
    )
    return _specification(chart)


def confusion(counts: Tensor, classes: Sequence[str]) -> Chart:
    """(C, C) counts of true (row) against predicted class."""
    cells = [
        {"true": classes[row], "predicted": classes[column], "samples": int(counts[row, column])}
        for row in range(len(classes))
        for column in range(len(classes))
        if counts[row, column]
    ]
    side = min(28 * len(classes) + 40, 420)
    chart = (
        altair.Chart({"values": cells}, width=side, height=side)
        .mark_rect()
        .encode(
            x=altair.X("predicted:N", sort=list(classes), title="predicted"),
            y=altair.Y("true:N", sort=list(classes), title="true"),
            color=altair.Color("samples:Q", scale=altair.Scale(scheme="blues"), legend=None),
            tooltip=["true:N", "predicted:N", "samples:Q"],
        )
    )
    return _specification(chart)


def intervals(rows: Sequence[Row], title: str) -> Chart:
    """A point with its interval for each "arm": "value", "low", "high"; "kind" tells methods from
    baselines.
    """
    base = altair.Chart(
        {"values": list(rows)}, title=title, width="container", height=34 * len(rows) + 30
    )
    y = altair.Y(
        "arm:N", sort=[row["arm"] for row in rows], title=None, axis=altair.Axis(labelLimit=320)
    )
    colour = altair.Color("kind:N", legend=None)
    x = altair.X(
        "low:Q",
        title=None,
        scale=altair.Scale(zero=False),
        axis=altair.Axis(tickCount=8, labelOverlap=True),
    )
    bars = base.mark_rule(strokeWidth=3).encode(x=x, x2="high:Q", y=y, color=colour)
    tooltip = [
        "arm:N",
        *(altair.Tooltip(f"{key}:Q", format=".4f") for key in ("value", "low", "high")),
    ]
    points = base.mark_point(filled=True, size=90, opacity=1).encode(
        x="value:Q", y=y, color=colour, tooltip=tooltip
    )
    return _specification(bars + points)


def plane(features: Tensor) -> Tensor:
    """First two principal components of the unit features: (N, D) to (N, 2)."""
    import torch

    unit = torch.nn.functional.normalize(features, dim=1)
    centred = unit - unit.mean(0)
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    projected: Tensor = centred @ directions[:2].T
    return torch.nn.functional.pad(projected, (0, 2 - projected.shape[1]))


def _specification(chart: Any) -> Chart:
    specification: Chart = json.loads(chart.to_json())
    return specification
