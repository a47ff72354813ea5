"""What a learner of several tasks knows at the end, and what it has forgotten on the way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from nearfar.evaluation.features import Labelled, extract
from nearfar.evaluation.measures.continual import average_score, forgetting
from nearfar.evaluation.probes.linear import fit_logistic
from nearfar.evaluation.protocol import Protocol, Row, Task
from nearfar.evaluation.result import Score

_TASK = "task"
_PENALTY = 1e-3


def _continual(row: Row) -> Iterator[Score]:
    """The matrix for the trained row, whose encoders after each task are known; the last row of it
    for others.
    """
    last = _scores(row.task, row.train, row.test)
    stages = row.task.wanted.stages if row.name == "trained" else ()
    yield Score(
        row.name,
        CONTINUAL.version,
        "average over tasks",
        float(average_score(last.expand(len(last), -1))),
        unit="%",
    )
    if len(stages) != len(last) or len(last) < 2:
        return
    found = torch.stack([_of_stage(one, row) for one in stages])
    yield Score(
        row.name,
        CONTINUAL.version,
        "average over tasks, delivered",
        float(average_score(found)),
        unit="%",
        setting="; ".join(" ".join(f"{value:.3f}" for value in line) for line in found.tolist()),
    )
    yield Score(
        row.name,
        CONTINUAL.version,
        "forgetting",
        float(forgetting(found)),
        unit="%",
        better="lower",
    )


def _of_stage(encode: Any, row: Row) -> Tensor:
    task = row.task
    device = task.wanted.device
    parts = [extract(encode, part, task.view, device=device) for part in (task.train, task.test)]
    return _scores(task, *parts)


def _scores(task: Task, train: Tensor, test: Tensor) -> Tensor:
    """(K,) for each task the test accuracy of a logistic regression on its own training samples."""
    count = len(task.source.members[_TASK])
    scores = []
    for number in range(count):
        rows, asked = (
            (samples.group[_TASK].cpu() == number).to(features.device)
            for samples, features in ((task.train, train), (task.test, test))
        )
        own = Labelled(
            train[rows], task.train.label[rows.to(task.train.label.device)], task.classes
        )
        (model,) = fit_logistic(own, [_PENALTY])
        label = task.test.label[asked.to(task.test.label.device)].to(test.device)
        scores.append((model(test[asked]).argmax(dim=1) == label).double().mean().cpu())
    return torch.stack(scores)


def _lacks(task: Task) -> str | None:
    wanted = "class labels and a stream of tasks (--with stream:tasks=3)"
    if task.target != "class":
        return wanted
    if _TASK not in task.train.group or _TASK not in task.test.group:
        return wanted
    count = len(task.source.members.get(_TASK, ()))
    for samples in (task.train, task.test):
        seen = torch.bincount(samples.group[_TASK].cpu(), minlength=count)
        if count < 1 or not bool((seen > 0).all()):
            return wanted + " of which each has training and test samples"
    return None


CONTINUAL = Protocol(
    "continual",
    "continual-v1",
    "for each task of a stream a logistic regression (penalty 0.001) on its own training samples, "
    "judged on its test samples: the average over tasks of the encoder at the end; where a run "
    "delivered an encoder after each task (--branch), the average of the last one delivered and "
    "forgetting, the mean loss of accuracy on earlier tasks since they were learned; the setting "
    "holds the matrix, a row after each task",
    _continual,
    _lacks,
    headline=("average over tasks", "forgetting"),
    rank=72,
)
PROTOCOLS = (CONTINUAL,)
