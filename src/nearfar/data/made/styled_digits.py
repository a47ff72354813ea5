"""DigitCIS: digits in one of four styles with a text that says digit and style, always the same.

An image has two properties, so that one can ask for "the same number" or "the same style", which
neither the image nor the question answers alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.data.content.arrays import ReadyArray
from nearfar.data.made.composites import SIDE, in_the_middle
from nearfar.data.made.embedded import SEED, Floats, handwritten_digits, is_test
from nearfar.data.tables.table import Table

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
STYLES = ("normal", "inverted", "thick", "tilted")
SLOPE = 0.6
"""By how many pixels a line of a tilted digit is shifted for each line above the middle."""


def read_digit_cis() -> Table:
    """Each digit in a random one of 4 styles: uint8 (1, 16, 16), with a text.

    The text is such as "number seven, style thick". Columns "number" (the label) and "style", which
    ``--with triplets`` takes for what is an object and an attribute elsewhere.

    Source: after Vaze et al. 2023, "GeneCIS" (conditional image similarity); digits and styles
        instead of photographs.
    """
    digits, number = handwritten_digits()
    style = np.random.RandomState(SEED).randint(0, len(STYLES), len(digits))
    drawn = in_the_middle(digits)
    styled = np.stack([drawn, 1 - drawn, _thick(drawn), _tilted(drawn)])
    images = 255 * styled[style, np.arange(len(digits))][:, None]
    texts = [
        f"number {NUMBERS[one]}, style {STYLES[how]}"
        for one, how in zip(number.tolist(), style.tolist(), strict=True)
    ]
    columns: dict[str, NDArray[Any]] = {"number": number, "style": style.astype(np.int64)}
    return Table(
        "digit-cis",
        [str(place) for place in range(len(digits))],
        ReadyArray(np.floor(images + 0.5 + 1e-6).astype(np.uint8), "digit-cis"),
        texts,
        columns,
        np.where(is_test(len(digits)), "test", "train").tolist(),
        "number",
        {"number": NUMBERS, "style": STYLES},
        extra={"flip": False, "solarise": False, "object": "number", "attribute": "style"},
    )


def _thick(images: Floats) -> Floats:
    """Every pixel as bright as the brightest of itself and its four neighbours."""
    framed = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    shifted = [
        framed[:, down : down + SIDE, across : across + SIDE]
        for down, across in ((1, 1), (0, 1), (2, 1), (1, 0), (1, 2))
    ]
    thick: Floats = np.max(shifted, axis=0)
    return thick


def _tilted(images: Floats) -> Floats:
    """Every line shifted in proportion to its height above the middle, linearly between pixels."""
    tilted = np.zeros_like(images)
    for line in range(SIDE):
        shift = SLOPE * ((SIDE - 1) / 2 - line)
        whole = int(np.floor(shift))
        for pixels, weight in ((whole, 1 - (shift - whole)), (whole + 1, shift - whole)):
            to = slice(max(0, pixels), min(SIDE, SIDE + pixels))
            origin = slice(max(0, -pixels), min(SIDE, SIDE - pixels))
            tilted[:, line, to] += weight * images[:, line, origin]
    return tilted
