"""Digits on a second thing that can be asked for: data on which one feature hides another, or one
part of the samples has a factor that the rest lacks. Made from scikit-learn's handwritten digits,
always the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.data.content.arrays import ReadyArray
from nearfar.data.made.embedded import SEED, Floats, handwritten_digits, is_test
from nearfar.data.tables.table import Table

SIDE = 16
ROOM = 14
"""Pixels along a side of an image, and of the digit in its middle; the frame around it shows the
ground alone.
"""

COLOURS: Mapping[str, tuple[int, int, int]] = {
    "red": (200, 30, 30),
    "green": (30, 150, 40),
    "blue": (30, 50, 200),
    "yellow": (190, 170, 20),
    "magenta": (170, 30, 160),
    "cyan": (20, 160, 170),
    "orange": (220, 110, 20),
    "grey": (110, 110, 110),
}
ORIENTATIONS = ("0 degrees", "45 degrees", "90 degrees", "135 degrees")
PERIOD = 5.0
"""Of the stripes, in pixels."""


def read_colour_digits() -> Table:
    """Each digit in white on one of 8 colours, which has nothing to do with it: uint8 (3, 16, 16).

    Colour is the easy feature that a contrastive loss is content with; the digit is the other one.
    Columns "digit" (the label) and "colour".

    Source: after Chen, Luo and Li 2021 and Zhang et al. 2024 (MCL), digits on another feature;
        colours instead of photographs.
    """
    digits, label = handwritten_digits()
    number = np.random.RandomState(SEED).randint(0, len(COLOURS), len(digits))
    ground = np.asarray(list(COLOURS.values()), dtype=np.float64)[number][:, :, None, None]
    cover = in_the_middle(digits)[:, None]
    columns = {"digit": label, "colour": number.astype(np.int64)}
    classes = {"digit": list("0123456789"), "colour": list(COLOURS)}
    return _table("colour-digits", ground + cover * (255 - ground), columns, classes)


def read_striped_digits() -> Table:
    """Background samples are stripes of one of 4 orientations, targets are such stripes and a
    digit: uint8 (1, 16, 16).

    Orientation is common to both, the digit is salient in targets. Columns "target" (the label; 0
    background, 1 target), "digit" (class 0 is "background") and "orientation".

    Source: after Louiset et al. 2024 (SepCLR), digits on photographs; stripes instead of
        photographs.
    """
    digits, label = handwritten_digits()
    count = len(digits)
    random = np.random.RandomState(SEED)
    orientation = random.randint(0, len(ORIENTATIONS), 2 * count)
    stripes = _stripes(
        orientation * np.pi / len(ORIENTATIONS), random.uniform(0, 2 * np.pi, 2 * count)
    )
    digit = np.concatenate([np.zeros_like(digits), digits])
    shown = np.concatenate([np.zeros(count, dtype=np.int64), 1 + label])
    columns = {
        "target": np.repeat([0, 1], count),
        "digit": shown,
        "orientation": orientation.astype(np.int64),
    }
    classes = {
        "target": ["background", "target"],
        "digit": ["background", *"0123456789"],
        "orientation": list(ORIENTATIONS),
    }
    return _table(
        "striped-digits",
        255 * (0.5 * stripes + 0.5 * in_the_middle(digit))[:, None],
        columns,
        classes,
    )


def _table(
    name: str,
    images: Floats,
    columns: Mapping[str, NDArray[Any]],
    classes: Mapping[str, Sequence[str]],
) -> Table:
    """The images with the digits' split, once for each time that the digits occur; the first column
    is the label.
    """
    chosen = is_test(len(handwritten_digits()[1]))
    part = np.where(np.tile(chosen, len(images) // len(chosen)), "test", "train").tolist()
    content = ReadyArray(np.floor(images + 0.5 + 1e-6).astype(np.uint8), name)
    ids = [str(i) for i in range(len(images))]
    return Table(
        name, ids, content, None, columns, part, next(iter(columns)), classes, extra={"flip": False}
    )


def in_the_middle(digits: Floats) -> Floats:
    """(N, 8, 8) digits in [0, 255] as (N, 16, 16) in [0, 1], enlarged bilinearly within a blank
    frame.
    """
    cells = digits.shape[1]
    position = (np.arange(SIDE) + 0.5 - (SIDE - ROOM) / 2) * cells / ROOM - 0.5
    weight = np.clip(1 - np.abs(position[:, None] - np.arange(cells)), 0, 1)
    weight[[0, -1]] = 0  # the frame: no part of a digit, however faint
    placed: Floats = weight @ digits @ weight.T / 255
    return placed


def _stripes(angle: Floats, phase: Floats) -> Floats:
    """(N, 16, 16) waves in [0, 1] across the direction of each angle."""
    along = np.arange(SIDE) - (SIDE - 1) / 2
    distance = (
        np.cos(angle)[:, None, None] * along[None, None, :]
        + np.sin(angle)[:, None, None] * along[None, :, None]
    )
    waves: Floats = 0.5 + 0.5 * np.sin(2 * np.pi * distance / PERIOD + phase[:, None, None])
    return waves
