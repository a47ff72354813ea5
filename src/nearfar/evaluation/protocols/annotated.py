"""Judged by annotations: a linear segmentation of feature maps, and the likeness of texts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from nearfar.evaluation.kernels.similarity import similarity
from nearfar.evaluation.measures.dense import DENSE_PROTOCOLS, SEGMENTATION, feature_maps, segment
from nearfar.evaluation.protocol import Protocol, Row, Task, averaged, needs_images
from nearfar.evaluation.result import Score
from nearfar.networks.encoder import Encoder
from nearfar.networks.places import places_of

_RAW_CELLS = 16  # along each side: cells of the raw input's map


def _dense(row: Row) -> Iterator[Score]:
    task = row.task
    encode = _mapping(row)
    if encode is None:
        return
    parts = []
    for samples in (task.train, task.test):
        maps = feature_maps(encode, samples, task.view, device=task.wanted.device)
        parts.append((maps, samples.annotations["regions"].long().to(maps.device)))
    classes = 1 + int(max(regions.max() for _, regions in parts))
    found = [segment(parts[0], parts[1], classes, seed=seed) for seed in range(task.wanted.seeds)]
    setting = f"{classes} classes, {parts[0][0].shape[2]} x {parts[0][0].shape[3]} cells"
    yield averaged(
        row.name,
        DENSE.version,
        "segmentation mIoU",
        [one.mean_iou for one in found],
        "splits",
        setting=setting,
    )
    yield averaged(
        row.name,
        DENSE.version,
        "pixel accuracy",
        [one.accuracy for one in found],
        "splits",
        setting=setting,
    )


def _mapping(row: Row) -> Callable[[Any], Tensor] | None:
    """From views to maps (N, C, h, w); None for an encoder without places."""
    encoder = row.encoder
    if encoder is None:
        return (
            (lambda x: adaptive_avg_pool2d(x, (_RAW_CELLS, _RAW_CELLS)))
            if row.name == "raw input"
            else None
        )
    if not isinstance(encoder, Encoder):
        return None
    one = row.task.view(row.task.test.take(torch.arange(1)).to(row.task.wanted.device))
    return places_of(encoder, one)


def _similarity(row: Row) -> Iterator[Score]:
    test = row.task.test
    view = row.task.view
    partners = row.features(
        dataclasses.replace(test, content=test.annotations["partner"], rows=None), view
    )
    found = similarity(row.test, partners, test.annotations["closeness"])
    yield Score(
        row.name, SIMILARITY.version, "similarity, Spearman", *found, "test samples", len(test)
    )


def _needs_regions(task: Task) -> str | None:
    there = all(
        "regions" in getattr(samples, "annotations", {}) for samples in (task.train, task.test)
    )
    return None if there and needs_images(task) is None else "images with labelled pixels"


def _needs_partners(task: Task) -> str | None:
    there = {"partner", "closeness"} <= getattr(task.test, "annotations", {}).keys() and len(
        task.test
    ) > 3
    return None if there else "pairs of texts with a score (sentence1, sentence2, score)"


DENSE = Protocol(
    "dense",
    SEGMENTATION,
    f"{DENSE_PROTOCOLS[SEGMENTATION]}; mean over splits; interval over splits (t); raw input: "
    f"colours averaged in {_RAW_CELLS} x {_RAW_CELLS} cells",
    _dense,
    _needs_regions,
    rank=55,
)
SIMILARITY = Protocol(
    "similarity",
    "similarity-v1",
    "rank correlation (Spearman) of the cosine of two texts' features with their annotated "
    "closeness; raw input: counts of tokens; "
    "interval by Fisher's transform with Bonett and Wright's variance",
    _similarity,
    _needs_partners,
    quick=True,
    rank=4,
    headline=("similarity, Spearman",),
)
PROTOCOLS = (
    DENSE,
    SIMILARITY,
)
