"""Accuracy on parts of the data: episodes of few classes, and groups of samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from nearfar.evaluation.probes.few_shot import EPISODES, few_shot_accuracies
from nearfar.evaluation.protocol import Protocol, Row, Task, averaged, needs_classes
from nearfar.evaluation.result import Score
from nearfar.evaluation.trust.fairness import FEWEST, groups

_WAY = 5
_QUERY = 15
_SHOTS = (1, 5)


def _few_shot(row: Row) -> Iterator[Score]:
    test = row.labelled[1]
    sizes = test.labels.bincount().sort(descending=True).values
    way = min(_WAY, int((sizes > 1).sum()))
    for shot in _SHOTS:
        query = min(_QUERY, int(sizes[way - 1]) - shot) if way > 1 else 0
        if query < 1:
            continue
        accuracies = few_shot_accuracies(test, way=way, shot=shot, query=query, unit=True)
        metric = f"{way}-way {shot}-shot accuracy"
        setting = f"{query} queries"
        yield averaged(row.name, FEW_SHOT.version, metric, accuracies, "episodes", setting=setting)


def _fairness(row: Row) -> Iterator[Score]:
    task = row.task
    test = row.labelled[1]
    right = (
        torch.stack(
            [probe.model(test.features).argmax(dim=1) == test.labels for probe in row.probes]
        )
        .double()
        .mean(dim=0)
    )
    for name, group in task.test.group.items():
        found = groups(right, group)
        if found is None:
            continue
        names = task.source.members.get(name, ())
        worst = names[found.worst] if names else f"number {found.worst}"
        about: dict[str, Any] = {
            "over": "test samples",
            "count": found.samples,
            "unit": "%",
            "setting": f"{worst}, of {found.judged}",
        }
        yield Score(row.name, FAIRNESS.version, f"worst {name}: accuracy", *found.lowest, **about)
        yield Score(
            row.name, FAIRNESS.version, f"gap between best and worst {name}", *found.gap, **about
        )


def _needs_groups(task: Task) -> str | None:
    lacks = needs_classes(task)
    if lacks is not None:
        return lacks
    many = any(int((group.bincount() >= FEWEST).sum()) > 1 for group in task.test.group.values())
    return None if many else f"a group column (--group) with two groups of {FEWEST} test samples"


FEW_SHOT = Protocol(
    "few-shot",
    "few-shot-v1",
    f"{EPISODES} episodes from the test samples' unit features: {_WAY} classes (or all, if fewer), "
    "1 or 5 named samples of each and "
    f"{_QUERY} queries (fewer, if classes are smaller), which go to the nearest class mean; the "
    "same episodes for every row; interval "
    "over episodes (t)",
    _few_shot,
    needs_classes,
    rank=30,
)
FAIRNESS = Protocol(
    "fairness",
    "fairness-v1",
    f"linear-v1 by groups of at least {FEWEST} test samples: accuracy of the worst (Wilson), and "
    "what the best is ahead of it "
    "(Newcombe); both are picked after the fact; mean over splits; interval over test samples of "
    "the groups",
    _fairness,
    _needs_groups,
    rank=70,
)
PROTOCOLS = (
    FEW_SHOT,
    FAIRNESS,
)
