"""Maps of samples in the plane, by principal components or by t-SNE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair
from torch import Tensor

from nearfar.reports.charts import Chart, Row, specification, with_notes
from nearfar.reports.palette import COLOURS, at_most_colours, marks_of


def embedding_map(
    points: Sequence[Row], colours: Mapping[str, str], *, shared: str | None = None
) -> Chart:
    """Samples in the plane; hovering shows the sample, and a select box chooses what colours mean.

    No colour and mark stands for two values: where there are more than 20, the rarest are joined.

    Args:
        points: "x", "y", for the tooltip "image" (a data address), "caption", and a column for each
            colour.
        colours: column to what the select box calls it; the first is chosen at first.
        shared: the name of pictures that several maps share, which the page holds once; each point
            has its place among them as "sample" then, and no "image".
    """
    columns = {
        column: f"colour{number}" for number, column in enumerate(colours)
    }  # names from files stay out of fields' names
    joined = {key: at_most_colours([str(point[key]) for point in points]) for key in columns}
    values = [
        {
            columns.get(key, key): joined[key][row] if key in joined else value
            for key, value in point.items()
        }
        for row, point in enumerate(points)
    ]
    told = {
        "image": "image",
        "caption": "caption",
        **{columns[column]: called for column, called in colours.items()},
    }
    shown = {
        key: called
        for key, called in told.items()
        if any(value.get(key) for value in values) or (shared and key == "image")
    }
    tooltip = [altair.Tooltip(f"{key}:N", title=called) for key, called in shown.items()]
    base = altair.Chart({"values": values}, width="container", height=380)
    if shared:
        pictures = altair.LookupData(
            data=altair.NamedData(name=shared), key="sample", fields=["image"]
        )
        base = base.transform_lookup(lookup="sample", from_=pictures)
    encoding: dict[str, Any] = {
        "x": altair.X("x:Q", axis=None, scale=altair.Scale(zero=False, padding=12)),
        "y": altair.Y("y:Q", axis=None, scale=altair.Scale(zero=False, padding=12)),
        "tooltip": tooltip,
    }
    mark: dict[str, Any] = {"filled": True, "size": 45, "opacity": 0.8}
    longest = max((len(word) for of in joined.values() for word in of), default=0)
    notes = {"longest": longest, **({"shared": shared} if shared else {})}
    if not colours:
        chart = base.mark_point(**mark).encode(**encoding).interactive()
        return with_notes(specification(chart), **notes)
    keys = list(columns.values())
    title = next(iter(colours.values())) if len(keys) == 1 else None  # else the box has the name
    legend = altair.Legend(orient="bottom", symbolLimit=24)
    domain: Any = altair.Undefined
    fills, shapes = marks_of([""] * len(COLOURS))
    if len(keys) == 1:  # a value has its colour on every map, also where a map lacks another value
        domain = sorted(set(*joined.values()))
        fills, shapes = marks_of(domain)
    encoding["color"] = altair.Color(
        "shown:N", title=title, legend=legend, scale=altair.Scale(domain=domain, range=fills)
    )
    encoding["shape"] = altair.Shape(
        "shown:N", title=title, legend=legend, scale=altair.Scale(domain=domain, range=shapes)
    )
    if len(keys) == 1:
        base = base.transform_calculate(shown=f"datum.{keys[0]}")
        chart = base.mark_point(**mark).encode(**encoding)
    else:
        names = list(colours.values())
        choice = altair.binding_select(options=keys, labels=names, name="Colour by ")
        chosen = altair.param(name="colour", value=keys[0], bind=choice)
        base = base.transform_calculate(shown="datum[colour]")
        chart = base.mark_point(**mark).encode(**encoding).add_params(chosen)
    return with_notes(specification(chart.interactive()), **notes)


def plane(features: Tensor) -> Tensor:
    """First two principal components of the unit features: (N, D) to (N, 2)."""
    import torch

    unit = torch.nn.functional.normalize(features, dim=1)
    centred = unit - unit.mean(0)
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    projected: Tensor = centred @ directions[:2].T
    return torch.nn.functional.pad(projected, (0, 2 - projected.shape[1]))


def neighbourhoods(features: Tensor) -> Tensor:
    """t-SNE of the unit features by cosine: (N, D) to (N, 2); the same features give the same map.

    Source: van der Maaten and Hinton 2008, "Visualizing data using t-SNE".
    """
    import torch
    from sklearn.manifold import TSNE

    unit = torch.nn.functional.normalize(features.float(), dim=1)
    start = plane(features)
    start = 1e-4 * start / start[:, 0].std().clamp(min=1e-9)
    perplexity = min(30.0, max(1.0, (len(unit) - 1) / 3))
    made = TSNE(
        metric="cosine", init=start.numpy(), perplexity=perplexity, random_state=0, n_jobs=1
    )
    return torch.from_numpy(made.fit_transform(unit.numpy()))
