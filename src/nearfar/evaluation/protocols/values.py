"""The ridge probe of real-valued targets."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from nearfar.evaluation.intervals import mean_interval
from nearfar.evaluation.linear import ridge_probes
from nearfar.evaluation.protocol import Protocol, Row, Task, penalties
from nearfar.evaluation.regression import BINS, balanced_error
from nearfar.evaluation.result import Score


def _ridge(row: Row) -> Iterator[Score]:
    task, test = row.task, row.test
    probes = ridge_probes(row.train, task.train.label, seeds=range(task.wanted.seeds))
    targets = task.test.label.to(test)
    errors = torch.stack([probe.errors(test, targets) for probe in probes]).double()
    absolute, squared = errors.abs().mean(dim=0), mean_interval(errors.square().mean(dim=0).tolist())
    variance = float(targets.double().var(correction=0))
    scaled = [1 - end / variance if variance else math.nan for end in (squared.value, squared.high, squared.low)]
    found = {
        "mean absolute error": mean_interval(absolute.tolist()),
        "balanced mean absolute error": balanced_error(absolute, targets),
        "R2": scaled,
    }
    for metric, (value, low, high) in found.items():
        yield Score(row.name, RIDGE.version, metric, value, low, high, "test samples", len(test), setting=penalties(probes))


def _needs_values(task: Task) -> str | None:
    return None if task.target == "value" else "real-valued labels"


RIDGE = Protocol(
    "ridge", "ridge-v2",
    "ridge regression on standardised features, penalty picked on 20 % of the training samples and refitted on all, mean over "
    f"splits; balanced: each of {BINS} even bins of the test targets' range that holds samples counts alike; interval over test "
    "samples (t; of R2 with their variance held fixed)",
    _ridge, _needs_values, quick=True,
)  # fmt: skip
