"""The geometry of the test features, which no label is fitted to."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from nearfar.evaluation.measures.geometry import (
    alignment,
    effective_rank,
    neighbourhood_purity,
    penalty_evenness,
    relative_std,
    tolerance,
    uniformity,
)
from nearfar.evaluation.protocol import Protocol, Row, Task
from nearfar.evaluation.result import Score
from nearfar.views import make_views
from nearfar.views.wanted import WantedViews

_ALIGNED = 2048  # test samples whose two views are compared


def _geometry(row: Row) -> Iterator[Score]:
    labelled = row.labelled[1] if row.task.target == "class" else None
    views = _two_views(row)
    found = {
        "uniformity": uniformity(row.test),
        "alignment": alignment(*views),
        "penalty entropy": penalty_evenness(*views),
        "std per dimension": relative_std(row.test),
        "effective rank": effective_rank(row.test),
    }
    if labelled is not None and int(labelled.labels.bincount().max()) > 1:
        found["tolerance"] = tolerance(labelled)
    for metric, value in found.items():
        yield Score(row.name, GEOMETRY.version, metric, value)
    if labelled is not None:
        yield Score(
            row.name,
            GEOMETRY.version,
            "purity, 10 nearest",
            neighbourhood_purity(labelled),
            unit="%",
        )


def _two_views(row: Row) -> tuple[Tensor, Tensor]:
    """Features of two contrastive views of the same test samples, the same views for every row."""
    task = row.task
    samples = task.test.subset(torch.arange(min(_ALIGNED, len(task.test))))
    views = make_views(task.source.spec, WantedViews(whole=2, style="contrastive"))
    first, second = (torch.Generator().manual_seed(seed) for seed in (0, 1))
    return row.features(samples, lambda s: views(s, first)[0]), row.features(
        samples, lambda s: views(s, second)[1]
    )


def _needs_two(task: Task) -> str | None:
    return None if len(task.test) > 1 else "two test samples"


GEOMETRY = Protocol(
    "geometry",
    "geometry-v2",
    "of the test samples' features: uniformity (t=2; at most 10,000 samples); of two contrastive "
    "views of at most 2,048 samples "
    "alignment, and the entropy of the other samples' shares in the contrastive gradient at "
    "temperature 0.1, relative to equal "
    "shares; std per dimension relative to 1/sqrt(D), effective rank, tolerance, purity of the 10 "
    "nearest",
    _geometry,
    _needs_two,
    quick=True,
    rank=85,
)
PROTOCOLS = (GEOMETRY,)
