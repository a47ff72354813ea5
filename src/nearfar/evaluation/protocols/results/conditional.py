"""Queries of an image and a condition: is the right image found in a gallery, and among all?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from nearfar.data.prepare.triplets import ANSWERS, PLACE, TARGET, TASK
from nearfar.evaluation.features import BATCH
from nearfar.evaluation.kernels.intervals import wilson
from nearfar.evaluation.measures.conditional import recall_at, without_reference
from nearfar.evaluation.protocol import Predict, Protocol, Row, Task
from nearfar.evaluation.result import Score
from nearfar.methods.method import Method
from nearfar.results.ranking import Ranking
from nearfar.rows import Parts, Picked

_DEPTHS = (1, 2, 3)
_TRAINED = "trained"
_WHOLE = "whole set"
_WEIGHTS: Mapping[str, Mapping[str, float]] = {
    "image alone": {"reference": 1.0},
    "text alone": {"condition": 1.0},
    "average": {"reference": 0.5, "condition": 0.5},
}


def _conditional(row: Row) -> Iterator[Score]:
    found: Ranking = row.predictions
    scores = found.scores.cpu()
    sizes = (scores > -torch.inf).sum(1).double()
    for k in _DEPTHS:
        right = recall_at(scores, k)
        if k == 1:
            row.keep("R@1", _balanced(right, row.task))
        yield from _shares(row, f"R@{k}", right, by_task=True)
        if row.name == _TRAINED:
            chance = float(_balanced((k / sizes).clamp(max=1), row.task).mean())
            yield _score("chance", f"R@{k}", chance)
    if _has_answers(row.task):
        yield from _among_all(row)


def _among_all(row: Row) -> Iterator[Score]:
    """The same with all test images as gallery, the reference left out, and any right image as a
    hit.
    """
    task = row.task
    similarity = _of_all(row)
    similarity = without_reference(similarity, task.test.annotations[PLACE])
    answers: Tensor = task.test.annotations[ANSWERS]
    others = similarity.shape[1] - 1
    right = (answers >= 0).sum(1)
    for k in _DEPTHS:
        hits = recall_at(similarity, k, targets=answers)
        yield from _shares(row, f"R@{k}, {_WHOLE}", hits)
        if row.name == _TRAINED:
            missed = torch.ones(len(right), dtype=torch.float64)
            for drawn in range(k):
                missed *= ((others - right - drawn) / max(others - drawn, 1)).clamp(min=0)
            chance = float(_balanced(1 - missed, task).mean())
            yield _score("chance", f"R@{k}, {_WHOLE}", chance)


def _of_all(row: Row) -> Tensor:
    """Similarity of each query to all test images, (N, M)."""
    task = row.task
    assert row.predict is not None
    held: Picked = task.test.content[TARGET]
    everything = torch.arange(len(held.values))
    whole = Parts({TARGET: Picked(held.values, everything[None], held.numbers)})
    images: Picked = task.view(whole.to(task.wanted.device))[TARGET]
    blocks = []
    for start in range(0, len(task.test), BATCH):
        index = torch.arange(start, min(start + BATCH, len(task.test)))
        x = task.view(task.test.take(index).to(task.wanted.device))
        gallery = Picked(images.values, images.index.expand(len(index), -1), images.numbers)
        with torch.no_grad():
            found: Any = row.predict(x.with_parts(**{TARGET: gallery}))
        blocks.append(found.scores.float().cpu())
    return torch.cat(blocks)


def _shares(row: Row, metric: str, right: Tensor, *, by_task: bool = False) -> Iterator[Score]:
    """The mean over tasks of the share of right answers, and each task's own where it is asked
    for.
    """
    tasks = _tasks(row.task)
    each = {name: right[rows].double() for name, rows in tasks.items()}
    if len(each) < 2:
        share = float(right.double().mean())
        yield Score(
            row.name,
            CONDITIONAL.version,
            metric,
            *wilson(share, len(right)),
            "test samples",
            len(right),
            "%",
        )
        return
    means = {name: float(values.mean()) for name, values in each.items()}
    mean = sum(means.values()) / len(means)
    spread = sum(means[name] * (1 - means[name]) / len(values) for name, values in each.items())
    half = 1.96 * math.sqrt(spread) / len(means)
    ends = max(0.0, mean - half), min(1.0, mean + half)
    yield Score(row.name, CONDITIONAL.version, metric, mean, *ends, "test samples", len(right), "%")
    for name, values in each.items() if by_task else ():
        yield Score(
            row.name,
            CONDITIONAL.version,
            f"{metric}, {name}",
            *wilson(means[name], len(values)),
            "test samples",
            len(values),
            "%",
        )


def _tasks(task: Task) -> dict[str, Tensor]:
    """Which test samples (N,) are queries of each task; one without a name where none is known."""
    if TASK not in task.test.group:
        return {"": torch.ones(len(task.test), dtype=torch.bool)}
    column = task.test.group[TASK].cpu()
    names = task.source.members.get(TASK, ())
    return {
        names[number] if number < len(names) else f"task {number}": column == number
        for number in column.unique().tolist()
    }


def _balanced(values: Tensor, task: Task) -> Tensor:
    """Values (N,) whose mean is the mean over tasks of the given ones."""
    found = values.double()
    tasks = _tasks(task)
    for rows in tasks.values():
        found[rows] = values[rows].double() * len(values) / (len(tasks) * int(rows.sum()))
    return found


def _score(row: str, metric: str, value: float) -> Score:
    return Score(row, CONDITIONAL.version, metric, value, unit="%")


def _halves(task: Task) -> Mapping[str, Predict]:
    """What the image alone, the condition alone and their plain average find, as the model gives
    them that the method started from.
    """
    method = task.method
    if method is None or not _has_galleries(task):
        return {}
    first = task.view(task.test.take(torch.arange(1)).to(task.wanted.device))
    if method.weighed(first, _WEIGHTS["average"]) is None:
        return {}
    return {name: partial(_weighed, method, weights) for name, weights in _WEIGHTS.items()}


def _weighed(method: Method, weights: Mapping[str, float], x: Any) -> Any:
    return method.weighed(x, weights)


def _has_galleries(task: Task) -> bool:
    content = task.test.content
    held = content.get(TARGET) if isinstance(content, Parts) else None
    return isinstance(held, Picked) and held.index.ndim == 2


def _has_answers(task: Task) -> bool:
    return {PLACE, ANSWERS} <= set(task.test.annotations)


def _lacks(task: Task) -> str | None:
    return None if _has_galleries(task) else "queries with galleries (--with triplets)"


CONDITIONAL = Protocol(
    "conditional",
    "conditional-v1",
    "given a reference and a condition, the right image of a small gallery is among the first k "
    "by the score, ties count against the query; mean over tasks (normal interval over test "
    "samples) and each task's own (Wilson); whole set: all test images but the reference, any "
    "right one is a hit; image alone, text alone and average: cosine with the plain embeddings of "
    "the model that the method started from, weighed 1 and 0, 0 and 1, or halves",
    _conditional,
    _lacks,
    quick=True,
    judges=Ranking,
    baselines=_halves,
    headline=("R@1",),
    beats=tuple(_WEIGHTS),
    rank=5,
)
PROTOCOLS = (CONDITIONAL,)
