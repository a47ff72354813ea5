"""Encoded recordings (files, or bytes in a column): brought to one rate and length, kept as log-mel
spectrograms in the cache."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray

from nearfar.data.cache import key_of, remembered, write_blocks
from nearfar.data.content.bounds import check_steps
from nearfar.data.content.sound import (
    BANDS,
    Encoded,
    UnreadableError,
    Wave,
    decode,
    log_mel,
    resampled,
)
from nearfar.data.options import DataOptions
from nearfar.data.spec import Spec
from nearfar.data.tables.table import Loaded, decoded_rows
from nearfar.errors import UserError

HOP = 0.01
"""Seconds from one frame to the next, more where there would be over ``MOST_FRAMES``."""
MOST_FRAMES = 128
COVERED = 0.95
"""Share of the recordings that the common length holds whole."""

_BLOCK = 256
_BLOCK_SAMPLES = 1 << 22
"""Most samples of the waveforms that are transformed together, unless one alone is longer."""
_VERSION = 2
"""Of what is written; a change makes old cache entries unused."""


@dataclass(frozen=True)
class _Grid:
    """Samples a second, samples of a recording and samples from one frame to the next."""

    rate: int
    samples: int
    hop: int

    @property
    def frames(self) -> int:
        return 1 + self.samples // self.hop


@dataclass(frozen=True)
class Recordings:
    """N recordings that have not been decoded.

    Attributes:
        encoded: from ascending rows to the recordings' bytes or files.
        ids: N names, for the list of unreadable ones.
        facts: what tells this content from any other, for the cache.
        name: of the data, for errors.
    """

    encoded: Callable[[NDArray[np.int64]], Sequence[Encoded]]
    ids: Sequence[str]
    facts: object
    name: str

    @property
    def modality(self) -> str:
        return "audio"

    def load(self, rows: NDArray[np.int64], options: DataOptions, like: Spec | None) -> Loaded:
        if options.size is not None:
            check_steps(options.size, "The data option size is")
        wanted = (
            None
            if like is None
            else _Grid(*(int(like.extra[name]) for name in ("sampling_rate", "samples", "hop")))
        )
        key = key_of(_VERSION, "log-mel", self.facts, rows.tobytes(), options.size, wanted)
        array, about = remembered(
            key, lambda file: self._write(file, rows, options.size, wanted), options.cache
        )
        unreadable = dict(about["unreadable"])
        readable, notes = decoded_rows(
            unreadable, self.ids, rows, f"recordings of {self.name}", strict=options.strict
        )
        if about["cropped"] or about["padded"]:
            notes.append(
                f"Of {len(rows)} recordings {about['cropped']} were cropped in the middle and "
                f"{about['padded']} followed by silence, "
                f"to {about['samples'] / about['sampling_rate']:.2f} s."
            )
        return Loaded(
            torch.from_numpy(array),
            readable,
            notes,
            {name: about[name] for name in ("sampling_rate", "samples", "hop")},
        )

    def _write(
        self, file: BinaryIO, rows: NDArray[np.int64], size: int | None, wanted: _Grid | None
    ) -> dict[str, Any]:
        """Spectrograms of all rows into an open .npy; the facts say which are broken (and zero) and
        how the others were changed."""
        found = [
            one if isinstance(one, str) else (len(one[0]), one[1]) for one in self._decoded(rows)
        ]
        measured = [one for one in found if not isinstance(one, str)]
        broken = [(place, one) for place, one in enumerate(found) if isinstance(one, str)]
        if not measured:
            reasons = (
                "; ".join(dict.fromkeys(reason for _, reason in broken if reason))
                or "check that they are complete sound files"
            )
            raise UserError(
                f"None of the {len(rows)} recordings of {self.name} can be read: {reasons}."
            )
        grid = wanted or _common_grid(measured, size)
        seconds = np.array([samples / rate for samples, rate in measured])
        length = grid.samples / grid.rate
        write_blocks(
            file, (len(rows), BANDS, grid.frames), np.float32, self._spectrograms(rows, grid)
        )
        return {
            "unreadable": broken,
            "cropped": int((seconds > length + 1 / grid.rate).sum()),
            "padded": int((seconds < length - 1 / grid.rate).sum()),
            "sampling_rate": grid.rate,
            "samples": grid.samples,
            "hop": grid.hop,
        }

    def _decoded(self, rows: NDArray[np.int64]) -> Iterator[tuple[Wave, int] | str]:
        """The waveform and rate of each recording, or the reason why there is none; one at a time,
        as they may be long."""
        for start in range(0, len(rows), _BLOCK):
            for encoded in self.encoded(rows[start : start + _BLOCK]):
                yield _waveform(encoded)

    def _spectrograms(self, rows: NDArray[np.int64], grid: _Grid) -> Iterator[NDArray[np.float32]]:
        block = max(1, min(_BLOCK, len(rows), _BLOCK_SAMPLES // grid.samples))
        waves = np.zeros((block, grid.samples), dtype=np.float32)
        for place, one in enumerate(self._decoded(rows)):
            waves[place % block] = (
                0 if isinstance(one, str) else _fitted(resampled(*one, grid.rate), grid.samples)
            )
            count = place % block + 1
            if count == block or place == len(rows) - 1:
                yield log_mel(torch.from_numpy(waves[:count]), grid.rate, grid.hop).numpy()


def _waveform(encoded: Encoded) -> tuple[Wave, int] | str:
    try:
        return decode(encoded)
    except UnreadableError as error:
        return str(error)


def _common_grid(measured: Sequence[tuple[int, int]], size: int | None) -> _Grid:
    """The most common rate (the higher of equals), and the length that nearly all recordings fit
    into or ``size`` frames."""
    rates = Counter(rate for _, rate in measured)
    rate = max(rates, key=lambda one: (rates[one], one))
    hop = max(1, round(HOP * rate))
    if size is not None:
        return _Grid(rate, (size - 1) * hop or hop - 1, hop)
    lengths = np.array([samples / own for samples, own in measured])
    samples = max(hop, round(float(np.quantile(lengths, COVERED, method="higher")) * rate))
    return _Grid(rate, samples, max(hop, -(-samples // (MOST_FRAMES - 1))))


def _fitted(wave: Wave, samples: int) -> Wave:
    """Cropped in the middle, or followed by zeros."""
    start = max(0, (len(wave) - samples) // 2)
    kept = wave[start : start + samples]
    return np.pad(kept, (0, samples - len(kept)))
