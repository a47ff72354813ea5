"""Planted label errors are found, by the better ranking, with about the precision that is
promised.
"""

from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from nearfar.finding.label_errors import PLANTED, likely_errors, rankings

from .scenes import KINDS, encoded, scenes


def digits() -> tuple[Tensor, Tensor, int]:
    found = load_digits()
    return torch.from_numpy(found.data).float(), torch.from_numpy(found.target), 10


def composed() -> tuple[Tensor, Tensor, int]:
    pictures, kind = scenes(1000)
    return encoded("convnet", pictures, pictures[:200], kind[:200]), kind, KINDS


def planted(number: Tensor, classes: int, seed: int) -> tuple[Tensor, set[int]]:
    draw = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(number), generator=draw)[: round(PLANTED * len(number))]
    wrong = number.clone()
    wrong[rows] = (wrong[rows] + torch.randint(1, classes, (len(rows),), generator=draw)) % classes
    return wrong, set(rows.tolist())


@pytest.mark.parametrize("data", [digits, composed])
def test_planted_errors_are_found_with_the_promised_precision(data: object) -> None:
    features, number, classes = data()  # type: ignore[operator]
    wrong, errors = planted(number, classes, 5)
    found = likely_errors(features, [f"c{value}" for value in wrong.tolist()], len(errors))
    hits = sum(doubt.row in errors for doubt in found.doubts)
    assert hits / len(errors) >= 0.85
    trial = found.trials[found.ranking]
    assert trial.least - 0.1 <= hits / len(found.doubts) <= trial.most + 0.1
    assert "Expected precision" in found.note()
    right = sum(
        doubt.other == f"c{int(number[doubt.row])}" for doubt in found.doubts if doubt.row in errors
    )
    assert right >= 0.9 * hits


@pytest.mark.parametrize("data", [digits, composed])
def test_the_default_is_no_worse_than_either_ranking_alone(data: object) -> None:
    features, number, classes = data()  # type: ignore[operator]
    wrong, errors = planted(number, classes, 6)
    found = likely_errors(features, [str(value) for value in wrong.tolist()], len(errors))
    hits = sum(doubt.row in errors for doubt in found.doubts)
    for ranked in rankings(features, wrong, classes).values():
        assert hits >= sum(row in errors for row, _, _ in ranked[: len(errors)]) - 2
    assert found.trials[found.ranking].found == max(trial.found for trial in found.trials.values())


def test_small_and_odd_sets() -> None:
    features = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))
    assert likely_errors(features, ["a"] * 12).doubts == ()
    few = likely_errors(features, ["a", "b"] * 6)
    assert "too small" in few.note()
    assert (
        likely_errors(features, ["a", "b", "", "", "c"] + [""] * 7).doubts == ()
    )  # nobody can doubt a single sample
    same = likely_errors(features, ["a", "b"] * 6)
    assert same.doubts == few.doubts
