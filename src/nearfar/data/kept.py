"""The split that a run was made with, found again in data that may have changed since."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nearfar.data.marks import Marks, is_small, marks_of, marks_of_texts, together
from nearfar.data.options import DataOptions
from nearfar.data.spec import Spec
from nearfar.data.tables.rows import some
from nearfar.data.tables.table import Loaded, Table, ranged_by
from nearfar.errors import UserError

TRAIN = "train"
TEST = "test"
UNUSED = ""
CHANGED = "The data changed since the run was made"
"""So begins the note on it."""
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Kept:
    """The samples of a run.

    Attributes:
        ids: N names.
        parts: (N,) "train", "test", or "" for samples that were read and used for neither.
        marks: (N,) of their content; 0 for those in neither part.
        spec: of the run's training data.
        whole: whether marks are of whole samples (see ``marks_of``).
        exact: whether the training samples must be the same, as for a run that goes on.
        labels: (N,) as text, None for samples in neither part; None for a run of a version that did
            not keep them, or where labels of another column are wanted.
    """

    ids: Sequence[str]
    parts: Sequence[str]
    marks: Marks
    spec: Spec
    whole: bool = True
    exact: bool = False
    labels: Sequence[str | None] | None = None

    def relabelled(self, numbers: Rows, labels: Sequence[str | None]) -> int:
        """How many of some of the run's samples have other labels than in the run.

        Args:
            numbers: (M,) of the samples.
            labels: (M,) as text, as they are now.
        """
        if self.labels is None:
            return 0
        used = [self.parts[number] != UNUSED for number in numbers]
        before = [self.labels[number] for number in numbers]
        return sum(
            known and one != now for known, one, now in zip(used, before, labels, strict=True)
        )


@dataclass(frozen=True)
class Matched:
    """What of a table a run knows.

    Attributes:
        table: the rows that the run knows.
        parts: training rows and test rows of it.
        notes: what changed, if anything did.
        like: the spec that the content must be brought to; None if it will be so by itself.
        numbers: of the run's sample that each row of it is.
    """

    table: Table
    parts: list[Rows]
    notes: list[str]
    like: Spec | None
    numbers: Rows


def content_marks(
    table: Table, rows: Rows, loaded: Loaded | None, whole: bool | None
) -> tuple[Marks, bool]:
    """Marks of some rows of a table whose content has been loaded, and whether they are of whole
    samples."""
    found: Marks | None = None
    whole = True if whole is None and loaded is None else whole
    if loaded is not None:
        whole = is_small(loaded.content, len(rows)) if whole is None else whole
        found = marks_of(loaded.content, np.arange(len(rows)), whole=whole)
    if table.texts is not None:
        texts = marks_of_texts([table.texts[row] for row in rows])
        found = texts if found is None else together(found, texts)
    assert found is not None
    if loaded is not None:
        found[~loaded.readable] = 0
    return found, bool(whole)


def match(table: Table, kept: Kept, options: DataOptions) -> Matched:
    """Give the rows of a table the parts that they had in a run.

    A row with a known name and its content of then has its part of then. Where that does not
    account for all samples, any other row is known by its content (files that were renamed, rows
    that moved), and a row of a known name with other content keeps its part. All other rows are new
    and are left out.

    Raises:
        UserError: if no training sample of the run is left, or, where it must be exact, if any is
            gone or changed.
    """
    numbers = {key: number for number, key in enumerate(_distinct(kept.ids))}
    known = np.array([numbers.get(key, -1) for key in _distinct(table.ids)], dtype=np.int64)
    parts = np.array(kept.parts, dtype=object)
    same_rows = len(known) == len(parts) and bool((known == np.arange(len(parts))).all())
    like = None if same_rows else kept.spec.of(table.modality)
    used = np.flatnonzero((known >= 0) & (parts[known] != UNUSED)) if len(known) else known
    if len(known):
        trained = np.flatnonzero((known >= 0) & (parts[known] == TRAIN))
        table = dataclasses.replace(table, content=ranged_by(table.content, trained))
    marks = _marks(table, used, options, like, kept.whole)
    if len(used) == int((parts != UNUSED).sum()) and bool((marks == kept.marks[known[used]]).all()):
        changes = Counter(new=int((known < 0).sum()))
    else:
        like = kept.spec.of(table.modality)
        known, changes = _by_content(
            known, kept, _marks(table, np.arange(len(known)), options, like, kept.whole)
        )
    return _matched(table, kept, known, changes, like)


def _by_content(known: Rows, kept: Kept, marks: Marks) -> tuple[Rows, Counter[str]]:
    """For each row the number of the run's sample that it is, or -1; and what changed.

    No two rows are the same sample. First come rows of their name and content, then those of their
    content, then those of their name.
    """
    used = np.array([part != UNUSED for part in kept.parts])
    found = np.full(len(known), -1, dtype=np.int64)
    same = known >= 0
    same[same] = ~used[known[same]] | (kept.marks[known[same]] == marks[same])
    found[same] = known[same]
    claimed = set(found[same].tolist())
    unclaimed: dict[int, list[int]] = {}
    for number in sorted(
        np.flatnonzero(used).tolist(), key=lambda n: kept.parts[n] == TRAIN
    ):  # the last is taken first
        if number not in claimed:
            unclaimed.setdefault(int(kept.marks[number]), []).append(number)
    changes: Counter[str] = Counter()
    for row in np.flatnonzero(found < 0).tolist():
        numbers = unclaimed.get(int(marks[row]))
        if numbers:
            found[row] = numbers.pop()
            changes["moved"] += 1
    claimed = set(found.tolist())
    contents = set(kept.marks[used].tolist())
    for row in np.flatnonzero(found < 0).tolist():
        number = int(known[row])
        if (
            number >= 0 and number not in claimed and marks[row] not in contents
        ):  # no copy of another
            found[row] = number
            changes["changed"] += 1
        else:
            changes["new"] += 1
    changes["gone"] = int(used.sum()) - int(np.isin(np.flatnonzero(used), found).sum())
    return found, changes


def _matched(
    table: Table, kept: Kept, known: Rows, changes: Counter[str], like: Spec | None
) -> Matched:
    there = np.flatnonzero(known >= 0)
    part = np.array([kept.parts[number] for number in known[there]], dtype=object)
    train = np.flatnonzero(part == TRAIN)
    test = np.flatnonzero(part == TEST)
    told = _told(changes)
    if kept.exact and _trained_otherwise(kept, known[there][train], changes):
        raise UserError(
            f"The data of this run, {table.name}, changed since it was started ({told}), so it "
            f"cannot go on as it would have; "
            "bring back the samples that it was started with, or start a new run."
        )
    if not len(train):
        raise UserError(
            f"None of the training samples of this run are among the {len(table.ids):,} samples of "
            f"{table.name} ({told or 'all are new'}); "
            "bring back the data that it was trained on, or give other data with --data."
        )
    notes = (
        [f"{CHANGED}: {told}. Training and test samples are those that the run kept."]
        if told
        else []
    )
    return Matched(some(table, there), [train, test], notes, like, known[there])


def _trained_otherwise(kept: Kept, numbers: Rows, changes: Counter[str]) -> bool:
    """Whether the training samples are not, in order, those of the run."""
    trained = [number for number, part in enumerate(kept.parts) if part == TRAIN]
    return bool(changes["changed"] or changes["gone"]) or numbers.tolist() != trained


def _told(changes: Counter[str]) -> str:
    words = {
        "new": "{} new and left out",
        "gone": "{} gone",
        "changed": "{} with other content",
        "moved": "{} under other names or in other rows",
    }
    told = [text.format(f"{changes[what]:,}") for what, text in words.items() if changes[what]]
    return f"of its samples {', '.join(told)}" if told else ""


def _distinct(ids: Sequence[str]) -> list[tuple[str, int]]:
    """Names with how often each has occurred before."""
    seen: Counter[str] = Counter()
    found = []
    for one in ids:
        found.append((one, seen[one]))
        seen[one] += 1
    return found


def _marks(table: Table, rows: Rows, options: DataOptions, like: Spec | None, whole: bool) -> Marks:
    if not len(rows):
        return np.zeros(0, dtype=np.int64)
    loaded = None
    if table.content is not None:
        part = None if like is None else like.of(table.content.modality)
        loaded = table.content.load(rows, options, part)
    return content_marks(table, rows, loaded, whole)[0]
