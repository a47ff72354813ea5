"""One self-contained page about several runs, side by side: which is best, by how much, whether
that is sure, and what the views were.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from nearfar.comparison.result import Comparison
from nearfar.comparison.table import conditions, costs, difference_text, explanation, score_text
from nearfar.files import write_text
from nearfar.reports import sections
from nearfar.reports.charts import Chart, curve, embedding_map, intervals, plane
from nearfar.reports.document import Section, chart, document
from nearfar.reports.look import Look
from nearfar.runs.folder import Run

_BASELINES = ("random encoder", "raw input")
_MAPPED = 300
"""Samples in each arm's map: their pictures must not make the page large."""


def write_comparison(comparison: Comparison, path: Path) -> Path:
    """Write the page, replacing an older one; opens without a network.

    Args:
        comparison: of at least one arm; the first run of each arm is looked at.
        path: the page's file.
    """
    looks = {arm: _look(comparison, arm) for arm in comparison.arms()}
    made = [
        _scores(comparison),
        _costs(comparison),
        _curves(comparison),
        _maps(looks),
        *_views(looks),
        _recipes(comparison, looks),
    ]
    title = f"{' against '.join(comparison.arms())} on {comparison.data}"
    write_text(path, document(title, _lead(comparison), made), overwrite=True)
    return path


def _look(comparison: Comparison, arm: str) -> Look:
    run = Run(comparison.of(arm)[0].folder)
    return Look(run, run.source())


def _lead(comparison: Comparison) -> str:
    """The verdict: the best arm if that is sure, and a sentence for each other one; every pair
    below it.
    """
    metric = comparison.judged[0]
    arms = comparison.arms()
    best = comparison.best()
    if best is not None:
        unit = " %" if comparison.unit(metric) == "%" else ""
        told = (
            f"Best by {metric}: {best}, {score_text(comparison, best, metric)}{unit}; "
            f"{conditions(comparison)}."
        )
    elif len(arms) > 1:
        told = f"No method is surely the best by {metric}; {conditions(comparison)}."
    else:
        told = f"{arms[0]}: {conditions(comparison)}."
    items = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in comparison.verdicts())
    pairs = ""
    if len(arms) > 2:
        every = "".join(
            f"<li>{html.escape(sentence)}</li>" for sentence in comparison.verdicts_of_pairs()
        )
        pairs = (
            "<details><summary>Every pair, corrected for their "
            f"number</summary><ul>{every}</ul></details>"
        )
    return f"<p><b>{html.escape(told)}</b></p><ul>{items}</ul>{pairs}"


def _scores(comparison: Comparison) -> Section:
    rows: list[dict[str, Any]] = []
    for arm in comparison.arms():
        rows.append(
            {"arm": arm, "kind": "method", **comparison.mean(arm, comparison.headline)._asdict()}
        )
    for row in _baselines(comparison):
        rows.append(
            {
                "arm": row,
                "kind": "baseline",
                **comparison.mean(comparison.arms()[0], comparison.headline, row)._asdict(),
            }
        )
    rows = [{key: None if value != value else value for key, value in row.items()} for row in rows]
    baselines = _baselines(comparison)
    head = "".join(
        f"<th scope='col'>{html.escape(name)}</th>" for name in (*comparison.arms(), *baselines)
    )
    body = "".join(_line(comparison, metric, baselines) for metric in comparison.metrics())
    top = f"<thead><tr><td></td>{head}</tr></thead>"
    table = f"<table class='scores'>{top}<tbody>{body}</tbody></table>"
    place = chart("scores", f"{comparison.headline} of each arm with its interval")
    told = explanation(comparison)
    told = html.escape(f"{told[0].upper()}{told[1:]}.")
    body = f"{place}<p>{told}</p><div class='scroll' tabindex='0'>{table}</div>"
    return Section("Scores", body, {"scores": intervals(rows, comparison.headline)})


def _baselines(comparison: Comparison) -> list[str]:
    first = comparison.entries[0].evaluation
    return [
        row
        for row in _BASELINES
        if any((s.row, s.metric) == (row, comparison.headline) for s in first.scores)
    ]


