"""Simple features: what a few lines of classical processing make of a sample, beside what was
learned. Where they are as good as an encoder, the encoder has learned nothing of use.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool1d

from nearfar import modalities
from nearfar.errors import UserError
from nearfar.evaluation.features import RAW_VALUES
from nearfar.found import at_home

SIMPLE = "simple features"
"""The name of their row."""
_COMPONENTS = 128
_FITTED = 10_000

RawFeatures = Callable[[Any, Any], Tensor]
"""From samples and a view of them to their raw values (N, D)."""


def simple_features(modality: str, raw: RawFeatures, train: Any) -> tuple[RawFeatures, str] | None:
    """How the simple features of a modality are made, and what they are in words; None where it
    has none.

    Args:
        modality: Of the data.
        raw: Of the row of the raw input.
        train: Training samples, which components are fitted on.
    """
    home = modalities.get(modality).simple
    if home is None:
        return None
    make = at_home(home)
    made: RawFeatures = make(raw, train)
    return made, str(make.__doc__).partition("\n")[0].rstrip(".").lower()


def components(raw: RawFeatures, train: Any) -> RawFeatures:
    """The first 128 principal components of the raw input."""
    fitted: list[tuple[Tensor, Tensor]] = []

    def features(samples: Any, view: Any) -> Tensor:
        if not fitted:
            order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
            values = raw(train.subset(order[:_FITTED]), view).double()
            mean = values.mean(0)
            _, _, axes = torch.linalg.svd(values - mean, full_matrices=False)
            fitted.append((mean, axes[:_COMPONENTS].T))
        mean, axes = fitted[0]
        projected = (raw(samples, view).double() - mean) @ axes
        return projected.float()

    return features


def log_spectrum(raw: RawFeatures, train: Any) -> RawFeatures:
    """The logarithm of each channel's spectrum."""

    def features(samples: Any, view: Any) -> Tensor:
        blocks = []
        for rows in torch.split(torch.arange(len(samples)), 1024):
            series = view(samples.take(rows)).float()
            spectrum = torch.log1p(torch.fft.rfft(series, dim=2).abs())
            most = max(1, RAW_VALUES // series.shape[1])
            if spectrum.shape[2] > most:
                spectrum = adaptive_avg_pool1d(spectrum, most)
            blocks.append(spectrum.flatten(1))
        return torch.cat(blocks)

    return features


def band_statistics(raw: RawFeatures, train: Any) -> RawFeatures:
    """The mean and the deviation over time of each band of the spectrogram."""

    def features(samples: Any, view: Any) -> Tensor:
        blocks = []
        for rows in torch.split(torch.arange(len(samples)), 1024):
            bands = view(samples.take(rows)).float()
            blocks.append(torch.cat([bands.mean(2), bands.std(2)], dim=1))
        return torch.cat(blocks)

    return features


def features_from(path: Path) -> RawFeatures:
    """Features that lie in a file, found by the samples' ids.

    Args:
        path: A .parquet or .npz file with the columns id and embedding, as `nearfar embed` writes.

    Raises:
        UserError: If the file cannot be read; when it is asked, if it lacks a sample.
    """
    from nearfar.finding.index import read_index

    index = read_index(path)
    rows = {name: row for row, name in enumerate(index.ids)}

    def features(samples: Any, view: Any) -> Tensor:
        missing = [name for name in samples.ids if name not in rows]
        if missing:
            raise UserError(
                f"{path} has no features of {len(missing):,} of {len(samples):,} samples, such as "
                f"{missing[0]!r}; expected all: embed the whole data set."
            )
        places = np.array([rows[name] for name in samples.ids])
        return index.features[torch.from_numpy(places)].float()

    return features
