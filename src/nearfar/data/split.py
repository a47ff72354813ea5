"""Which samples are for training and which for testing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

TRAIN_NAMES = ("train", "training")
TEST_NAMES = ("test", "testing", "val", "valid", "validation", "dev", "eval")
"""The first of these that occurs is the test set."""

TEST_SHARE = 0.2


def given_split(parts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64], list[str]] | None:
    """Training rows, test rows and notes from the name of each row's part; None if there is no training or no test part.

    Parts that are neither (a validation set beside a test set, unlabelled extras) are left out, with a note.
    """
    names = np.char.lower(np.asarray(parts, dtype=str))
    found = set(names.tolist())
    test_name = next((name for name in TEST_NAMES if name in found), None)
    train = np.isin(names, TRAIN_NAMES)
    if test_name is None or not train.any():
        return None
    test = names == test_name
    others = sorted(found - {test_name, *TRAIN_NAMES})
    count = int((~train & ~test).sum())
    notes = [f"{count} samples of {', '.join(map(repr, others))} are left out: {test_name!r} is the test set."] if count else []
    return np.flatnonzero(train), np.flatnonzero(test), notes


def own_split(
    length: int, *, label: NDArray[np.int64] | None, group: NDArray[np.int64] | None, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Training and test rows, about four to one, ascending.

    Each class is split in that proportion as nearly as possible. Samples of one group never lie on both sides; with fewer than
    two groups, or under three samples, the test set is empty.

    Args:
        length: number N of samples.
        label: (N,) classes, or None.
        group: (N,) group numbers, or None.
        seed: of the draw.
    """
    random = np.random.default_rng(seed)
    classes = np.zeros(length, dtype=np.int64) if label is None else label
    chosen = _by_sample(classes, random) if group is None else _by_group(classes, group, random)
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def _by_sample(classes: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.bool_]:
    """Deal the samples, shuffled and class by class, into five hands; one of them is the test set."""
    shuffled = random.permutation(len(classes))
    order = shuffled[np.argsort(classes[shuffled], kind="stable")]
    chosen = np.zeros(len(classes), dtype=bool)
    every = round(1 / TEST_SHARE)
    chosen[order[every // 2 :: every]] = True
    return chosen


def _by_group(classes: NDArray[np.int64], group: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.bool_]:
    """Take whole groups, in random order, while each brings the test set's classes nearer to their share."""
    counts = np.zeros((int(group.max()) + 1, int(classes.max()) + 1))
    np.add.at(counts, (group, classes), 1)
    members = np.flatnonzero(counts.any(axis=1))
    if len(members) < 2:
        return np.zeros(len(classes), dtype=bool)
    total = counts.sum(axis=0).clip(min=1)
    missing = np.full(counts.shape[1], TEST_SHARE) * (counts.sum(axis=0) > 0)
    taken = []
    for member in random.permutation(members):
        share = counts[member] / total
        if np.square(missing - share).sum() < np.square(missing).sum():
            missing -= share
            taken.append(member)
    if not taken:  # every group is large: the smallest is the least harm
        taken = [members[counts[members].sum(axis=1).argmin()]]
    return np.isin(group, taken)


def limited(rows: NDArray[np.int64], limit: int, seed: int) -> NDArray[np.int64]:
    """At most ``limit`` of the rows, drawn at random, ascending; with one seed, fewer are always among more."""
    if len(rows) <= limit:
        return rows
    return np.sort(rows[np.random.default_rng(seed).permutation(len(rows))[:limit]])
