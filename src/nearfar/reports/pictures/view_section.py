"""The part of a page that shows what the method sees: some samples and their views."""

from __future__ import annotations

import html
from typing import Any

import torch

from nearfar import modalities
from nearfar.errors import UserError
from nearfar.reports.document import Section
from nearfar.reports.look import Look
from nearfar.reports.pictures.samples import captions, channels_told, element, view_pictures
from nearfar.reports.pictures.series_pictures import legend
from nearfar.reports.pictures.view_parameters import parameters_table

VIEWED = 6
"""Samples that are shown."""


def views(look: Look) -> Section:
    """Some samples and the views that the method gets of them, with their parameters: the mistake
    most people make is seen here.
    """
    from nearfar.assembly.assemble import assemble
    from nearfar.assembly.opened import method_of
    from nearfar.assembly.seeing import settings_of, views_of
    from nearfar.methods import registry

    run = look.run
    source = look.source
    # A method that started from finished parts cannot be made from its configuration alone.
    starts = bool(registry.get(run.config.method).pretrained)
    method = method_of(run) if starts else assemble(run.config, source).method
    wanted = method.wanted_views
    count = min(VIEWED, len(look.train))
    samples = look.train.subset(
        torch.arange(count) * len(look.train) // count
    )  # evenly: data often come class by class
    raw = samples.take(torch.arange(len(samples)))
    try:
        make = views_of(method, run.config)
    except UserError as error:  # views of the user's own that were not handed over
        return Section("What the views look like", f"<p>{html.escape(str(error))}</p>")
    seen = samples.whole(torch.arange(len(samples))) if hasattr(make, "takes_whole") else raw
    made = [make(seen, torch.Generator().manual_seed(draw)) for draw in range(2)]
    count = len(made[0])
    columns = [(look.pictures_of(raw), "the sample", True)]
    for draw, batch in enumerate(made):
        columns += [
            (view_pictures(view, source.spec, look.scale), f"view {n + 1}, draw {draw + 1}", False)
            for n, view in enumerate(batch[:count])
        ]
    if not any(any(pictures) for pictures, _, _ in columns):
        body = "".join(_texts(captions_of) for captions_of in _captions(look, raw, made, count))
        table = parameters_table(source.spec, wanted, settings_of(method, run.config))
        return Section("What the views look like", f"<p>{_VIEWS_TOLD}</p>{table}{body}")
    names = look.names_of(samples)
    lines = []
    for row in range(len(samples)):
        first_told = f"the sample: {names[row]}" if names[row] else "the sample"
        cells = [
            element(of[row], first_told if first else what, first=first)
            for of, what, first in columns
            if of[row]
        ]
        lines.append(f'<div class="row">{"".join(cells)}</div>')
    body = "".join(lines)
    channels = (
        legend(source.spec.shape[0]) if modalities.get(source.spec.modality).one_scale else ""
    )
    table = parameters_table(source.spec, wanted, settings_of(method, run.config))
    told = f"<p>{_VIEWS_TOLD} {channels_told(source.spec)}</p>"
    return Section("What the views look like", f"{told}{table}{channels}{body}")


_VIEWS_TOLD = (
    "Each row is a sample and what the method sees of it in two draws. If you cannot tell any "
    "more what it shows, neither can the encoder."
)


def _captions(look: Look, raw: Any, made: list[list[Any]], count: int) -> list[list[str]]:
    """Of each text itself, then each of its views, with its name before it."""
    tokenizer = look.source.tokenizer
    columns = [[f"the sample: {text}" for text in captions(raw, tokenizer)]]
    for draw, batch in enumerate(made):
        for number, view in enumerate(batch[:count]):
            name = f"view {number + 1}, draw {draw + 1}"
            columns.append([f"{name}: {text}" for text in captions(view, tokenizer)])
    return [list(row) for row in zip(*columns, strict=True)]


def _texts(texts: list[str]) -> str:
    items = "".join(f"<li>{html.escape(text)}</li>" for text in texts)
    return f'<ul class="texts">{items}</ul>'