def _line(comparison: Comparison, metric: str, baselines: Sequence[str]) -> str:
    """One metric: each arm with its difference to the first, then the baselines."""
    first = comparison.arms()[0]
    cells = [score_text(comparison, first, metric)]
    for arm in comparison.arms()[1:]:
        difference = difference_text(comparison, arm, metric)
        cells.append(f"{score_text(comparison, arm, metric)}<br><small>({difference})</small>")
    judged = {s.row for s in comparison.entries[0].evaluation.scores if s.metric == metric}
    cells += [
        score_text(comparison, first, metric, row) if row in judged else "–" for row in baselines
    ]
    values = "".join(f"<td>{cell}</td>" for cell in cells)
    return f"<tr><th scope='row'>{html.escape(metric)}</th>{values}</tr>"


def _costs(comparison: Comparison) -> Section:
    head = (
        "<tr><td></td><th scope='col'>samples/s</th><th scope='col'>peak memory, MiB</th><th "
        "scope='col'>seconds of training</th></tr>"
    )
    body = ""
    for arm in comparison.arms():
        cells = "".join(f"<td>{html.escape(text)}</td>" for text in costs(comparison, arm))
        body += f"<tr><th scope='row'>{html.escape(arm)}</th>{cells}</tr>"
    return Section(
        "Costs", f"<p>Medians over seeds.</p><div class='scroll'><table>{head}{body}</table></div>"
    )


def _curves(comparison: Comparison) -> Section:
    rows = [
        {**row, "run": entry.arm}
        for arm in comparison.arms()
        for entry in comparison.of(arm)[:1]
        for row in Run(entry.folder).metrics()
    ]
    charts: dict[str, Chart] = {}
    for value, title in (
        ("knn", "online kNN accuracy"),
        ("effective_rank", "effective rank of the features"),
    ):
        if any(value in row for row in rows):
            charts[f"curve-{value}"] = curve(rows, value, title)
    places = "".join(
        chart(name, f"{spec['title']} over the steps, one line an arm")
        for name, spec in charts.items()
    )
    told = (
        "First seed of each arm. Losses of different methods cannot be compared and are not shown."
    )
    return Section("Learning curves", f'<p>{told}</p><div class="side">{places}</div>', charts)


def _maps(looks: dict[str, Look]) -> Section:
    charts: dict[str, Chart] = {}
    places = []
    for number, (arm, look) in enumerate(looks.items()):
        rows = list(zip(plane(look.features).tolist(), look.captions, look.labels, strict=True))
        drawn = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[
            :_MAPPED
        ].tolist()  # samples lie class by class
        points = [
            {"x": rows[n][0][0], "y": rows[n][0][1], "caption": rows[n][1], "label": rows[n][2]}
            for n in drawn
        ]
        coloured = {"label": "label"} if look.source.spec.target == "class" else {}
        charts[f"map-{number}"] = embedding_map(points, coloured)
        place = chart(f"map-{number}", f"Map of the embeddings of {arm}")
        places.append(f"<div><h3>{html.escape(arm)}</h3>{place}</div>")
    told = (
        "<p>Test samples by the two principal components of their features; first seed of each "
        "arm.</p>"
    )
    return Section(
        "Maps of the embeddings", f'{told}<div class="side">{"".join(places)}</div>', charts
    )


def _views(looks: dict[str, Look]) -> list[Section]:
    """The views of each method; methods with the same views share a section."""
    bodies: dict[str, list[str]] = {}
    for arm, look in looks.items():
        bodies.setdefault(sections.views(look).body, []).append(arm)
    return [
        Section(f"What the views look like: {', '.join(arms)}", body)
        for body, arms in bodies.items()
    ]


def _recipes(comparison: Comparison, looks: dict[str, Look]) -> Section:
    parts = []
    for arm, look in looks.items():
        pages = "".join(
            f"<li><code>{html.escape(str(entry.folder))}</code></li>"
            for entry in comparison.of(arm)
        )
        parts.append(f"<h3>{html.escape(arm)}</h3><ul>{pages}</ul>{sections.recipe(look).body}")
    return Section("How they were made", "".join(parts))
