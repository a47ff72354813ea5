"""Splits are seeded, keep the classes' shares, and never tear a group apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nearfar.data.split import given_split, limited, own_split


@settings(deadline=None)
@given(counts=st.lists(st.integers(0, 40), min_size=1, max_size=5), seed=st.integers(0, 5))
def test_each_class_gives_a_fifth(counts: list[int], seed: int) -> None:
    label = np.repeat(np.arange(len(counts)), counts)
    train, test = own_split(len(label), label=label, group=None, seed=seed)
    assert sorted([*train, *test]) == list(range(len(label)))
    for number, count in enumerate(counts):
        assert abs((label[test] == number).sum() - count / 5) < 1


@settings(deadline=None)
@given(group=st.lists(st.integers(0, 8), min_size=2, max_size=80), seed=st.integers(0, 5))
def test_no_group_lies_on_both_sides(group: list[int], seed: int) -> None:
    groups = np.unique(group, return_inverse=True)[1]
    label = np.arange(len(group)) % 2
    train, test = own_split(len(group), label=label, group=groups, seed=seed)
    assert sorted([*train, *test]) == list(range(len(group)))
    assert not set(groups[train]) & set(groups[test])
    assert (len(test) == 0) == (groups.max() == 0)
    assert len(train) > 0


def test_groups_are_split_near_the_share_of_each_class() -> None:
    group = np.repeat(np.arange(50), 10)
    label = (group % 2).astype(np.int64)
    for seed in range(5):
        _, test = own_split(500, label=label, group=group, seed=seed)
        assert np.bincount(label[test]).tolist() == [50, 50]


def test_the_seed_decides() -> None:
    splits = [own_split(100, label=None, group=None, seed=seed)[1].tolist() for seed in (0, 0, 1)]
    assert splits[0] == splits[1] != splits[2]


@pytest.mark.parametrize(
    ("parts", "train", "test", "left_out"),
    [
        (["train", "test", "train"], [0, 2], [1], None),
        (["Training", "VAL"], [0], [1], None),
        (["train", "val", "test", "extra"], [0], [2], "2 samples of 'extra', 'val' are left out"),
    ],
)
def test_a_given_split_is_kept(
    parts: list[str], train: list[int], test: list[int], left_out: str | None
) -> None:
    found = given_split(parts)
    assert found is not None
    assert (found[0].tolist(), found[1].tolist()) == (train, test)
    assert (left_out in found[2][0]) if left_out else found[2] == []


@pytest.mark.parametrize("parts", [["train", "train"], ["test", "test"], ["a", "b"]])
def test_parts_that_are_no_split_are_none(parts: list[str]) -> None:
    assert given_split(parts) is None


def test_a_smaller_limit_is_part_of_a_larger_one() -> None:
    rows = np.arange(100, 200)
    few = limited(rows, 10, 3)
    more = limited(rows, 30, 3)
    assert (len(few), len(more)) == (10, 30)
    assert set(few) <= set(more) <= set(rows)
    assert np.all(np.diff(more) > 0)
    assert limited(rows, 100, 3) is rows
