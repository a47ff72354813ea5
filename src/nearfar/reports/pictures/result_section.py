"""The part of a run's page about what its method predicts of some test samples."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from nearfar.assembly.opened import method_of
from nearfar.evaluation.features import predicted
from nearfar.reports.document import Section
from nearfar.reports.look import Look
from nearfar.reports.pictures.samples import element, pictures
from nearfar.results.result import Result
from nearfar.rows import Parts
from nearfar.views import plain_view

PREDICTED = 8
"""Test samples whose predictions the page shows."""
_WIDEST = 60


def predictions(look: Look) -> Section | None:
    """Each shown sample with what the method predicts of it, those that tell most; None where the
    method predicts nothing.
    """
    kind = look.run.predicts
    if kind is None:
        return None
    content = look.shown.take(torch.arange(len(look.shown)))
    samples = look.shown.subset(torch.tensor(kind.telling(content)[:PREDICTED]))
    method = method_of(look.run)
    result: Result = predicted(method.predict, samples, plain_view(look.source.spec))
    result = result.to("cpu").named(look.source.read)
    told = f"<p>{html.escape(kind.told)}</p>" if kind.told else ""
    rows = _rows(look, samples, result)
    return Section("What it predicts", f"{told}{rows}{_table(result, samples.ids)}")


def _rows(look: Look, samples: Any, result: Result) -> str:
    """A line a sample: what is known of it, then the picture of what is predicted."""
    raw = samples.take(torch.arange(len(samples)))
    drawn = result.pictures(raw)
    if not any(drawn):
        return ""
    called = type(result).__name__.lower()
    captions = [caption or called for caption in result.captions()]
    known = _known(look, raw)
    lines = []
    for place, (picture, caption) in enumerate(zip(drawn, captions, strict=True)):
        shown = [element(each[place], name) for name, each in known.items() if each[place]]
        shown.append(element(picture, f"{samples.ids[place]}: {caption}"))
        lines.append(f'<div class="row line wide">{"".join(shown)}</div>')
    return "".join(lines)


def _known(look: Look, raw: Any) -> dict[str, list[str]]:
    """Pictures of each part of the samples, by its name."""
    spec = look.source.spec
    if not isinstance(raw, Parts):
        return {"sample": look.pictures_of(raw)}
    return {name: pictures(raw[name], part) for name, part in spec.parts.items()}


def _table(result: Result, ids: Sequence[str]) -> str:
    columns = result.shown(list(ids))
    head = "".join(f"<th scope='col'>{html.escape(name)}</th>" for name in columns)
    count = len(next(iter(columns.values())))
    body = "".join(_line(columns, row) for row in range(count))
    table = f"<table class='stack'><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f"<div class='scroll' tabindex='0'>{table}</div>"


def _line(columns: Mapping[str, Sequence[Any]], row: int) -> str:
    """One sample; on a phone its values stand below each other, each with its name."""
    cells = "".join(
        f"<td data-row='{html.escape(name)}'><span>{_cell(values[row])}</span></td>"
        for name, values in columns.items()
    )
    return f"<tr>{cells}</tr>"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, list):
        return html.escape(_cut(" ".join(_cell(one) for one in value)))
    return html.escape(_cut(str(value)))


def _cut(text: str) -> str:
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"
