"""The embedded data: always the same, split by original digit, and no easier or harder than stated."""

from __future__ import annotations

import pytest
import torch

from nearfar.data import load


@pytest.mark.parametrize(("name", "side"), [("digits", 8), ("cluttered-digits", 32)])
def test_shape_and_split(name: str, side: int) -> None:
    source = load(name)
    assert (source.spec.name, source.spec.shape, source.spec.classes) == (name, (1, side, side), tuple("0123456789"))
    assert source.spec.extra["flip"] is False
    assert source.test is not None
    assert (len(source.train), len(source.test)) == (1437, 360)
    assert not set(source.train.ids) & set(source.test.ids)
    assert source.notes == []
    assert source.test.label is not None
    assert source.test.label.bincount(minlength=10).min() >= 25


def test_both_sets_have_the_same_split_and_labels_whatever_the_seed() -> None:
    plain, cluttered = load("digits"), load("cluttered-digits", seed=5)
    assert plain.train.ids == cluttered.train.ids
    assert plain.train.label is not None
    assert cluttered.train.label is not None
    assert torch.equal(plain.train.label, cluttered.train.label)
