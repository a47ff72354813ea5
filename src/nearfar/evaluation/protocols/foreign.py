"""What happens on samples unlike those of training: outsiders are told apart, corrupted images
classified.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from nearfar.evaluation.protocol import Protocol, Row, Task, averaged, needs_classes, needs_images
from nearfar.evaluation.result import Score
from nearfar.evaluation.trust.corruptions import STRENGTHS, corrupted
from nearfar.evaluation.trust.outsiders import (
    NEIGHBOURS,
    detect,
    energy,
    mahalanobis,
    neighbour_distance,
)

_CORRUPTED = 1000  # test samples that are corrupted in 25 ways


def _ood(row: Row) -> Iterator[Score]:
    task = row.task
    outside = row.features(row.task.wanted.outsiders, row.task.view)
    labels = row.labelled[0].labels if task.target == "class" else None
    rated: dict[str, Callable[[Tensor], Tensor]] = {
        "kNN distance": lambda x: neighbour_distance(row.train, x),
        "Mahalanobis": lambda x: mahalanobis(row.train, x, labels),
    }
    if task.target == "class":
        rated["energy"] = lambda x: energy(row.probes[0].model(x))
    for name, rate in rated.items():
        found = detect(rate(row.test), rate(outside))
        for metric, interval in zip(("AUROC", "AUPR", "FPR95"), found, strict=True):
            about: dict[str, Any] = {
                "over": "test samples",
                "count": len(row.test),
                "unit": "%",
                "setting": f"{len(outside)} outsiders",
            }
            asked = f"outsiders by {name}: {metric}"
            yield Score(row.name, OOD.version, asked, *interval, **about)


def _needs_outsiders(task: Task) -> str | None:
    return (
        None if task.wanted.outsiders is not None else "other data to tell apart (--outsiders DATA)"
    )


def _robustness(row: Row) -> Iterator[Score]:
    task = row.task
    samples = task.test.subset(
        torch.randperm(len(task.test), generator=torch.Generator().manual_seed(0))[:_CORRUPTED]
        .sort()
        .values
    )
    clean = _errors(row, samples, task.view)
    worse = {}
    for kind, strengths in STRENGTHS.items():
        views = [_worsened(task.view, kind, place) for place in range(1, len(strengths) + 1)]
        worse[kind] = torch.stack([_errors(row, samples, view) for view in views]).mean(dim=0)
    mean = torch.stack(list(worse.values())).mean(dim=0)
    found = {
        "error on clean images": clean,
        **{f"error under {kind}": one for kind, one in worse.items()},
    }
    found |= {"mean corruption error": mean, "mean corruption error over clean": mean - clean}
    for metric, errors in found.items():
        yield averaged(row.name, ROBUSTNESS.version, metric, errors.tolist(), "test samples")


def _errors(row: Row, samples: Any, view: Callable[[Any], Any]) -> Tensor:
    """In which share of the probes each sample is classified wrongly, (N,)."""
    features = row.features(samples, view)
    labels = samples.label.to(features.device)
    return (
        torch.stack([probe.model(features).argmax(dim=1) != labels for probe in row.probes])
        .double()
        .mean(dim=0)
    )


def _worsened(view: Callable[[Any], Any], kind: str, strength: int) -> Callable[[Any], Any]:
    generator = torch.Generator().manual_seed(strength)  # the same noise for every row
    return lambda images: view(corrupted(images, kind, strength, generator))


def _needs_images_of_classes(task: Task) -> str | None:
    return needs_images(task) or needs_classes(task)


OOD = Protocol(
    "ood",
    "ood-v1",
    "test samples against samples of other data, by three scores that know the training samples "
    "alone: 1 - cosine to the "
    f"{NEIGHBOURS}th nearest, Mahalanobis distance to the nearest class mean (Ledoit-Wolf "
    "covariance within classes), energy of the "
    "linear probe's logits; outsiders are the positives of AUPR; FPR95: share of outsiders "
    "accepted where 95 % of the test samples "
    "are; interval over resampled samples (percentiles)",
    _ood,
    _needs_outsiders,
    rank=80,
)
ROBUSTNESS = Protocol(
    "robustness",
    "robustness-v1",
    f"linear-v1, fitted on clean images, on at most {_CORRUPTED:,} test images under noise, blur, "
    "low contrast, pixelation and JPEG, the "
    "mean over five strengths of each; mean corruption error: over all 25, also less the error on "
    "clean images; mean over splits; "
    "interval over test samples (t)",
    _robustness,
    _needs_images_of_classes,
    rank=75,
)
PROTOCOLS = (
    OOD,
    ROBUSTNESS,
)
