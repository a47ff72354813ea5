"""Protocols of real-valued targets: the ridge probe, and its errors by how common a target is."""

from __future__ import annotations

import math
from collections.abc import Iterator

from nearfar.evaluation.kernels.intervals import mean_interval
from nearfar.evaluation.kernels.shots import FEW, MANY, shot_errors
from nearfar.evaluation.probes.regression import BINS, balanced_error
from nearfar.evaluation.protocol import Protocol, Row, Task, penalties
from nearfar.evaluation.result import Score


def _ridge(row: Row) -> Iterator[Score]:
    (probes, errors) = row.value_errors
    test = row.test
    targets = row.task.test.label.to(test)
    absolute = errors.abs().mean(dim=0)
    squared = mean_interval(errors.square().mean(dim=0).tolist())
    variance = float(targets.double().var(correction=0))
    if variance:
        row.keep("R2", 1 - errors.square().mean(dim=0) / variance)
    scaled = [
        1 - end / variance if variance else math.nan
        for end in (squared.value, squared.high, squared.low)
    ]
    found = {
        "mean absolute error": mean_interval(absolute.tolist()),
        "balanced mean absolute error": balanced_error(absolute, targets),
        "R2": scaled,
    }
    for metric, (value, low, high) in found.items():
        yield Score(
            row.name,
            RIDGE.version,
            metric,
            value,
            low,
            high,
            "test samples",
            len(test),
            setting=penalties(probes),
        )


def _shots(row: Row) -> Iterator[Score]:
    _, errors = row.value_errors
    targets = row.task.test.label.to(errors)
    train = row.task.train.label.to(errors)
    found = [shot_errors(one, targets, train) for one in errors]
    for group in found[0]:
        about = f"{found[0][group].samples} test samples"
        for metric, values in (
            ("mean absolute error", [one[group].mean for one in found]),
            ("geometric mean error", [one[group].geometric for one in found]),
        ):
            if group != "all" or metric != "mean absolute error":  # which the ridge protocol has
                yield Score(
                    row.name,
                    SHOTS.version,
                    f"{metric}, {group} shots",
                    sum(values) / len(values),
                    setting=about,
                )


def _needs_values(task: Task) -> str | None:
    return (
        None
        if task.target == "value" and task.source.spec.values == 1
        else "real-valued labels, one a sample"
    )


def _needs_whole_values(task: Task) -> str | None:
    lacking = _needs_values(task)
    if lacking is None and bool((task.train.label != task.train.label.round()).any()):
        return "targets that are whole numbers"
    return lacking


RIDGE = Protocol(
    "ridge",
    "ridge-v2",
    "ridge regression on standardised features, penalty picked on 20 % of the training samples and "
    "refitted on all, mean over "
    f"splits; balanced: each of {BINS} even bins of the test targets' range that holds samples "
    "counts alike; interval over test "
    "samples (t; of R2 with their variance held fixed)",
    _ridge,
    _needs_values,
    quick=True,
    rank=40,
    headline=("R2", "mean absolute error"),
)
SHOTS = Protocol(
    "shots",
    "shots-v1",
    "ridge-v2 by how many training samples have the target of a test sample: many (more than "
    f"{MANY}), medium, few (fewer than {FEW})"
    " shots; mean over splits of the mean and of the geometric mean of absolute errors",
    _shots,
    _needs_whole_values,
    rank=45,
)
PROTOCOLS = (
    RIDGE,
    SHOTS,
)
