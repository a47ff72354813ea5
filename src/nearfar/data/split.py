"""Which samples are for training and which for testing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from nearfar.errors import UserError

SPLIT_NAME = "split"
"""The column that names each row's part, whatever the case of its letters."""
SPLIT_WORDS = ("split", "set", "part", "fold", "usage", "phase", "stage", "mode", "purpose", "role")
"""A column with one of these in its name says so, too, if all of its values are common words, of
which some are for training and some for testing."""
TRAIN_FLAGS = ("istrain", "istraining", "trainmask", "trainingmask")
TEST_FLAGS = (
    "istest",
    "istesting",
    "testmask",
    "isholdout",
    "holdout",
    "isval",
    "isvalid",
    "isvalidation",
    "valmask",
)
"""Columns of truths, or of 0 and 1, that say which rows are for training or for testing; letters
alone, without the marks between words."""
TRAIN_NAMES = ("train", "training", "trn", "tr")
TEST_NAMES = (
    "test",
    "testing",
    "tst",
    "holdout",
    "hold-out",
    "hold_out",
    "heldout",
    "held-out",
    "held_out",
    "unseen",
    "val",
    "valid",
    "validation",
    "dev",
    "development",
    "eval",
    "evaluation",
)
"""The first of these that occurs is the test set."""
EXTRA_NAMES = (
    "unlabelled",
    "unlabeled",
    "unsupervised",
    "unsup",
    "extra",
    "extras",
    "other",
    "none",
    "",
)
"""Parts that are neither, and left out."""

TEST_SHARE = 0.2


def given_split(
    parts: Sequence[str], column: str | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64], list[str]] | None:
    """Training rows, test rows and notes from the name of each row's part; None if there is no
    training or no test part.

    Parts that are neither (a validation set beside a test set, unlabelled extras) are left out,
    with a note.

    Raises:
        UserError: if ``column`` names the column that the parts come from, and it holds a word that
            is no part's.
    """
    names = np.char.lower(np.char.strip(np.asarray(parts, dtype=str)))
    found = set(names.tolist())
    if column is not None and not are_parts(found):
        words = sorted(found - {*TRAIN_NAMES, *TEST_NAMES, *EXTRA_NAMES})
        raise UserError(
            f"The column {column!r} says which part a row belongs to, but "
            f"{', '.join(map(repr, words[:5]))} is not understood; "
            "expected words such as train, test, validation and holdout, or rename the column if "
            "it is something else."
        )
    test_name = next((name for name in TEST_NAMES if name in found), None)
    train = np.isin(names, TRAIN_NAMES)
    if test_name is None or not train.any():
        return None
    test = names == test_name
    others = sorted(found - {test_name, *TRAIN_NAMES})  # missing ones are called ""
    count = int((~train & ~test).sum())
    notes = (
        [
            f"{count} samples of {', '.join(map(repr, others))} are left out: {test_name!r} is the "
            f"test set."
        ]
        if count
        else []
    )
    return np.flatnonzero(train), np.flatnonzero(test), notes


def all_are_tests(parts: Sequence[str]) -> bool:
    """Whether every row belongs to a part for testing."""
    return {one.strip().lower() for one in parts} <= set(TEST_NAMES)


def are_parts(words: Iterable[str]) -> bool:
    """Whether all words, in small letters, are common names of parts."""
    return set(words) <= {*TRAIN_NAMES, *TEST_NAMES, *EXTRA_NAMES}


def are_both_parts(words: Iterable[str]) -> bool:
    """Whether all words are common names of parts, some of the training part, some of the test
    part."""
    found = set(words)
    return are_parts(found) and not (found.isdisjoint(TRAIN_NAMES) or found.isdisjoint(TEST_NAMES))


def may_name_parts(name: str) -> bool:
    """Whether a column may say, by its name, which part each row belongs to."""
    letters = _letters(name)
    is_flag = letters in (*TRAIN_FLAGS, *TEST_FLAGS)
    return is_flag or any(word in letters for word in SPLIT_WORDS)


def _letters(name: str) -> str:
    return re.sub("[^a-z]", "", name.lower())


def flagged_part(name: str, values: NDArray[np.bool_]) -> list[str] | None:
    """Parts by a column of truths that is called after one of them; None for other columns.

    >>> flagged_part("is_test", np.array([True, False]))
    ['test', 'train']
    """
    letters = _letters(name)
    if letters not in (*TRAIN_FLAGS, *TEST_FLAGS) or values.all() or not values.any():
        return None
    return ["train" if value == (letters in TRAIN_FLAGS) else "test" for value in values.tolist()]


def part_word(name: str) -> str:
    """The common word for a part that a name begins or ends with, or "".

    >>> [part_word(name) for name in ("train2017", "Test_Set", "testset", "cats-train", "trains")]
    ['train', 'test', 'test', 'train', '']
    """
    plain = re.sub(r"(?<=[a-z])(set|data|images|imgs)?[0-9]*$", "", name.lower())
    words = re.split("[^a-z]+", plain)
    known = (*TRAIN_NAMES, *TEST_NAMES)
    return next((word for word in (plain, words[0], words[-1]) if word in known), "")


def own_split(
    length: int, *, label: NDArray[np.int64] | None, group: NDArray[np.int64] | None, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Training and test rows, about four to one, ascending.

    Each class is split in that proportion as nearly as possible. Samples of one group never lie on
    both sides; with fewer than two groups, or under three samples, the test set is empty.

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
    """Deal the samples, shuffled and class by class, into five hands; one is the test set."""
    shuffled = random.permutation(len(classes))
    order = shuffled[np.argsort(classes[shuffled], kind="stable")]
    chosen = np.zeros(len(classes), dtype=bool)
    every = round(1 / TEST_SHARE)
    chosen[order[every // 2 :: every]] = True
    return chosen


def _by_group(
    classes: NDArray[np.int64], group: NDArray[np.int64], random: np.random.Generator
) -> NDArray[np.bool_]:
    """Take whole groups, in random order, while each brings the test set's classes nearer to their
    share."""
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
    """At most ``limit`` of the rows, drawn at random, ascending; with one seed, fewer are always
    among more."""
    if len(rows) <= limit:
        return rows
    return np.sort(rows[np.random.default_rng(seed).permutation(len(rows))[:limit]])
