"""Composite digits: always the same, split with the digits, and made of what is stated."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch

from nearfar.data import load
from nearfar.data.made import composites
from nearfar.data.samples import Samples
from nearfar.evaluation.probes.knn import knn_predict


def _all(samples: Samples) -> torch.Tensor:
    return samples.take(torch.arange(len(samples)))


@pytest.mark.parametrize(
    ("name", "digest"),
    [("colour-digits", "efa9a97d8f6b1691"), ("striped-digits", "94ed765d3a8344d6")],
)
def test_the_data_never_change(name: str, digest: str) -> None:
    """If this fails, scores can no longer be compared with earlier ones."""
    source = load(name)
    found = hashlib.sha256()
    assert all("exact copies" in note for note in source.notes)
    for samples in (source.train, source.test):
        found.update(_all(samples).numpy().tobytes())
    assert found.hexdigest()[:16] == digest


def test_colour_digits_have_two_unrelated_labels_and_the_digits_split() -> None:
    source = load("colour-digits")
    colours = load("colour-digits", label="colour")
    plain = load("digits")
    assert source.spec.shape == (3, 16, 16)
    assert (source.spec.classes, colours.spec.classes) == (
        tuple("0123456789"),
        tuple(composites.COLOURS),
    )
    assert source.train.ids == plain.train.ids
    assert torch.equal(source.train.label, plain.train.label)
    counts = torch.zeros(10, 8).index_put_(
        (source.train.label, colours.train.label), torch.ones(1437), accumulate=True
    )
    expected = counts.sum(1, keepdim=True) * counts.sum(0) / 1437
    assert ((counts - expected).square() / expected).sum() < 103, (
        "chi-square with 63 degrees of freedom, 0.1 % level"
    )
    corner = _all(colours.train)[:, :, 0, 0]
    assert torch.equal(
        corner,
        torch.tensor(list(composites.COLOURS.values()), dtype=torch.uint8)[colours.train.label],
    )


def test_raw_pixels_of_colour_digits_show_the_colour_first() -> None:
    source = load("colour-digits")
    colours = load("colour-digits", label="colour")
    train, test = (_all(s).flatten(1).float() for s in (source.train, source.test))
    of_colour = (
        (knn_predict(train, colours.train.label, test, classes=8) == colours.test.label)
        .double()
        .mean()
    )
    assert of_colour > 0.99


def test_striped_digits_are_backgrounds_and_targets_on_the_same_stripes() -> None:
    flag, digit, orientation = (
        load("striped-digits", label=name) for name in ("target", "digit", "orientation")
    )
    assert (len(flag.train), len(flag.test)) == (2874, 720)
    assert flag.spec.classes == ("background", "target")
    assert digit.spec.classes == ("background", *"0123456789")
    assert torch.equal(digit.train.label > 0, flag.train.label == 1)
    assert flag.train.label.bincount().tolist() == [1437, 1437]
    images = _all(flag.train)
    background = flag.train.label == 0
    assert images[background].max() <= 128
    for quarter in range(4):
        rows = _all(orientation.train)[background & (orientation.train.label == quarter)][
            :, 0
        ].float()
        across = rows.diff(dim=2).abs().mean()
        down = rows.diff(dim=1).abs().mean()
        assert [across > 9 * down, across.isclose(down, rtol=0.05), down > 9 * across][
            [0, 1, 2, 1][quarter]
        ]


def test_no_digit_is_on_both_sides_of_the_split() -> None:
    source = load("striped-digits")
    train, test = (
        {int(name) % 1797 for name in samples.ids} for samples in (source.train, source.test)
    )
    assert not train & test


def test_the_frame_shows_the_ground_alone() -> None:
    cover = composites.in_the_middle(np.full((3, 8, 8), 255.0))
    assert (
        cover[:, 0].max()
        == cover[:, -1].max()
        == cover[:, :, 0].max()
        == cover[:, :, -1].max()
        == 0
    )
    assert cover[:, 2:-2, 2:-2].min() == 1
