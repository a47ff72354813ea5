"""One self-contained page about one run."""

from __future__ import annotations

import html
import math
from pathlib import Path

from nearfar.assembly.opened import source_of
from nearfar.comparison.judged import baselines_of, headlines, judged_metrics
from nearfar.evaluation.protocols import all_protocols
from nearfar.evaluation.result import Evaluation
from nearfar.files import write_text
from nearfar.found import at_home
from nearfar.reports import sections
from nearfar.reports.document import Section, document
from nearfar.reports.facts import facts, line
from nearfar.reports.health import gain
from nearfar.reports.look import Look
from nearfar.reports.pictures import (
    place_section,
    result_section,
    sample_sections,
    view_section,
)
from nearfar.runs.folder import RunFolder

_SPREAD = "effective rank"
_MOST_CARDS = 4


def write_page(run: RunFolder, path: Path) -> Path:
    """Write the page, replacing an older one; opens without a network.

    Args:
        run: a run with an encoder.
        path: the page's file.
    """
    look = Look(run, source_of(run))
    made = [
        sections.health(look),
        view_section.views(look),
        sections.results(look),
        result_section.predictions(look),
        *_of_protocols(look),
        sections.curves(look),
        sections.similarities(look),
        place_section.places(look),
        sample_sections.embedding(look),
        sample_sections.neighbours(look),
        sample_sections.mistakes(look),
        sample_sections.suspects(look),
        sections.recipe(look),
    ]
    title = f"{run.config.method} on {look.source.spec.name}"
    page = document(
        title,
        line(facts(look)) + lead(run.evaluation()),
        [section for section in made if section is not None],
    )
    write_text(path, page, overwrite=True)
    return path


def _of_protocols(look: Look) -> list[Section | None]:
    """The sections of the protocols that judged the run, in their order."""
    evaluation = look.run.evaluation()
    if evaluation is None:
        return []
    used = [one for one in all_protocols() if one.section and one.version in evaluation.protocols]
    return [at_home(one.section)(look) for one in used]


def lead(evaluation: Evaluation | None) -> str:
    """The headline figures as cards, each beside its baselines, and the one sentence that
    matters.
    """
    if evaluation is None:
        return "<p>This run has not been evaluated.</p>"
    names = evaluation.metrics()
    leading = [*judged_metrics(evaluation), *headlines(evaluation)]
    metrics = list(dict.fromkeys([*leading, *(name for name in names if name == _SPREAD)]))
    cards = "".join(_card(evaluation, metric) for metric in metrics[:_MOST_CARDS])
    better = gain(evaluation)
    sentence = (
        ""
        if better is None
        else f'<p class="{better.state}"><b>{html.escape(better.text())}</b></p>'
    )
    return f'{sentence}<div class="cards">{cards}</div>'


def _card(evaluation: Evaluation, metric: str) -> str:
    trained = evaluation.score(metric)
    beside = baselines_of(evaluation, metric)
    others = [s for s in evaluation.scores if s.metric == metric and s.row in beside]
    value, space, interval = trained.text().partition(" ")
    lines = [f"95 %: {interval.strip('()')}"] if space else []
    lines += [f"{s.row}: {s.text().partition(' ')[0]}" for s in others]
    unit = " %" if trained.unit == "%" and not math.isnan(trained.value) else ""
    told = "".join(f"<div>{html.escape(line)}</div>" for line in lines)
    return f'<div class="card">{html.escape(metric)}<b>{html.escape(value)}{unit}</b>{told}</div>'
