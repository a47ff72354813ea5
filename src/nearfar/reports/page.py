"""One self-contained page about one run: results, curves, a map of the embeddings, nearest neighbours, the configuration."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

import torch

from nearfar.evaluation.features import extract
from nearfar.files import write_text
from nearfar.reports.charts import curve, embedding_map, plane, script
from nearfar.reports.samples import element, pictures
from nearfar.run import CONFIG, Run
from nearfar.views import plain_view

_SHOWN, _QUERIES, _NEIGHBOURS = 400, 8, 6

_STYLE = """
:root { color-scheme: light dark; --line: #8885; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; } td, th { padding: .25rem .75rem; border-bottom: 1px solid var(--line); text-align: left; }
.scroll { overflow-x: auto; } .chart { width: 100%; } pre { overflow-x: auto; padding: 1rem; border: 1px solid var(--line); }
.row { display: flex; gap: .5rem; flex-wrap: wrap; align-items: start; border-bottom: 1px solid var(--line); padding: .5rem 0; }
figure { margin: 0; width: 5.5rem; font-size: .75rem; overflow-wrap: anywhere; } figure:first-child { border-right: 3px solid var(--line); }
img { image-rendering: pixelated; width: 4.5rem; background: #fff; }
"""


def write_page(run: Run, path: Path) -> Path:
    """Write the page, replacing an older one; opens without a network.

    Args:
        run: a run with an encoder.
        path: the page's file.
    """
    source, charts, sections = run.source(), {}, []
    samples = source.test or source.train
    index = torch.randperm(len(samples), generator=torch.Generator().manual_seed(0))[:_SHOWN].sort().values
    shown = samples.subset(index)
    features = extract(run.encoder(), shown, plain_view(source.spec))
    thumbnails = pictures(shown.take(torch.arange(len(shown))), shown.ids)
    names = _names(shown, source.spec.classes)

    sections.append(_section("Results", _results(run)))
    rows = run.metrics()
    for value, title in (("loss", "training loss"), ("knn", "online kNN accuracy"), ("effective_rank", "effective rank of the features")):
        if any(value in row for row in rows):
            charts[value] = curve(rows, value, title)
    charts |= _terms(rows)
    sections.append(_section("Learning curves", "".join(f'<div class="chart" id="{name}"></div>' for name in charts)))
    charts["map"] = embedding_map(_points(features, thumbnails, names, shown.ids), labelled=shown.label is not None)
    sections.append(_section(f"Map of {len(shown)} samples (two principal components)", '<div class="chart" id="map"></div>'))
    sections.append(_section("Nearest neighbours (query first)", _neighbours(features, thumbnails, names)))
    sections.append(_section("Configuration", f"<pre>{html.escape((run.folder / CONFIG).read_text(encoding='utf-8'))}</pre>"
                             f"<p>Repeat it with <code>nearfar pretrain --config {html.escape(str(run.folder / CONFIG))}</code></p>"))
    title = f"{run.config.method} on {source.spec.name}"
    write_text(path, _document(title, "".join(sections), charts), overwrite=True)
    return path


def _terms(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """A curve for each term of the loss and each diagnostic that the method logs, where there is more than the loss."""
    terms = [{"step": row["step"], **row["terms"]} for row in rows if "terms" in row]
    names = sorted({name for row in terms for name in row} - {"step"})
    return {f"term-{name}": curve(terms, name, name.replace("_", " ")) for name in names} if len(names) > 1 else {}


def _document(title: str, body: str, charts: dict[str, Any]) -> str:
    specifications = json.dumps(charts).replace("</", "<\\/")
    draw = (
        "const dark = matchMedia('(prefers-color-scheme: dark)').matches;"
        f"for (const [id, chart] of Object.entries({specifications}))"
        " vegaEmbed('#' + id, chart, {actions: false, theme: dark ? 'dark' : undefined,"
        " config: {background: 'transparent'}, tooltip: {sanitize: v => String(v)"
        ".replace(/&/g, '&amp;').replace(/</g, '&lt;')}});"
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>'
        f"<body><h1>{html.escape(title)}</h1>{body}<script>{script()}</script><script>{draw}</script></body></html>"
    )


def _section(title: str, content: str) -> str:
    return f"<section><h2>{html.escape(title)}</h2>{content}</section>"


def _results(run: Run) -> str:
    evaluation = run.evaluation()
    if evaluation is None:
        return f"<p>Not evaluated yet: <code>nearfar evaluate {html.escape(str(run.folder))}</code></p>"
    return f'<div class="scroll">{evaluation.to_html()}</div>'


def _names(samples: Any, classes: tuple[str, ...]) -> list[str]:
    if samples.label is None:
        return list(samples.ids)
    return [classes[value] if classes else f"{value:.3g}" for value in samples.label.tolist()]


def _points(features: torch.Tensor, thumbnails: list[str], names: list[str], ids: list[str]) -> list[dict[str, Any]]:
    rows = zip(plane(features).tolist(), thumbnails, names, ids, strict=True)
    return [{"x": x, "y": y, "label": name, "id": identity, "image": picture} for (x, y), picture, name, identity in rows]


def _neighbours(features: torch.Tensor, thumbnails: list[str], names: list[str]) -> str:
    unit = torch.nn.functional.normalize(features, dim=1)
    count = min(_NEIGHBOURS + 1, len(unit))
    queries = torch.linspace(0, len(unit) - 1, min(_QUERIES, len(unit))).long()
    similar = unit[queries] @ unit.T
    similar[torch.arange(len(queries)), queries] = float("inf")  # the query leads its own row
    rows = similar.topk(count, dim=1).indices.tolist()
    return "".join(f'<div class="row">{"".join(element(thumbnails[i], names[i]) for i in row)}</div>' for row in rows)
