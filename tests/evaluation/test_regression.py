"""The balanced error against a loop."""

from __future__ import annotations

import math

import pytest
import torch

from nearfar.errors import UserError
from nearfar.evaluation.probes.regression import balanced_error


def test_each_bin_counts_alike() -> None:
    targets = torch.rand(300).double().square() * 50
    errors = torch.rand(300).double() + targets / 20
    bins: dict[int, list[float]] = {}
    low = float(targets.min())
    width = float(targets.max() - targets.min()) / 20
    for error, target in zip(errors.tolist(), targets.tolist(), strict=True):
        bins.setdefault(min(19, int((target - low) / width)), []).append(error)
    expected = sum(sum(one) / len(one) for one in bins.values()) / len(bins)
    found = balanced_error(errors, targets)
    assert found.value == pytest.approx(expected, rel=1e-12)
    assert found.value > float(errors.mean()), "rare large targets have the larger errors here"


def test_rare_targets_weigh_more_and_even_ones_the_same() -> None:
    targets = torch.tensor([0.0] * 99 + [10.0])
    errors = torch.tensor([1.0] * 99 + [5.0])
    assert balanced_error(errors, targets).value == pytest.approx(3)
    even = torch.arange(20.0).repeat(5)
    assert balanced_error(even, even).value == pytest.approx(float(even.mean()))


def test_the_interval_covers_the_truth() -> None:
    generator = torch.Generator().manual_seed(1)
    covered = 0
    for _ in range(200):
        targets = torch.rand(400, generator=generator) * 10
        found = balanced_error(torch.rand(400, generator=generator), targets)
        covered += found.low <= 0.5 <= found.high
    assert 180 <= covered <= 199


def test_no_spread_and_errors() -> None:
    assert balanced_error(torch.ones(4), torch.ones(4)) == (1.0, 1.0, 1.0)
    assert math.isnan(balanced_error(torch.ones(2), torch.tensor([0.0, 1.0])).low)
    with pytest.raises(UserError, match=r"Errors have shape \(3,\), targets \(2,\)"):
        balanced_error(torch.ones(3), torch.ones(2))
