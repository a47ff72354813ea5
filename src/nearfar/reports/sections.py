"""The parts of a run's page about the run: its views, results, curves, health and recipe."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nearfar.comparison.judged import headlines
from nearfar.errors import UserError
from nearfar.evaluation.result import BASELINES, Evaluation
from nearfar.methods import registry
from nearfar.reports.charts import Chart, curve, similarity_histograms
from nearfar.reports.document import Section, chart
from nearfar.reports.health import findings
from nearfar.reports.intervals import intervals
from nearfar.reports.look import Look
from nearfar.reports.palette import COLOURS, ROWS, colours_of_rows
from nearfar.reports.score_tables import scores_tables
from nearfar.runs.folder import CONFIG
from nearfar.stored import finite_number

if TYPE_CHECKING:
    from nearfar.methods.method import Method


def results(look: Look) -> Section:
    """Trained, random and raw in one picture, then the tables of all scores."""
    evaluation = look.run.evaluation()
    if evaluation is None:
        body = (
            "<p>Not evaluated yet: <code>nearfar evaluate "
            f"{html.escape(str(look.run.folder))}</code></p>"
        )
        return Section("Results", body)
    charts = overview(evaluation)
    places = "".join(
        chart(name, f"{title} of every row with its interval")
        for name, (title, _) in charts.items()
    )
    return Section(
        "Results",
        f"{places}{scores_tables(evaluation)}",
        {name: spec for name, (_, spec) in charts.items()},
    )


def overview(evaluation: Evaluation) -> dict[str, tuple[str, Chart]]:
    """The main metrics with all their rows: shares in one picture, each other metric in its own;
    by the chart's name its title and specification.
    """
    colours = colours_of_rows(evaluation.rows())
    names = evaluation.metrics()
    leading = headlines(evaluation)
    chosen = [metric for metric in names if metric in leading]
    by_unit: dict[str, list[dict[str, Any]]] = {}
    for metric in chosen:
        for score in evaluation.scores:
            if score.metric == metric and not math.isnan(score.value):
                values = {"value": score.value, "low": score.low, "high": score.high}
                kept = {key: None if math.isnan(end) else end for key, end in values.items()}
                of = "" if score.unit == "%" else metric
                by_unit.setdefault(of, []).append({"metric": metric, "arm": score.row, **kept})
    return {
        f"scores-{number}": (
            of or "Accuracy",
            intervals(rows, of or "Accuracy of every row", colours, percent=not of),
        )
        for number, (of, rows) in enumerate(by_unit.items())
    }


def curves(look: Look) -> Section:
    """Loss, its terms and diagnostics, online probes beside the baselines."""
    rows = look.run.metrics()
    charts: dict[str, Chart] = {}
    levels = baseline_levels(look.run.evaluation())
    alone: list[str] = []
    for value, title in (
        ("loss", "training loss"),
        ("knn", "online kNN accuracy"),
        ("linear", "online linear accuracy"),
        ("effective_rank", "effective rank of the features"),
    ):
        known = [row for row in rows if finite_number(row.get(value)) is not None]
        if len(known) == 1 and not (value == "knn" and levels):
            figure = known[0][value]
            shown = f"{100 * figure:.1f} %" if value in _SHARES else f"{figure:.4g}"
            alone.append(f"{title} {shown} at step {known[0]['step']}")
        elif known and value == "knn":
            charts["curve-knn"] = knn_curve(rows, levels, ROWS)
        elif known:
            charts[f"curve-{value}"] = curve(rows, value, title, percent=value in _SHARES)
    for name in dict.fromkeys(name for row in rows for name in row.get("glance", ())):
        charts[f"curve-{name}"] = curve(rows, name, f"online {name}")
    charts |= terms(rows)
    places = "".join(
        chart(name, f"{spec['title']} over the steps of the run") for name, spec in charts.items()
    )
    told = KNN_TOLD if "curve-knn" in charts and levels else ""
    if alone:
        told += f"<p>Measured once: {html.escape('; '.join(alone))}.</p>"
    if not charts and not alone:
        told = "<p>The run has left no figures.</p>"
    return Section("Learning curves", f'{told}<div class="side">{places}</div>', charts)


_SHARES = ("knn", "linear")
"""Online values that are shown in per cent."""

KNN_TOLD = (
    "<p>The online kNN accuracy is of a part of the training samples that is held out from its "
    "bank; the dashed lines are the baselines on the test samples. They show where the curve "
    "stands and are no test of a difference.</p>"
)


def baseline_levels(evaluation: Evaluation | None) -> dict[str, float]:
    """The kNN accuracy of each baseline, by its name."""
    if evaluation is None:
        return {}
    return {
        score.row: score.value
        for score in evaluation.scores
        if score.metric == "kNN accuracy"
        and score.row in BASELINES
        and finite_number(score.value) is not None
    }


def knn_curve(
    rows: list[dict[str, Any]], levels: Mapping[str, float], colours: Mapping[str, str]
) -> Chart:
    """The online kNN accuracy in per cent, with the baselines as dashed lines."""
    named = {"this run": colours.get("trained", COLOURS[0]), **colours}
    return curve(rows, "knn", "online kNN accuracy", percent=True, colours=named, levels=levels)


def terms(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """A curve for each term of the loss and each diagnostic that the method logs, where there is
    more than the loss.
    """
    found = [
        {**row["terms"], "step": row["step"]}
        for row in rows
        if isinstance(row.get("terms"), dict) and "step" in row
    ]
    names = sorted({name for row in found for name in row} - {"step"})
    drawn = [
        name for name in names if sum(finite_number(row.get(name)) is not None for row in found) > 1
    ]
    return (
        {f"term-{name}": curve(found, name, name.replace("_", " ")) for name in drawn}
        if len(names) > 1
        else {}
    )


def similarities(look: Look) -> Section | None:
    """Histograms of positive and negative similarities through training."""
    rows = look.run.metrics()
    if not any("positive_similarity" in row for row in rows):
        return None
    told = (
        "Cosines of the features of two views of one sample (positive) and of different samples "
        "(negative), at the first, the middle and the last look. As training goes on the two "
        "should part; both near 1 is collapse."
    )
    charts = similarity_histograms(rows)
    places = "".join(
        chart(name, f"Histogram of positive and negative cosines at {spec['title']}")
        for name, spec in charts.items()
    )
    return Section(
        "Similar and different pairs",
        f'<p>{told}</p><div class="side">{places}</div>',
        charts,
    )


def health(look: Look) -> Section:
    """A sentence for each indicator."""
    found = findings(look.run.metrics(), look.run.evaluation(), look.features.shape[1])
    items = "".join(
        f'<li class="{"good" if fine else "bad"}">{"✓" if fine else "⚠"} {html.escape(text)}</li>'
        for fine, text in found
    )
    return Section("Health", f"<ul>{items}</ul>")


def recipe(look: Look) -> Section:
    """The method's five choices, the configuration, the versions and the command that repeats the
    run.
    """
    config = look.run.config
    kind = _known(config.method)
    pairs = {} if kind is None else kind.choices
    choices = "".join(
        f"<tr><th scope='row'>{html.escape(what)}</th><td>{html.escape(text)}</td></tr>"
        for what, text in pairs.items()
    )
    paper = "a method from outside nearfar"
    if kind is not None:
        paper = f"{kind.paper.title}. {kind.paper.authors}, {kind.paper.year}"
    path = look.run.folder / CONFIG
    written = html.escape(path.read_text(encoding="utf-8"))
    body = (
        f"<p>{html.escape(config.method)}: {html.escape(paper)}.</p><div "
        f"class='scroll'><table>{choices}</table></div>"
        f"<details><summary>Configuration</summary><pre>{written}</pre></details>"
        f"<details><summary>Versions</summary><pre>{html.escape(versions(look))}</pre></details>"
        f"<p>Repeat it with <code>nearfar pretrain --config {html.escape(str(path))}</code></p>"
    )
    return Section("How it was made", body)


def _known(name: str) -> type[Method] | None:
    """The method's class; None where it would have to be imported from outside, because a run
    folder says so.
    """
    try:
        return registry.get(name)
    except UserError:
        return None


def versions(look: Look) -> str:
    """What the encoder was written with, a line each."""
    from nearfar.runs.encoder_files import versions_of

    return "\n".join(f"{name} {version}" for name, version in versions_of(look.run.folder).items())
