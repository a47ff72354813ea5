"""What a classifier still knows of the samples that it should have forgotten, and what it kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from nearfar.evaluation.features import predicted
from nearfar.evaluation.kernels.intervals import wilson
from nearfar.evaluation.probes.fine_tuning import Budget, Labels, fine_tune
from nearfar.evaluation.probes.membership import membership_attack
from nearfar.evaluation.protocol import Predict, Protocol, Row, Task
from nearfar.evaluation.result import Score
from nearfar.results.classes import Classes

_ROLE = "role"
_FORGET = 1
_MEMBERS = ("remember", "forget")
_RETRAINED = "retrained"
_BUDGET = Budget(steps=600, checks=10, patience=10)
_RATE = 1e-3


def _forgetting(row: Row) -> Iterator[Score]:
    if row.name != _RETRAINED:
        yield from _scores(row, FORGETTING.version)


def _retrained_scores(row: Row) -> Iterator[Score]:
    if row.name == _RETRAINED:
        yield from _scores(row, RETRAINED.version)


def _scores(row: Row, version: str) -> Iterator[Score]:
    """Accuracy by role on training and test samples, and how often the attack is right."""
    task = row.task
    assert row.predict is not None
    device = task.wanted.device
    parts: dict[str, tuple[Any, Classes]] = {
        "training": (task.train, predicted(row.predict, task.train, task.view, device=device)),
        "test": (task.test, row.predictions),
    }
    probabilities: dict[str, Tensor] = {}
    for part, (samples, found) in parts.items():
        answer = found.to("cpu")
        forgotten = _forgotten(samples)
        right = (answer.label == samples.label.cpu()).double()
        for role, rows in (("forgotten", forgotten), ("remaining", ~forgotten)):
            probabilities[f"{role} {part}"] = answer.probabilities[rows]
            if bool(rows.any()):
                count = int(rows.sum())
                yield Score(
                    row.name,
                    version,
                    f"accuracy, {role} {part}",
                    *wilson(float(right[rows].mean()), count),
                    f"{part} samples",
                    count,
                    "%",
                    better="lower" if role == "forgotten" else "higher",
                )
    attack = _attack(probabilities)
    if attack is not None:
        yield Score(row.name, version, "membership attack", attack, unit="%", better="")


def _forgotten(samples: Any) -> Tensor:
    """(N,) bool: which samples are of what is to be forgotten; none where no role is known."""
    if _ROLE not in samples.group:
        return torch.zeros(len(samples), dtype=torch.bool)
    column: Tensor = samples.group[_ROLE].cpu()
    return column == _FORGET


def _attack(probabilities: Mapping[str, Tensor]) -> float | None:
    """The attack's share of right answers. Strangers are test samples of what remains; where a
    whole class is forgotten, those that are asked about beside forgotten samples are of that class.
    """
    strangers = probabilities["remaining test"]
    others = probabilities["forgotten test"]
    if not len(others):
        order = torch.randperm(len(strangers), generator=torch.Generator().manual_seed(0))
        half = len(strangers) // 2
        strangers, others = strangers[order[:half]], strangers[order[half:]]
    groups = (
        probabilities["remaining training"],
        strangers,
        probabilities["forgotten training"],
        others,
    )
    return membership_attack(*groups) if all(map(len, groups)) else None


def _origin(task: Task) -> Mapping[str, Predict]:
    """The classifier as it was, where the method knows it."""
    method = task.method
    if method is None or not len(task.test):
        return {}
    if method.origin(task.view(task.test.take(torch.arange(1)).to(task.wanted.device))) is None:
        return {}

    def as_it_was(x: Any) -> Any:
        return method.origin(x)

    return {"classifier before": as_it_was}


def _retrained(task: Task) -> Mapping[str, Predict]:
    """A classifier trained from fresh weights on what remains."""
    import copy

    method = task.method
    if method is None:
        return {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        fresh = copy.deepcopy(method.encoder)
        for layer in fresh.modules():
            reset = getattr(layer, "reset_parameters", None)
            if callable(reset):
                reset()
    fresh.requires_grad_(True)
    device = task.wanted.device
    remaining = task.train.subset((~_forgotten(task.train)).nonzero()[:, 0])
    labels = Labels(remaining, remaining.label.cpu(), task.classes, task.view, device)
    tuned = fine_tune(fresh.to(device), labels, rate=_RATE, budget=_BUDGET, seed=0)
    names = task.source.spec.classes
    model = tuned.model.eval()

    def retrained(x: Any) -> Classes:
        return Classes(model(x).softmax(dim=1), names)

    return {_RETRAINED: retrained}


def _lacks(task: Task) -> str | None:
    members = tuple(task.source.members.get(_ROLE, ()))
    known = task.target == "class" and _ROLE in task.train.group and members == _MEMBERS
    return None if known else "samples to forget (--with forget:name=CLASS)"


FORGETTING = Protocol(
    "forgetting",
    "forgetting-v1",
    "samples to forget and samples that remain, in training and test data: accuracy (Wilson); "
    "membership attack: boosted trees that tell training from test samples by class "
    "probabilities, asked about forgotten training samples beside other test samples, of the same "
    "class where a class is forgotten: right half the time where nothing can be told; beside the "
    "classifier as it was before",
    _forgetting,
    _lacks,
    quick=True,
    judges=Classes,
    baselines=_origin,
    headline=("accuracy, forgotten training", "accuracy, remaining test"),
    rank=7,
)
RETRAINED = Protocol(
    "forgetting-retrained",
    "forgetting-retrained-v1",
    "a classifier of fresh weights, trained on what remains (AdamW, 600 steps of 64, peak 0.001), "
    "judged as by forgetting-v1: what perfect forgetting looks like",
    _retrained_scores,
    _lacks,
    judges=Classes,
    baselines=_retrained,
    rank=8,
)
PROTOCOLS = (FORGETTING, RETRAINED)
