"""The embedded data: always the same, split by original digit, and no easier or harder than
stated.
"""

from __future__ import annotations

import hashlib
import time

import numpy as np
import pytest
import torch

from nearfar.data import load
from nearfar.data.made import embedded
from nearfar.evaluation.probes.knn import knn_predict


@pytest.mark.parametrize(("name", "side"), [("digits", 8), ("cluttered-digits", 32)])
def test_shape_and_split(name: str, side: int) -> None:
    source = load(name)
    assert (source.spec.name, source.spec.shape, source.spec.classes) == (
        name,
        (1, side, side),
        tuple("0123456789"),
    )
    assert source.spec.extra == {"flip": False, "solarise": False, "crop": 0.5}
    assert source.test is not None
    assert (len(source.train), len(source.test)) == (1437, 360)
    assert not set(source.train.ids) & set(source.test.ids)
    assert source.notes == []
    assert source.test.label is not None
    assert source.test.label.bincount(minlength=10).min() >= 25


def test_both_sets_have_the_same_split_and_labels_whatever_the_seed() -> None:
    plain = load("digits")
    cluttered = load("cluttered-digits", seed=5)
    assert plain.train.ids == cluttered.train.ids
    assert plain.train.label is not None
    assert cluttered.train.label is not None
    assert torch.equal(plain.train.label, cluttered.train.label)


def test_the_data_never_change() -> None:
    """If this fails, scores can no longer be compared with earlier ones."""
    digest = hashlib.sha256()
    source = load("cluttered-digits")
    assert source.test is not None
    for samples in (source.train, source.test):
        digest.update(samples.take(torch.arange(len(samples))).numpy().tobytes())
    assert digest.hexdigest()[:16] == "a97741e7d890e03f"


def test_raw_pixels_reach_what_is_stated() -> None:
    source = load("cluttered-digits")
    assert source.test is not None
    train, test = (
        s.take(torch.arange(len(s))).flatten(1).float() for s in (source.train, source.test)
    )
    predicted = knn_predict(train, source.train.label, test, classes=10)
    assert (predicted == source.test.label).double().mean() == pytest.approx(0.406, abs=0.005)


def test_a_digit_covers_the_wanted_part_of_the_canvas() -> None:
    full = np.full((2000, 8, 8), 255.0)
    random = np.random.RandomState(3)
    placed = (
        embedded._placed(full, np.zeros((2000, 2)), np.full(2000, 8.0), (8.0, 16.0), random) > 127
    )
    rows = placed.any(axis=2)
    columns = placed.any(axis=1)
    sides = rows.sum(axis=1)
    assert np.all(np.abs(sides - columns.sum(axis=1)) <= 1)
    assert (sides.min(), sides.max()) == (8, 16)
    for covered in (
        rows,
        columns,
    ):  # one unbroken run, and every pixel of the canvas is covered by some
        assert np.all(np.abs(np.diff(covered.astype(int), axis=1)).sum(axis=1) <= 2)
        assert covered.any(axis=0).all()


def test_scaling_keeps_the_picture() -> None:
    random = np.random.RandomState(0)
    image = random.uniform(0, 255, (1, 8, 8))
    weight = embedded._interpolation(np.zeros(1), np.full(1, 4.0))
    enlarged = torch.nn.functional.interpolate(
        torch.from_numpy(image)[None], size=32, mode="bilinear"
    )[0, 0]
    inner = slice(2, 30)  # beyond, we fade to black and they repeat the edge
    assert np.allclose((weight[0] @ image[0] @ weight[0].T)[inner, inner], enlarged[inner, inner])


def test_fragments_are_squares_of_other_digits_of_the_same_part() -> None:
    digits, _ = embedded.handwritten_digits()
    numbered = np.broadcast_to(1.0 + np.arange(len(digits))[:, None, None], digits.shape)
    fragment, corner, side = embedded._fragments(numbered, np.random.RandomState(1))
    origin = fragment.max(axis=(1, 2)).astype(int) - 1
    is_test = embedded.is_test(len(digits))
    assert np.all(origin != np.arange(len(digits)))
    assert np.array_equal(is_test[origin], is_test)
    assert set(side) == {2.0}
    assert np.array_equal((fragment > 0).sum(axis=(1, 2)), side**2)
    assert np.array_equal((fragment > 0).any(axis=2).argmax(axis=1), corner[:, 0])
    assert np.array_equal((fragment > 0).any(axis=1).argmax(axis=1), corner[:, 1])


def test_building_takes_well_under_a_second() -> None:
    embedded.read_digits()
    start = time.process_time()
    embedded.read_cluttered_digits()
    assert time.process_time() - start < 1


def test_regions_say_which_pixels_are_the_digit() -> None:
    source = load("cluttered-digits")
    regions = embedded.cluttered_digit_regions(source.train.ids)
    images = source.train.take(torch.arange(len(source.train)))[:, 0].numpy()
    assert regions.shape == images.shape
    assert set(np.unique(regions)) == {0, 1, 2}
    assert images[regions == 0].max() <= embedded.FAINTEST
    assert images[regions > 0].min() >= embedded.FAINTEST - 1
    assert np.all((regions == 1).any(axis=(1, 2)))
