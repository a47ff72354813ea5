"""Clips: a list of encoded frames a sample, decoded into the cache as uint8 (N, C, F, H, W)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nearfar.data.content.files.encoded import Encoded
from nearfar.data.content.pictures import Pictures
from nearfar.data.options import DataOptions
from nearfar.data.spec import Spec
from nearfar.data.tables.table import Loaded
from nearfar.errors import UserError


@dataclass(frozen=True)
class Clips:
    """N clips whose frames have not been decoded.

    Attributes:
        frames: from ascending rows to the encoded frames of each.
        ids: N names, for the list of unreadable ones.
        facts: what tells this content from any other, for the cache.
        name: of the data, for errors.
        lengths: (N,) how many frames each has; of a clip with other than the most common number
            evenly chosen frames are taken.
        ranged: as for ``Pictures``, clips instead of frames.
    """

    frames: Callable[[NDArray[np.int64]], Sequence[Sequence[Encoded]]]
    ids: Sequence[str]
    facts: object
    name: str
    lengths: NDArray[np.int64]
    ranged: NDArray[np.int64] | None = None

    def ranged_by(self, rows: NDArray[np.int64]) -> Clips:
        """The same clips, whose least and largest value are those of these alone."""
        return replace(self, ranged=rows)

    @property
    def modality(self) -> str:
        return "video"

    def load(self, rows: NDArray[np.int64], options: DataOptions, like: Spec | None) -> Loaded:
        chosen = self.lengths[rows]
        there = chosen[chosen > 0]
        if not len(there):
            raise UserError(
                f"None of the {len(rows)} clips of {self.name} has a frame; expected lists of "
                f"encoded images."
            )
        count = like.shape[1] if like is not None else _most_common(there)
        frames = Pictures(
            self._chosen(count),
            [name for name in self.ids for _ in range(count)],
            (self.facts, count),
            self.name,
            None if self.ranged is None else _places(self.ranged, count),
            streams=False,
        )
        places = _places(rows, count)
        one = (
            None
            if like is None
            else replace(like, modality="image", shape=(like.shape[0], *like.shape[2:]))
        )
        found = frames.load(places, options, one)
        content = found.content.reshape(len(rows), count, *found.content.shape[1:]).transpose(1, 2)
        readable: NDArray[np.bool_] = np.all(found.readable.reshape(len(rows), count), axis=1)
        if not readable.any():
            raise UserError(
                f"Of every clip of {self.name} some frame cannot be read; check that they are "
                f"complete image files."
            )
        notes = [note.replace(" images ", " frames ") for note in found.notes]
        other = int((there != count).sum())
        if other:
            notes.append(
                f"{other:,} of {len(rows):,} clips have other than {count} frames, from "
                f"{there.min()} to {there.max()}: "
                "of longer ones evenly chosen frames are taken, frames of shorter ones are "
                "repeated."
            )
        empty = len(chosen) - len(there)
        if empty:
            notes.append(f"{empty:,} of {len(rows):,} clips have no frame and are left out.")
        return Loaded(content.contiguous(), readable, notes, found.extra)

    def _chosen(self, count: int) -> Callable[[NDArray[np.int64]], Sequence[Encoded]]:
        """From numbers of frames, ``count`` a clip, to the frames; a clip without frames gives
        empty ones."""

        def encoded(places: NDArray[np.int64]) -> list[Encoded]:
            rows = np.unique(places // count)
            clips = dict(zip(rows.tolist(), self.frames(rows), strict=True))
            found: list[Encoded] = []
            for place in places.tolist():
                clip = clips[place // count]
                found.append(clip[place % count * len(clip) // count] if clip else b"")
            return found

        return encoded


def _places(rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Numbers of the frames of some clips, ``count`` a clip."""
    return (rows[:, None] * count + np.arange(count)).reshape(-1)


def _most_common(numbers: NDArray[np.int64]) -> int:
    """The most common of some positive numbers, the largest of equals."""
    counts = np.bincount(numbers)
    return int(np.flatnonzero(counts == counts.max())[-1])
