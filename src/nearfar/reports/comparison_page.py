"""One self-contained page about several runs, side by side: which is best, by how much, whether
that is sure, and what the views were.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from nearfar.assembly.opened import source_of
from nearfar.comparison.result import Comparison
from nearfar.comparison.table import conditions, costs, difference_text, explanation, score_text
from nearfar.files import write_text
from nearfar.reports import score_tables, sections
from nearfar.reports.charts import Chart, curve
from nearfar.reports.document import Section, chart, document
from nearfar.reports.facts import facts_of_several, line
from nearfar.reports.intervals import intervals
from nearfar.reports.look import Look
from nearfar.reports.maps import embedding_map, neighbourhoods, plane
from nearfar.reports.meanings import is_rare
from nearfar.reports.palette import colours_of_arms, colours_of_baselines, swatch
from nearfar.reports.pictures import view_section
from nearfar.reports.pictures.sample_sections import FEWEST_MAPPED
from nearfar.runs.folder import RunFolder
from nearfar.stored import finite_number

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
        _maps(comparison, looks),
        *_views(looks),
        _recipes(comparison, looks),
    ]
    facts = line(
        facts_of_several(
            list(looks.values()), [RunFolder(entry.folder) for entry in comparison.entries]
        )
    )
    title = f"{' against '.join(comparison.arms())} on {comparison.data}"
    write_text(path, document(title, facts + _lead(comparison), made), overwrite=True)
    return path


def _look(comparison: Comparison, arm: str) -> Look:
    run = RunFolder(comparison.of(arm)[0].folder)
    return Look(run, source_of(run))


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
    percent = comparison.unit(comparison.headline) == "%"
    arms = comparison.arms()
    headline = comparison.headline
    judged = {s.row for s in comparison.entries[0].evaluation.scores if s.metric == headline}
    baselines = [row for row in comparison.baselines if row in judged]
    asked = [(arm, arm, "trained") for arm in arms] + [(row, arms[0], row) for row in baselines]
    rows: list[dict[str, Any]] = []
    for name, arm, row in asked:
        found = comparison.mean(arm, comparison.headline, row)._asdict()
        ends = {key: None if math.isnan(end) else end for key, end in found.items()}
        each = comparison.values(arm, comparison.headline, row)
        seeds = [value for value in each if not math.isnan(value)] if len(each) > 1 else []
        rows.append({"arm": name, "each": seeds, **ends})
    colours = _colours(comparison)
    often: list[tuple[str, list[str]]] = []
    seldom: list[tuple[str, list[str]]] = []
    for metric in comparison.metrics():
        cells = _cells(comparison, metric, baselines)
        (seldom if is_rare(metric) else often).append((metric, cells))
    columns = [*arms, *baselines]
    tables = score_tables.table(columns, often, colours) if often else ""
    rest = score_tables.table(columns, seldom, colours) if seldom else ""
    charts: dict[str, Chart] = {}
    place = ""
    if any(row["value"] is not None for row in rows):
        title = comparison.headline
        charts["scores"] = intervals(rows, title, colours, percent=percent)
        seeds_told = ", and a ring for each seed" if any(row["each"] for row in rows) else ""
        place = chart("scores", f"{title} of each arm with its interval{seeds_told}")
    told = explanation(comparison)
    told = html.escape(f"{told[0].upper()}{told[1:]}.")
    if any(row["each"] for row in rows):
        told += " A dot is the mean, a ring one seed."
    told += " ↑: high is better, ↓: low is better, ·: neither by itself."
    return Section(
        "Scores",
        f"{place}<p>{told}</p>{tables}{score_tables.folded(rest)}",
        charts,
    )


def _colours(comparison: Comparison) -> dict[str, str]:
    """The colour of each arm and each baseline, the same on the whole page."""
    arms = colours_of_arms(comparison.arms())
    return {**arms, **colours_of_baselines(comparison.baselines, list(arms.values()))}


def _cells(comparison: Comparison, metric: str, baselines: Sequence[str]) -> list[str]:
    """One metric: each arm with its difference to the first below it, then the baselines."""
    first = comparison.arms()[0]
    cells = [score_text(comparison, first, metric)]
    for arm in comparison.arms()[1:]:
        difference = difference_text(comparison, arm, metric)
        cells.append(f"{score_text(comparison, arm, metric)}\n({difference})")
    judged = {s.row for s in comparison.entries[0].evaluation.scores if s.metric == metric}
    return cells + [
        score_text(comparison, first, metric, row) if row in judged else "–" for row in baselines
    ]


def _costs(comparison: Comparison) -> Section:
    colours = _colours(comparison)
    columns = ("samples/s", "peak memory, MiB", "seconds of training")
    head = "".join(f"<th scope='col'>{name}</th>" for name in columns)
    body = ""
    for arm in comparison.arms():
        cells = "".join(
            f"<td data-row='{column}'><span>{html.escape(text)}</span></td>"
            for column, text in zip(columns, costs(comparison, arm), strict=True)
        )
        name = f"{swatch(colours[arm])}{html.escape(arm)}"
        body += f"<tr><th scope='row'>{name}</th>{cells}</tr>"
    table = (
        f"<table class='stack'><thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table>"
    )
    return Section("Costs", f"<p>Medians over seeds.</p><div class='scroll'>{table}</div>")


def _curves(comparison: Comparison) -> Section:
    rows = [
        {**row, "run": entry.arm}
        for arm in comparison.arms()
        for entry in comparison.of(arm)[:1]
        for row in RunFolder(entry.folder).metrics()
    ]
    colours = _colours(comparison)
    charts: dict[str, Chart] = {}
    told = (
        "<p>First seed of each arm. Losses of different methods cannot be compared and are not "
        "shown.</p>"
    )
    if any(finite_number(row.get("knn")) is not None for row in rows):
        levels = sections.baseline_levels(comparison.entries[0].evaluation)
        charts["curve-knn"] = sections.knn_curve(rows, levels, colours)
        told += sections.KNN_TOLD if levels else ""
    if any(finite_number(row.get("effective_rank")) is not None for row in rows):
        title = "effective rank of the features"
        charts["curve-effective_rank"] = curve(rows, "effective_rank", title, colours=colours)
    places = "".join(
        chart(name, f"{spec['title']} over the steps, one line an arm")
        for name, spec in charts.items()
    )
    return Section("Learning curves", f'{told}<div class="side">{places}</div>', charts)


def _maps(comparison: Comparison, looks: dict[str, Look]) -> Section:
    """Two maps of each arm side by side; a class has the same colour on all of them."""
    charts: dict[str, Chart] = {}
    parts = []
    colours = _colours(comparison)
    for number, (arm, look) in enumerate(looks.items()):
        drawn = torch.randperm(len(look.features), generator=torch.Generator().manual_seed(0))
        drawn = drawn[:_MAPPED]  # samples lie class by class
        features = look.features[drawn]
        layouts = [("principal components", plane(features))]
        if len(features) >= FEWEST_MAPPED:
            layouts.append(("t-SNE", neighbourhoods(features)))
        coloured = {"label": "label"} if look.source.spec.target == "class" else {}
        places = []
        for kind, (called, positions) in enumerate(layouts):
            points = [
                {
                    "x": round(x, 4),
                    "y": round(y, 4),
                    "caption": look.captions[row],
                    "label": look.labels[row],
                }
                for row, (x, y) in zip(drawn.tolist(), positions.tolist(), strict=True)
            ]
            name = f"map-{number}-{kind}"
            charts[name] = embedding_map(points, coloured)
            place = chart(name, f"Map of the embeddings of {arm} by {called}")
            places.append(f"<div><h4>{html.escape(called)}</h4>{place}</div>")
        head = f"<h3>{swatch(colours[arm])}{html.escape(arm)}</h3>"
        parts.append(f'{head}<div class="side">{"".join(places)}</div>')
    told = "<p>Test samples by their features; first seed of each arm.</p>"
    return Section("Maps of the embeddings", told + "".join(parts), charts)


def _views(looks: dict[str, Look]) -> list[Section]:
    """The views of each method; methods with the same views share a section."""
    bodies: dict[str, list[str]] = {}
    for arm, look in looks.items():
        bodies.setdefault(view_section.views(look).body, []).append(arm)
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
