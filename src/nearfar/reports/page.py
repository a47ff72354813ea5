"""One self-contained page about one run."""

from __future__ import annotations

import html
from pathlib import Path

from nearfar.evaluation.result import Evaluation
from nearfar.files import write_text
from nearfar.reports import sections
from nearfar.reports.document import document
from nearfar.reports.health import gain, headline_metric
from nearfar.reports.look import Look
from nearfar.run import Run

_CARDS = (
    "kNN accuracy", "linear accuracy", "R2", "mean absolute error", "10 % of labels", "zero-shot accuracy", "recall@1", "effective rank",
)
_MOST_CARDS = 4


def write_page(run: Run, path: Path) -> Path:
    """Write the page, replacing an older one; opens without a network.

    Args:
        run: a run with an encoder.
        path: the page's file.
    """
    look = Look(run, run.source())
    made = [
        sections.health(look), sections.views(look), sections.results(look), sections.curves(look), sections.similarities(look),
        sections.embedding(look), sections.neighbours(look), sections.mistakes(look), sections.suspects(look), sections.recipe(look),
    ]
    title = f"{run.config.method} on {look.source.spec.name}"
    page = document(title, lead(run.evaluation()), [section for section in made if section is not None])
    write_text(path, page, overwrite=True)
    return path


def lead(evaluation: Evaluation | None) -> str:
    """The headline figures as cards, each beside the better baseline, and the one sentence that matters."""
    if evaluation is None:
        return "<p>This run has not been evaluated.</p>"
    metrics = [m for name in _CARDS for m in evaluation.metrics() if name in m][:_MOST_CARDS]
    cards = "".join(_card(evaluation, metric) for metric in dict.fromkeys(metrics))
    metric = headline_metric(evaluation)
    better = gain(evaluation, metric)
    sentence = ""
    if better is not None:
        points, baseline = better
        word = "above" if points > 0 else "below"
        sentence = f'<p class="{"good" if points > 0 else "bad"}">{metric}: {abs(100 * points):.1f} points {word} the {baseline}.</p>'
    return f'{sentence}<div class="cards">{cards}</div>'


def _card(evaluation: Evaluation, metric: str) -> str:
    trained = evaluation.score(metric)
    others = [s for s in evaluation.scores if s.metric == metric and s.row in ("random encoder", "raw input")]
    lines = "".join(f"<div>{html.escape(s.row)}: {html.escape(s.text())}</div>" for s in others)
    value = f"{100 * trained.value:.1f} %" if trained.unit == "%" else f"{trained.value:.3g}"
    return f'<div class="card">{html.escape(metric)}<b>{value}</b><div>{html.escape(trained.text())}</div>{lines}</div>'
