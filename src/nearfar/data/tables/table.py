"""What a reader hands over: a row for each sample, its columns, and content that is decoded once
the rows are chosen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from nearfar.data.options import DataOptions
from nearfar.data.spec import Spec
from nearfar.errors import UserError


@dataclass(frozen=True)
class Loaded:
    """Decoded content of some rows.

    Attributes:
        content: uint8 or uint16 (M, C, H, W) or (M, C, F, H, W), or float32 (M, C, T), or any other
            kind of ``nearfar.rows``; a place for each row that was asked for.
        readable: (M,) whether the place is filled; the others hold nothing of use.
        notes: sentences for the user.
        extra: facts for ``Spec.extra``.
    """

    content: Any
    readable: NDArray[np.bool_]
    notes: list[str] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)


class Content(Protocol):
    """Images, series, recordings, clips or points that have not been decoded yet."""

    @property
    def modality(self) -> str:
        """ "image", "series", "audio", "video", "points" or "graph"."""

    def load(self, rows: NDArray[np.int64], options: DataOptions, like: Spec | None) -> Loaded:
        """Decode M ascending rows, in the shape of ``like`` where it is given.

        Raises:
            UserError: for content that cannot be used.
        """


@runtime_checkable
class Stored(Protocol):
    """Content whose pictures can be stored whole, apart from the size of views."""

    def sizes(self, rows: NDArray[np.int64]) -> list[tuple[int, int] | None]:
        """Height and width of each picture; None where it cannot be read."""


def ranged_by(content: Content | None, rows: NDArray[np.int64]) -> Content | None:
    """The same content, with the training samples named: the range of values of more than 8 bits is
    theirs. Content without such values is as it was.

    Args:
        content: Of a table.
        rows: Of the training samples in it.
    """
    narrowed = getattr(content, "ranged_by", None)
    if narrowed is None:
        return content
    found: Content = narrowed(rows)
    return found


@dataclass
class Table:
    """N samples before they are split, limited and decoded.

    Attributes:
        name: of the data set.
        ids: N names.
        content: images, series and so on; None for texts alone.
        texts: N texts; None without.
        partners: N texts, each to be compared with the text of its row; None without.
        columns: values (N,) by name: labels, groups and anything else.
        annotations: arrays (N, ...) for ``Samples.annotations``.
        part: the part ("train", "test" ...) of each row, where the data say so.
        label: column that holds the labels unless the user names another.
        classes: for columns of class numbers, the names of the classes.
        notes: sentences for the user.
        extra: facts for ``Spec.extra``.
        left_out: how many things were found beside the samples and not read, by what they are.
        parts: of samples with named parts, the modality of each by name, in order; ``texts`` are
            the part that is a text, and ``content`` holds the others.
        groups: columns that are groups, whatever their names.
        split_column: column from which ``part`` comes; None if folders or files name the parts.
    """

    name: str
    ids: list[str]
    content: Content | None = None
    texts: list[str] | None = None
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    part: Sequence[str] | None = None
    label: str | None = None
    classes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)
    partners: list[str] | None = None
    annotations: dict[str, NDArray[Any]] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    split_column: str | None = None
    parts: Mapping[str, str] = field(default_factory=dict)
    groups: tuple[str, ...] = ()

    @property
    def modality(self) -> str:
        """As in ``Spec``."""
        if self.parts:
            return "+".join(self.parts.values())
        if self.content is None:
            return "text"
        return self.content.modality if self.texts is None else f"{self.content.modality}+text"


def skipped_note(
    names: Sequence[str], total: int, kind: str, *, strict: bool, reasons: Sequence[str] = ()
) -> list[str]:
    """A sentence on files that could not be read, or none; with the reasons that are no mere
    damage.

    Raises:
        UserError: if ``strict``, or if all of them are unreadable.
    """
    if not names:
        return []
    first = ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
    told = list(dict.fromkeys(reason for reason in reasons if reason))
    if told:
        first += f" ({'; '.join(told[:2])}{' ...' if len(told) > 2 else ''})"
    if len(names) == total:
        raise UserError(
            f"None of the {total} {kind} can be read ({first}); check that the files are complete."
        )
    found = f"{len(names)} of {total} {kind} cannot be read: {first}"
    if strict:
        raise UserError(f"{found}; repair or remove them, or leave out --strict to skip them.")
    return [f"{found}; skipped."]


def decoded_rows(
    unreadable: Mapping[int, str],
    ids: Sequence[str],
    rows: NDArray[np.int64],
    kind: str,
    *,
    strict: bool,
) -> tuple[NDArray[np.bool_], list[str]]:
    """Which of M decoded places are filled, and the sentence on those that are not.

    Args:
        unreadable: places in [0, M) that could not be decoded, with the reason or "" for mere
            damage.
        ids: names of all N samples.
        rows: (M,) their numbers.
        kind: what they are, for the sentence.
        strict: as for ``skipped_note``, whose errors are raised.
    """
    places = np.array(list(unreadable), dtype=np.int64)
    readable = np.ones(len(rows), dtype=bool)
    readable[places] = False
    names = [ids[rows[place]] for place in places]
    return readable, skipped_note(
        names, len(rows), kind, strict=strict, reasons=list(unreadable.values())
    )
