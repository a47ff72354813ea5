"""The data sets that come with nearfar, made from scikit-learn's handwritten digits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from nearfar.data.content.arrays import ReadyArray
from nearfar.data.tables.table import Table

SEED = 0
"""Of the split and of cluttered-digits. Scores can be compared between runs only because it never
changes.
"""
TEST_COUNT = 360

CANVAS = 32
CELLS = 8
DIGIT_SIZE = (8.0, 16.0)
"""Side of a digit in pixels, least and most."""
FRAGMENTS = 2
FRAGMENT_CELLS = (2, 2)
"""Side of a fragment in cells of the 8 x 8 digit that it is cut from, least and most."""
FRAGMENT_SIZE = (8.0, 8.0)
"""Side in pixels of that digit, had it been placed as a whole, least and most."""
VIEWS = {"flip": False, "solarise": False, "crop": 0.5}
"""What views must respect: a mirrored digit is another sign, a solarised bright stroke vanishes on
the black ground, and two crops of less than half of the canvas often share no digit: its side is a
quarter to half of the canvas. Facts for ``Spec.extra``.
"""
FAINTEST = 48.0
"""Value, of 255, from which a pixel belongs to what is drawn there and not to the background."""

Floats = NDArray[np.float64]


def read_digits() -> Table:
    """1,797 digits, uint8 (1, 8, 8), with a fixed split."""
    images, label = handwritten_digits()
    return _table("digits", np.rint(images).astype(np.uint8), label)


def read_cluttered_digits() -> Table:
    """The same digits and split, each at a random size and place on 32 x 32 pixels among fragments
    of other digits.

    A fragment is a square cut from another digit of the same part, so that nothing of a test digit
    is seen in training. Place and size vary so much that samples of a class share few lit pixels:
    by kNN (k = 20, T = 0.07) raw pixels reach 0.41 and a random small convolutional net 0.28. How
    the numbers were chosen is told in docs/results/cluttered-digits.md.

    Source: after Mnih et al. 2014, "Recurrent Models of Visual Attention", section 4.1 (cluttered
        translated MNIST).
    """
    layers, label = _layers()
    canvas = np.max(layers, axis=0)
    table = _table("cluttered-digits", np.floor(canvas + 0.5 + 1e-6).astype(np.uint8), label)
    table.annotations["regions"] = _regions(np.stack(layers)).astype(np.uint8)
    return table


def cluttered_digit_regions(ids: Sequence[str]) -> NDArray[np.int64]:
    """What each pixel of cluttered-digits shows, (N, 32, 32): 0 background, 1 the digit, 2 a
    fragment of another.

    Args:
        ids: of the samples, as the loaded set has them.
    """
    return _regions(np.stack(_layers()[0])[:, [int(name) for name in ids]])


def _regions(layers: Floats) -> NDArray[np.int64]:
    return np.where(layers.max(axis=0) < FAINTEST, 0, np.where(layers.argmax(axis=0) == 0, 1, 2))


def _layers() -> tuple[list[Floats], NDArray[np.int64]]:
    """The digits and their fragments, each alone on its canvas (N, 32, 32), and the labels."""
    images, label = handwritten_digits()
    random = np.random.RandomState(
        SEED
    )  # its streams are frozen for good, unlike those of newer generators
    whole = np.zeros((len(images), 2)), np.full(len(images), float(CELLS))
    layers = [_placed(images, *whole, DIGIT_SIZE, random)]
    for _ in range(FRAGMENTS):
        fragment, corner, side = _fragments(images, random)
        layers.append(_placed(fragment, corner, side, FRAGMENT_SIZE, random))
    return layers, label


def handwritten_digits() -> tuple[Floats, NDArray[np.int64]]:
    """scikit-learn's 1,797 digits (N, 8, 8) in [0, 255], and which they show."""
    digits = load_digits()
    return digits.images * (255 / 16), digits.target.astype(np.int64)


def is_test(length: int) -> NDArray[np.bool_]:
    """Which of ``length`` samples are the test set, (N,): the same draw for every set made from the
    digits.
    """
    chosen = np.zeros(length, dtype=bool)
    chosen[np.random.RandomState(SEED).permutation(length)[:TEST_COUNT]] = True
    return chosen


def _table(name: str, images: NDArray[np.uint8], label: NDArray[np.int64]) -> Table:
    part = np.where(is_test(len(images)), "test", "train").tolist()
    columns: dict[str, NDArray[Any]] = {"label": label}
    ids = [str(i) for i in range(len(images))]
    return Table(
        name,
        ids,
        ReadyArray(images[:, None], name),
        None,
        columns,
        part,
        "label",
        extra=dict(VIEWS),
    )


def _fragments(images: Floats, random: np.random.RandomState) -> tuple[Floats, Floats, Floats]:
    """For each digit a piece of another one of its part: (N, 8, 8) with all else blank, its first
    cell (N, 2) and side (N,).
    """
    length = len(images)
    test = is_test(len(images))
    other = np.empty(length, dtype=np.int64)
    for rows in (np.flatnonzero(test), np.flatnonzero(~test)):
        shift = random.randint(1, len(rows), len(rows))
        other[rows] = rows[(np.arange(len(rows)) + shift) % len(rows)]
    side = random.randint(FRAGMENT_CELLS[0], FRAGMENT_CELLS[1] + 1, length)
    corner = np.floor(random.uniform(size=(length, 2)) * (CELLS + 1 - side)[:, None]).astype(
        np.int64
    )
    inside = (np.arange(CELLS) >= corner[:, :, None]) & (
        np.arange(CELLS) < (corner + side[:, None])[:, :, None]
    )
    return (
        images[other] * inside[:, 0, :, None] * inside[:, 1, None, :],
        corner.astype(float),
        side.astype(float),
    )


def _placed(
    images: Floats,
    corner: Floats,
    side: Floats,
    sizes: tuple[float, float],
    random: np.random.RandomState,
) -> Floats:
    """Scale each (8, 8) image to a size in pixels between the two, and shift it so that the box
    from ``corner``, ``side`` cells wide, lies at random on the canvas.
    """
    scale = random.uniform(*sizes, len(images)) / CELLS
    start = (
        random.uniform(size=(len(images), 2)) * (CANVAS - side * scale)[:, None]
        - corner * scale[:, None]
    )
    down, across = (_interpolation(start[:, axis], scale) for axis in (0, 1))
    placed: Floats = down @ images @ across.transpose(0, 2, 1)
    return placed


def _interpolation(start: Floats, scale: Floats) -> Floats:
    """Bilinear weights (N, 32, 8) of the cells in each pixel along one axis, blank beyond the
    edge.
    """
    position = (np.arange(CANVAS) + 0.5 - start[:, None]) / scale[:, None] - 0.5
    weight: Floats = np.clip(1 - np.abs(position[:, :, None] - np.arange(CELLS)), 0, 1)
    return weight
