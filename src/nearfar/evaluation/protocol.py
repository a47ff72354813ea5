"""What a protocol is, what it is given, and the features that all protocols of a row share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from nearfar.errors import UserError
from nearfar.evaluation.features import Labelled, View, predicted
from nearfar.evaluation.kernels.intervals import mean_interval, wilson
from nearfar.evaluation.probes.linear import Probe, linear_probes, ridge_probes
from nearfar.evaluation.result import Score
from nearfar.methods.method import Method
from nearfar.results.result import Result

Features = Callable[[Any, View], Tensor]
"""From samples and a view of them to features (N, D)."""
Predict = Callable[[Any], Result]
"""From samples in plain view to what is predicted of them."""


@dataclass(frozen=True)
class Wanted:
    """What is to be measured.

    Attributes:
        protocols: names such as "knn"; "quick" stands for the cheap ones, "all" for all that the
            data allow.
        seeds: validation splits, at least 1; also the least number of draws where a protocol draws.
        outsiders: samples of other data in the shape of the judged ones, which "ood" tells apart
            from these.
        device: where features are computed.
        stages: the encoders that a run delivered after each of its tasks, in evaluation mode.

    Raises:
        UserError: if ``seeds`` is below 1.
    """

    protocols: Sequence[str] = ("quick",)
    seeds: int = 3
    outsiders: Any = None
    device: torch.device | str = "cpu"
    stages: Sequence[Callable[[Any], Tensor]] = ()

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise UserError(f"The number of seeds is {self.seeds}; expected at least 1.")


@dataclass(frozen=True)
class Task:
    """What is judged.

    Attributes:
        source: the data.
        train: samples that probes are fitted on.
        test: samples that they are judged on.
        view: from samples to what encoders take.
        target: which target the labels are: "class", "value" or "none".
        wanted: what is to be measured.
        method: The method that is judged, where it predicts; None where features are all there is.
    """

    source: Any
    train: Any
    test: Any
    view: View
    target: str
    wanted: Wanted
    method: Method | None = None

    @property
    def predicts(self) -> type[Result] | None:
        """What the judged method predicts."""
        return None if self.method is None else type(self.method).predicts

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.source.spec.classes)

    @property
    def modality(self) -> str:
        """Of the data, as in ``Spec``."""
        found: str = self.source.spec.modality
        return found


class Row:
    """One row of the table: an encoder, or the raw input, with features that are computed once.

    Args:
        name: of the row.
        features: how it turns samples under a view into features.
        task: what is judged.
        encoder: the module itself (for pairs the method); None for the raw input or a plain
            function.
        predict: How it turns samples in plain view into a result; None where it predicts nothing.
    """

    def __init__(
        self,
        name: str,
        features: Features,
        task: Task,
        encoder: nn.Module | None = None,
        predict: Predict | None = None,
    ) -> None:
        self.name = name
        self.features = features
        self.task = task
        self.encoder = encoder
        self.predict = predict
        self.answers: dict[str, Tensor] = {}

    def keep(self, metric: str, values: Tensor) -> None:
        """Keep what each test sample adds to a score: (N,) values whose mean is the score."""
        self.answers[metric] = values

    @cached_property
    def predictions(self) -> Any:
        """What is predicted of the test samples: a ``Result`` of the type that the protocol
        judges.

        Raises:
            RuntimeError: If this row predicts nothing.
        """
        if self.predict is None:
            raise RuntimeError(f"the row {self.name} predicts nothing")
        task = self.task
        return predicted(self.predict, task.test, task.view, device=task.wanted.device)

    @cached_property
    def train(self) -> Tensor:
        """Features of the training samples, (N, D)."""
        return self.features(self.task.train, self.task.view)

    @cached_property
    def test(self) -> Tensor:
        """Features of the test samples, (N, D)."""
        return self.features(self.task.test, self.task.view)

    @cached_property
    def labelled(self) -> tuple[Labelled, Labelled]:
        """Training and test features with their classes."""
        task = self.task
        return Labelled(self.train, task.train.label, task.classes), Labelled(
            self.test, task.test.label, task.classes
        )

    @cached_property
    def probes(self) -> list[Probe]:
        """The linear probes, one a seed."""
        return linear_probes(self.labelled[0], seeds=range(self.task.wanted.seeds))

    @cached_property
    def value_errors(self) -> tuple[list[Probe], Tensor]:
        """The ridge probes of real-valued targets, one a seed, and their errors (seeds, N) on the
        test samples.
        """
        probes = ridge_probes(
            self.train, self.task.train.label, seeds=range(self.task.wanted.seeds)
        )
        return probes, torch.stack(
            [probe.errors(self.test, self.task.test.label) for probe in probes]
        ).double()


def no_baselines(task: Task) -> Mapping[str, Predict]:
    """Of protocols that compare with nothing else."""
    return {}


@dataclass(frozen=True)
class Protocol:
    """One way to judge.

    Attributes:
        name: as the user names it.
        version: the name under which its scores are stored; its settings never change under it.
        statement: what it does, for readers of the table.
        judge: the scores of a row; none where it does not apply to that row.
        lacks: what it needs and the task does not have, in words; None if it can be run.
        quick: whether it is cheap enough to run without being asked for.
        judges: The type of result that it judges; None where it judges features.
        baselines: (task) to what else could be predicted, by name of the row: the simplest answers
            that a method must beat.
        online: (row) to a few numbers by name, cheap enough to be looked at while a run trains.
        section: "module:function" of its part of a run's page: (Look) to a ``Section``, or None
            where there is nothing to show; "": none.
        headline: Metrics that stand for the protocol, the most telling first; "* recall@1" stands
            for all that end so.
        beats: Of a protocol that judges results, the rows among its baselines that a method must
            beat by the headline, beside a random encoder; a verdict rests on the headline where
            there are any.
        rank: Place in tables; lower comes first.
    """

    name: str
    version: str
    statement: str
    judge: Callable[[Row], Iterator[Score]]
    lacks: Callable[[Task], str | None]
    quick: bool = False
    judges: type[Result] | None = None
    baselines: Callable[[Task], Mapping[str, Predict]] = no_baselines
    online: Callable[[Row], dict[str, float]] | None = None
    section: str = ""
    headline: tuple[str, ...] = ()
    beats: tuple[str, ...] = ()
    rank: int = 50

    def fits(self, predicts: type[Result] | None) -> bool:
        """Whether it judges a method that predicts this; features are judged where nothing is
        predicted, and beside some results.
        """
        if self.judges is not None:
            return predicts is not None and issubclass(predicts, self.judges)
        return predicts is None or predicts.judged_as_features


def needs_classes(task: Task) -> str | None:
    """What a protocol for class labels lacks."""
    return None if task.target == "class" else "class labels"


def needs_images(task: Task) -> str | None:
    """What a protocol for images lacks."""
    return needs_modality("image", "images")(task)


def needs_modality(modality: str, words: str) -> Callable[[Task], str | None]:
    """What a protocol for one modality lacks; ``words`` call its samples ("images")."""
    return lambda task: None if task.modality == modality else words


def share(
    row: str,
    protocol: str,
    metric: str,
    values: Sequence[float],
    samples: int,
    *,
    over: str = "",
    setting: str = "",
) -> Score:
    """A mean accuracy with the wider of two intervals: probes that agree do not make a small test
    set large, nor a large one the probes agree.
    """
    mean = mean_interval(values)
    score = wilson(mean.value, samples)
    if mean.high - mean.low > score.high - score.low:  # false for one value, whose ends are NaN
        low = max(0.0, mean.low)
        high = min(1.0, mean.high)
        return Score(row, protocol, metric, mean.value, low, high, over, len(values), "%", setting)
    return Score(row, protocol, metric, *score, "test samples", samples, "%", setting)


def averaged(
    row: str,
    protocol: str,
    metric: str,
    values: Sequence[float],
    over: str,
    *,
    unit: str = "%",
    setting: str = "",
) -> Score:
    """A mean of values that are at most 1 with its t-interval, which ends there."""
    mean = mean_interval(values)
    high = mean.high if math.isnan(mean.high) else min(1.0, mean.high)
    return Score(
        row, protocol, metric, mean.value, mean.low, high, over, len(values), unit, setting
    )


def penalties(probes: Sequence[Probe]) -> str:
    """The penalties that validation picked, for ``Score.setting``."""
    return "penalty " + " ".join(
        f"{penalty:g}" for penalty in sorted({probe.penalty for probe in probes})
    )
