"""Charts as Vega-Lite specifications, and the script that draws them without a network."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import altair
from torch import Tensor

from nearfar.cache_folder import cache_folder
from nearfar.files import write_text

Row = dict[str, Any]


def script() -> str:
    """Vega, Vega-Lite and vega-embed as one script; made once for each version and kept in the cache folder."""
    version = ".".join(altair.SCHEMA_VERSION.lstrip("v").split(".")[:2])
    path = cache_folder() / f"vega-{version}.js"
    if path.exists():
        return path.read_text(encoding="utf-8")
    import vl_convert

    bundle: Any = vl_convert.javascript_bundle  # its stub asks for an argument that it can do without
    text: str = bundle(vl_version=version)
    with contextlib.suppress(OSError):  # a cache that cannot be written only costs the seconds to make the script again
        write_text(path, text, overwrite=True)
    return text


def curve(rows: list[Row], value: str, title: str) -> dict[str, Any]:
    """One quantity over the steps of the run."""
    points = [{"step": row["step"], value: row[value]} for row in rows if value in row]
    chart = altair.Chart({"values": points}, title=title, width="container", height=200).mark_line(point=len(points) < 40)
    chart = chart.encode(
        x=altair.X("step:Q", title="step"),
        y=altair.Y(f"{value}:Q", title=None, scale=altair.Scale(zero=False)),
        tooltip=["step:Q", altair.Tooltip(f"{value}:Q", format=".4f")],
    )
    return _specification(chart)


def embedding_map(points: list[Row], labelled: bool) -> dict[str, Any]:
    """Samples in the plane; hovering shows the sample (``image`` as a data address, or ``text``)."""
    tooltip = [key for key in ("image", "text", "label", "id") if key in points[0]]
    chart = altair.Chart({"values": points}, width="container", height=420).mark_circle(size=45, opacity=0.75)
    encoding: dict[str, Any] = {
        "x": altair.X("x:Q", axis=None),
        "y": altair.Y("y:Q", axis=None),
        "tooltip": [f"{key}:N" for key in tooltip],
    }
    if labelled:
        encoding["color"] = altair.Color("label:N", title="label")
    return _specification(chart.encode(**encoding).interactive())


def plane(features: Tensor) -> Tensor:
    """First two principal components of the unit features: (N, D) to (N, 2)."""
    import torch

    unit = torch.nn.functional.normalize(features, dim=1)
    centred = unit - unit.mean(0)
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    projected: Tensor = centred @ directions[:2].T
    return torch.nn.functional.pad(projected, (0, 2 - projected.shape[1]))


def _specification(chart: Any) -> dict[str, Any]:
    specification: dict[str, Any] = json.loads(chart.to_json())
    return specification
