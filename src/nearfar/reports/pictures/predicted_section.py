"""The part of a run's page that shows what its method says of test samples."""

from __future__ import annotations

import html

import torch

from nearfar.assembly.opened import method_of
from nearfar.evaluation.features import predicted
from nearfar.reports.document import Section
from nearfar.reports.look import Look
from nearfar.reports.pictures.samples import element
from nearfar.results.result import Result
from nearfar.views import plain_view

SAID = 12
"""Samples of which the page shows what is predicted."""


def predictions(look: Look) -> Section | None:
    """Pictures of what the method predicts of some shown samples; None where it has none."""
    kind = look.run.predicts
    if kind is None or kind.pictures is Result.pictures:
        return None
    samples = look.shown
    content = samples.take(torch.arange(len(samples)))
    rows = torch.tensor(kind.telling(content)[:SAID])
    chosen = samples.subset(rows)
    method = method_of(look.run)
    found: Result = predicted(method.predict, chosen, plain_view(look.source.spec))
    drawn = found.pictures(chosen.take(torch.arange(len(chosen))))
    captions = found.captions()
    cells = [
        element(picture, f"{name}: {caption}" if caption else name)
        for picture, name, caption in zip(drawn, chosen.ids, captions, strict=True)
    ]
    told = html.escape(" ".join([f"Of {len(chosen)} samples.", kind.told]).strip())
    body = f'<p>{told}</p><div class="row">{"".join(cells)}</div>'
    return Section("What the method predicts", body)
