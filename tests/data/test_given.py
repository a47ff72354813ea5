"""What a user hands over in Python reaches the encoder as its readers would bring it: any order of
axes, size and kind.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import nearfar
from nearfar.data.content.decode import pixels
from nearfar.data.readers.given import samples_like
from nearfar.data.samples import Samples
from nearfar.data.spec import Spec
from nearfar.errors import UserError

COLOUR = Spec("photos", "image", (3, 8, 8), 10, mean=(0.5,) * 3, std=(0.2,) * 3)
GREY = Spec("digits", "image", (1, 8, 8), 10, mean=(0.5,), std=(0.2,))
SERIES = Spec("waves", "series", (2, 16), 10, mean=(0.0, 0.0), std=(1.0, 1.0))


def picture(height: int = 12, width: int = 20) -> np.ndarray[Any, Any]:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)


def content(given: Any, spec: Spec = COLOUR) -> torch.Tensor:
    found = samples_like(given, spec)
    return found.take(torch.arange(len(found)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    Image.fromarray(picture()).save(tmp_path / "one.png")
    return tmp_path / "one.png"


def test_every_way_to_give_a_picture_gives_the_readers_pixels(path: Path) -> None:
    expected = torch.from_numpy(pixels(path, (3, 8, 8)).copy())[None]
    array = picture()
    opened = Image.open(path)
    for given in (
        path,
        str(path),
        [path],
        opened,
        [opened],
        array,
        array[None],
        array.transpose(2, 0, 1),
        torch.from_numpy(array)[None],
    ):
        assert torch.equal(content(given), expected), type(given)


def test_a_turned_picture_is_put_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture()).save(tmp_path / "turned.png", exif=exif)
    expected = torch.from_numpy(pixels(tmp_path / "turned.png", (3, 8, 8)).copy())[None]
    assert torch.equal(content(Image.open(tmp_path / "turned.png")), expected)


def test_numbers_in_zero_to_one_are_bytes_and_grey_is_every_colour() -> None:
    whole = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    assert torch.equal(content(whole.double() / 255), whole)
    assert torch.equal(content(whole.long()), whole)
    grey = whole[:, 0]
    assert torch.equal(content(grey), grey[:, None].repeat(1, 3, 1, 1))
    assert torch.equal(content(grey, GREY), grey[:, None])
    assert torch.equal(content(grey[0], GREY), grey[:1, None])


def test_deep_pictures_are_on_the_scale_of_the_training_data() -> None:
    spec = Spec(
        "deep", "image", (1, 8, 8), 10, mean=(0.5,), std=(0.2,), extra={"range": (100.0, 1100.0)}
    )
    given = np.full((2, 8, 8), 600, dtype=np.uint16)
    assert set(content(given, spec).unique().tolist()) == {128}


def test_series_come_alone_in_batches_and_from_files(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(3, 2, 16))
    np.testing.assert_allclose(content(values, SERIES), values, rtol=1e-6)
    np.testing.assert_allclose(content(values[0], SERIES), values[:1], rtol=1e-6)
    (tmp_path / "one.csv").write_text(
        "a,b\n" + "\n".join(f"{a},{b}" for a, b in values[0].T) + "\n"
    )
    np.testing.assert_allclose(content(tmp_path / "one.csv", SERIES), values[:1], rtol=1e-5)


def test_samples_stay_as_they_are() -> None:
    given = Samples(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), ["a", "b"])
    assert samples_like(given, COLOUR) is given


@pytest.mark.parametrize(
    ("given", "spec", "words"),
    [
        ([], COLOUR, "No sample was given"),
        (np.zeros((0, 3, 8, 8), np.uint8), COLOUR, "No sample was given"),
        (
            None,
            COLOUR,
            "Samples were given as NoneType; expected images: paths, PIL pictures or an array",
        ),
        ("nothing.png", COLOUR, "Cannot read the image nothing.png: there is no such file"),
        (
            np.zeros((2, 5, 8, 8), np.uint8),
            COLOUR,
            r"have the shape \(2, 5, 8, 8\); expected images",
        ),
        (
            np.full((1, 3, 8, 8), 300.0),
            COLOUR,
            "values from 300 to 300; expected bytes from 0 to 255, or numbers in",
        ),
        (np.full((1, 3, 8, 8), np.nan), COLOUR, "not finite"),
        ([np.zeros((8, 8, 3)), np.zeros((9, 8, 3))], COLOUR, "different shapes"),
        (np.array([["a"]]), COLOUR, "an array of <U1"),
        (np.zeros((2, 3, 16)), SERIES, r"have the shape \(2, 3, 16\); expected series"),
        (np.full((1, 2, 16), np.inf), SERIES, "not finite"),
    ],
)
def test_what_does_not_fit_is_one_sentence(given: Any, spec: Spec, words: str) -> None:
    with pytest.raises(UserError, match=words):
        samples_like(given, spec)


def test_a_folder_is_pointed_to_the_verb(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a folder; give its files, or embed the whole folder"):
        samples_like(tmp_path, COLOUR)


def test_a_tensor_of_16_bits_is_a_question_and_the_answers_agree(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(900, 4000, (30, 3, 16, 16), generator=generator).to(torch.uint16)
    run = nearfar.pretrain(
        "simclr",
        data=values,
        encoder="small-convnet",
        steps=1,
        batch_size=8,
        precision="float32",
        evaluate=False,
        quiet=True,
        output=tmp_path / "run",
    )
    train = run.source().train
    rows = torch.arange(3)
    with pytest.raises(UserError, match="scaled already, or values as files hold them"):
        run.embed(train.take(rows))
    places = [int(name) for name in train.ids[:3]]
    assert np.allclose(run.embed(train.subset(rows)), run.embed(values[places].numpy()), atol=1e-4)
    with pytest.raises(UserError, match="A run was given as int"):
        nearfar.evaluate(3)  # type: ignore[arg-type]
