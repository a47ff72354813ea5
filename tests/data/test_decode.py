"""Pixels: exact where nothing is resized, on white where transparent, in 8 bits, and centred where
cropped.
"""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from nearfar.data.content.decode import Measured, UnreadableError, measure, pixels
from tests.data.conftest import encoded, picture


def test_an_image_of_the_right_size_is_not_changed() -> None:
    image = picture(0)
    found = pixels(encoded(image), (3, 12, 12))
    assert found.dtype == np.uint8
    assert np.array_equal(found, np.asarray(image).transpose(2, 0, 1))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP", "GIF"])
def test_grey_stays_grey_in_one_or_three_channels(kind: str) -> None:
    image = picture(1, mode="L")
    content = encoded(image, kind) if kind != "WEBP" else encoded(image.convert("RGB"), "PNG")
    assert np.array_equal(pixels(content, (1, 12, 12))[0], np.asarray(image))
    assert np.array_equal(
        pixels(content, (3, 12, 12)), np.broadcast_to(np.asarray(image), (3, 12, 12))
    )


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_white(mode: str) -> None:
    image = Image.new(mode, (4, 4), (0,) * len(mode))
    image.putpixel((1, 2), (0,) * (len(mode) - 1) + (255,))
    found = pixels(encoded(image), (3, 4, 4))
    expected = np.full((3, 4, 4), 255, dtype=np.uint8)
    expected[:, 2, 1] = 0
    assert np.array_equal(found, expected)


def test_half_transparent_black_is_grey() -> None:
    found = pixels(encoded(Image.new("RGBA", (2, 2), (0, 0, 0, 128))), (1, 2, 2))
    assert np.all(np.abs(found.astype(int) - 127) <= 1)


def test_a_palette_with_a_transparent_colour_is_composited() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, 200, 10, 20])
    image.putpixel((1, 0), 1)
    image.info["transparency"] = 0
    found = pixels(encoded(image), (3, 1, 2))
    assert found[:, 0, 0].tolist() == [255, 255, 255]
    assert found[:, 0, 1].tolist() == [200, 10, 20]


def test_sixteen_bits_are_scaled_to_eight() -> None:
    image = Image.fromarray(np.array([[0, 257, 65535, 32768]], dtype=np.uint16))
    assert pixels(encoded(image), (1, 1, 4)).ravel().tolist() == [0, 1, 255, 128]
    assert measure(encoded(image)) == Measured(1, 4, grey=True, deep=True)


def test_a_wide_image_is_cropped_in_the_middle() -> None:
    wide = np.zeros((8, 24, 3), dtype=np.uint8)
    wide[:, 8:16] = 200
    assert np.all(pixels(Image.fromarray(wide), (3, 8, 8)) == 200)


def test_an_image_is_resized_to_cover_the_shape() -> None:
    left_to_right = np.tile(np.linspace(0, 255, 40, dtype=np.uint8), (20, 1))
    found = pixels(Image.fromarray(left_to_right), (1, 5, 10))[0]
    assert found.shape == (5, 10)
    assert np.array_equal(found[0], found[-1])
    assert np.all(np.diff(found[0].astype(int)) > 0)


def test_a_large_photograph_decoded_at_part_of_its_size_looks_the_same() -> None:
    y, x = np.mgrid[0:400, 0:400] / 400
    smooth = np.stack([255 * x, 255 * y, 255 * (1 - x)], axis=2).astype(np.uint8)
    quick = pixels(encoded(Image.fromarray(smooth), "JPEG"), (3, 32, 32)).astype(int)
    exact = (
        np.asarray(Image.fromarray(smooth).resize((32, 32), Image.Resampling.BOX))
        .transpose(2, 0, 1)
        .astype(int)
    )
    assert np.abs(quick - exact).max() <= 6


def test_the_callers_image_stays_open() -> None:
    image = picture(0)
    pixels(image, (3, 4, 4))
    assert image.getpixel((0, 0))


@pytest.mark.parametrize("content", [b"", b"no image", encoded(picture(0))[:60]])
def test_broken_content_raises(content: bytes) -> None:
    with pytest.raises(UnreadableError):
        pixels(content, (3, 12, 12))
