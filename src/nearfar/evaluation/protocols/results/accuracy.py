"""What a method itself says of the test samples: classes or values, beside the answer that needs no
sample.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor
from torch.nn.functional import nll_loss, one_hot

from nearfar.evaluation.protocol import Predict, Protocol, Row, Task, needs_classes, share
from nearfar.evaluation.result import Score
from nearfar.results.classes import Classes
from nearfar.results.values import Values
from nearfar.rows import tensors_of

_SMALLEST = 1e-12


def _accuracy(row: Row) -> Iterator[Score]:
    found: Classes = row.predictions
    label = row.task.test.label.to(found.probabilities.device)
    right = (found.label == label).double()
    row.keep("accuracy", right)
    yield share(row.name, ACCURACY.version, "accuracy", [float(right.mean())], len(right))
    present = label.unique()
    each = torch.stack([right[label == number].mean() for number in present])
    yield Score(row.name, ACCURACY.version, "balanced accuracy", float(each.mean()), unit="%")
    logarithms = found.probabilities.double().clamp_min(_SMALLEST).log()
    loss = float(nll_loss(logarithms, label))
    yield Score(row.name, ACCURACY.version, "cross-entropy", loss, better="lower")


def _online_accuracy(row: Row) -> dict[str, float]:
    found: Classes = row.predictions
    label = row.task.test.label.to(found.probabilities.device)
    return {"accuracy": float((found.label == label).double().mean())}


def commonest_class(task: Task) -> Mapping[str, Predict]:
    """The shares of the classes among the training samples, for every sample alike."""
    label = task.train.label.cpu()
    shares = one_hot(label[label >= 0], task.classes).double().mean(0)
    names = task.source.spec.classes

    def commonest(x: object) -> Classes:
        count = len(tensors_of(x)[0])
        return Classes(shares.expand(count, -1), names)

    return {"commonest class": commonest}


def _values(row: Row) -> Iterator[Score]:
    errors = _absolute_errors(row)
    row.keep("mean absolute error", errors)
    mean = float(errors.mean())
    half = 1.96 * float(errors.std()) / len(errors) ** 0.5 if len(errors) > 1 else 0.0
    yield Score(
        row.name,
        VALUES.version,
        "mean absolute error",
        mean,
        max(0.0, mean - half),
        mean + half,
        "test samples",
        len(errors),
        better="lower",
    )


def _absolute_errors(row: Row) -> Tensor:
    found: Values = row.predictions
    label = row.task.test.label.to(found.values.device).double()
    errors = (found.values.double() - label).abs()
    mean: Tensor = errors if errors.ndim == 1 else errors.mean(1)
    return mean


def _mean(task: Task) -> Mapping[str, Predict]:
    """The mean of the training samples' values, for every sample alike."""
    mean = task.train.label.cpu().double().mean(0)
    return {"mean value": lambda x: Values(mean.expand(len(tensors_of(x)[0]), *mean.shape))}


def _needs_values(task: Task) -> str | None:
    return None if task.target == "value" else "labels that are real numbers"


ACCURACY = Protocol(
    "accuracy",
    "accuracy-v1",
    "the likeliest class that the method itself names, on the test samples; balanced accuracy: the "
    "mean over classes; interval over test samples (Wilson)",
    _accuracy,
    needs_classes,
    quick=True,
    judges=Classes,
    baselines=commonest_class,
    online=_online_accuracy,
    headline=("accuracy",),
    beats=("commonest class",),
    rank=2,
)
VALUES = Protocol(
    "values",
    "values-v1",
    "the method's own predictions of the test samples' values; interval over test samples (normal)",
    _values,
    _needs_values,
    quick=True,
    judges=Values,
    baselines=_mean,
    headline=("mean absolute error",),
    beats=("mean value",),
    rank=3,
)
PROTOCOLS = (ACCURACY, VALUES)
