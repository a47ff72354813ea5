"""Simple features: they tell what classical processing tells, and stand in every table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from nearfar.data.content.arrays import in_memory
from nearfar.errors import UserError
from nearfar.evaluation.simple import (
    band_statistics,
    components,
    log_spectrum,
    simple_features,
)
from nearfar.finding.index import features_from


def plain(samples: Tensor) -> Tensor:
    return samples


def raw(samples: object, view: object) -> Tensor:
    return samples.take(torch.arange(len(samples))).flatten(1).float()


def test_components_are_those_of_the_training_samples() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(60, 1, 30, generator=generator) @ torch.randn(30, 30, generator=generator)
    train = in_memory(values[:40])
    make = components(raw, train)
    found = make(in_memory(values[40:]), plain)
    centred = values[:40].flatten(1).double()
    mean = centred.mean(0)
    _, _, axes = torch.linalg.svd(centred - mean, full_matrices=False)
    expected = (values[40:].flatten(1).double() - mean) @ axes.T
    torch.testing.assert_close(found.abs().double(), expected.abs(), rtol=1e-4, atol=1e-4)


def test_a_spectrum_does_not_see_when_and_sees_how_fast() -> None:
    time = torch.arange(256) / 256
    tones = torch.stack([torch.sin(2 * torch.pi * rate * time) for rate in (5, 40)])
    shifted = tones.roll(17, dims=1)
    series = in_memory(torch.cat([tones, shifted])[:, None])
    found = log_spectrum(raw, series)(series, plain)
    assert torch.dist(found[0], found[2]) < 0.1 * torch.dist(found[0], found[1])


def test_bands_are_told_by_mean_and_deviation() -> None:
    bands = torch.randn(3, 4, 50)
    found = band_statistics(raw, None)(in_memory(bands), plain)
    assert torch.equal(found[:, :4], bands.mean(2))
    assert torch.equal(found[:, 4:], bands.std(2))


@pytest.mark.parametrize(
    ("modality", "words"),
    [("image", "principal components"), ("series", "spectrum"), ("audio", "each band")],
)
def test_they_are_named(modality: str, words: str) -> None:
    made = simple_features(modality, raw, None)
    assert made is not None
    assert words in made[1]


def test_features_of_any_model_are_found_by_their_ids(tmp_path: Path) -> None:
    path = tmp_path / "other.npz"
    np.savez(path, id=np.array(["0", "2", "1"]), embedding=np.eye(3, dtype=np.float32))
    samples = in_memory(torch.zeros(3, 1, 4))
    found = features_from(path)(samples, plain)
    assert found.argmax(1).tolist() == [0, 2, 1]
    with pytest.raises(UserError, match="no features of 1 of 4 samples, such as '3'"):
        features_from(path)(in_memory(torch.zeros(4, 1, 4)), plain)
