"""Images beyond 8-bit RGB: which way up, other codecs, 16 bits, many channels, and questions."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, features

from nearfar.data import load
from nearfar.data.content.decode import measure, pixels
from nearfar.data.content.files import codecs
from nearfar.data.content.files.encoded import UnreadableError
from nearfar.data.content.pixels import opening
from nearfar.data.content.pixels.orientation import turned
from nearfar.data.readers.given import samples_like
from nearfar.errors import UserError
from nearfar.reports.pictures.samples import channels_told
from nearfar.results.drawing import image_address
from nearfar.views.image.views import image_views, plain_images
from nearfar.views.wanted import WantedViews
from tests.data.conftest import deep_png, picture, write_parquet

tifffile = pytest.importorskip("tifffile")
BANDS = {"photometric": "minisblack", "planarconfig": "contig"}


def _turned(seed: int, orientation: int, kind: str = "PNG") -> bytes:
    """An image of 9 x 6 pixels whose EXIF block says that it is to be turned."""
    exif = Image.Exif()
    exif[0x112] = orientation
    file = io.BytesIO()
    picture(seed, size=(9, 6)).save(file, kind, exif=exif)
    return file.getvalue()


def _upright(content: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(content)) as opened:
        return np.asarray(ImageOps.exif_transpose(opened)).transpose(2, 0, 1)


@pytest.mark.parametrize("way", ["folder", "table", "parquet", "data set", "pictures", "paths"])
def test_every_reader_turns_images_upright(way: str, tmp_path: Path) -> None:
    contents = [_turned(seed, 6) for seed in range(4)]
    paths = []
    (tmp_path / "photos").mkdir()
    for number, content in enumerate(contents):
        paths.append(tmp_path / "photos" / f"{number}.png")
        paths[-1].write_bytes(content)
    expected = np.stack([_upright(content) for content in contents])
    assert expected.shape == (4, 3, 9, 6)
    if way == "folder":
        source = load(tmp_path / "photos", split=False)
    elif way == "table":
        columns = {"image": [str(path) for path in paths]}
        source = load(write_parquet(tmp_path / "t.parquet", columns), split=False)
    elif way == "parquet":
        source = load(write_parquet(tmp_path / "t.parquet", {"image": contents}), split=False)
    elif way == "data set":
        source = load([(Image.open(path), 0) for path in paths], split=False)
    else:
        spec = load(tmp_path / "photos", split=False).spec
        given: Any = paths if way == "paths" else [Image.open(path) for path in paths]
        found = samples_like(given, spec).take(torch.arange(4))
        assert np.array_equal(found.numpy(), expected)
        return
    assert np.array_equal(source.train.take(torch.arange(4)).numpy(), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_orientations_of_arrays_and_pictures(orientation: int) -> None:
    content = _turned(0, orientation)
    stored = np.asarray(picture(0, size=(9, 6))).transpose(2, 0, 1)
    expected = _upright(content)
    assert np.array_equal(turned(stored, orientation), expected)
    about = measure(content)
    assert (about.height, about.width) == expected.shape[1:]
    assert np.array_equal(pixels(content, expected.shape), expected)  # type: ignore[arg-type]
    deep = deep_png(stored.transpose(1, 2, 0).astype(np.uint16) * 257, orientation)
    found = pixels(deep, expected.shape, (0, 65535), deep=True)  # type: ignore[arg-type]
    assert np.array_equal(found, expected.astype(np.uint16) * 257)


@pytest.mark.parametrize(
    ("kind", "codec", "options"),
    [("TIFF", "", {}), ("AVIF", "avif", {"quality": 100}), ("JPEG2000", "jpg_2000", {})],
)
def test_other_codecs(kind: str, codec: str, options: dict[str, Any], tmp_path: Path) -> None:
    if codec and not features.check(codec):
        pytest.skip(f"this Pillow has no {codec}")
    ending = {"TIFF": "tif", "AVIF": "avif", "JPEG2000": "jp2"}[kind]
    smooth = np.add.outer(np.arange(16), np.arange(16)).astype(np.uint8) * 8
    for number in range(4):
        shown = np.stack([smooth, smooth[::-1], np.full_like(smooth, 50 * number)], axis=2)
        Image.fromarray(shown).save(tmp_path / f"{number}.{ending}", kind, **options)
    source = load(tmp_path, split=False)
    found = source.train.take(torch.tensor([3]))[0].numpy().astype(int)
    assert source.spec.shape == (3, 16, 16)
    assert np.abs(found - shown.transpose(2, 0, 1)).max() <= (0 if kind == "TIFF" else 12)


def test_a_lacking_codec_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(2):
        picture(number).save(tmp_path / f"{number}.avif")
    monkeypatch.setattr(opening, "formats", lambda: ("PNG",))
    monkeypatch.setattr(codecs.features, "check", lambda name: False)
    with pytest.raises(UserError, match=r"AVIF needs Pillow 11\.3 or later: pip install --upgrade"):
        load(tmp_path)


def test_of_several_pages_the_first_is_read_and_that_is_said(tmp_path: Path) -> None:
    pages = [picture(number) for number in range(3)]
    for number in range(3):
        pages[0].save(tmp_path / f"{number}.tif", save_all=True, append_images=pages[1:])
    source = load(tmp_path, split=False)
    expected = np.asarray(pages[0]).transpose(2, 0, 1)
    assert np.array_equal(source.train.take(torch.tensor([1]))[0].numpy(), expected)
    assert any("3 of 3 files have several pages, of which the first" in x for x in source.notes)


def test_a_truncated_file_is_left_out_and_counted(tmp_path: Path) -> None:
    for number in range(4):
        tifffile.imwrite(
            tmp_path / f"{number}.tif", _values(number, (12, 12, 5), np.uint16), **BANDS
        )
    content = (tmp_path / "2.tif").read_bytes()
    (tmp_path / "2.tif").write_bytes(content[: len(content) // 2])
    source = load(tmp_path, split=False)
    assert source.train.ids == ["0.tif", "1.tif", "3.tif"]
    assert any("1 of 4 images of" in note and "cannot be read" in note for note in source.notes)


def _values(seed: int, shape: tuple[int, ...], kind: Any, most: float = 4000) -> NDArray[Any]:
    drawn = np.random.default_rng(seed).random(shape) * most
    return drawn.astype(kind)


def _write(path: Path, array: NDArray[Any]) -> None:
    """(H, W) or (H, W, C) in the format that the ending says."""
    if path.suffix == ".png":
        path.write_bytes(deep_png(array))
    elif array.ndim == 3:
        tifffile.imwrite(path, array, photometric="rgb" if array.shape[2] == 3 else "minisblack")
    else:
        tifffile.imwrite(path, array)


@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize("shape", [(12, 12), (12, 12, 3)])
def test_sixteen_bits_are_kept_on_the_range_of_the_training_set(
    ending: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    arrays = [_values(seed, shape, np.uint16) for seed in range(6)]
    arrays[5] = arrays[5] * 3 + 1  # beyond the range of the others, and for testing
    for number, array in enumerate(arrays):
        folder = tmp_path / "data" / ("test" if number == 5 else "train")
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / f"{number}.{ending}", array)
    source = load(tmp_path / "data")
    least = min(int(one.min()) for one in arrays[:5])
    most = max(int(one.max()) for one in arrays[:5])
    assert source.spec.extra["range"] == [least, most]
    assert source.spec.extra["bits"] == 16

    def expected(array: NDArray[Any]) -> NDArray[Any]:
        first = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
        return np.rint((first.astype(float) - least) / (most - least) * 65535).clip(0, 65535)

    for number in range(5):
        found = source.train.take(torch.tensor([number]))[0].numpy()
        assert np.abs(found - expected(arrays[number])).max() <= 1
        values = found / 65535 * (most - least) + least  # nothing of the 16 bits is lost
        assert np.abs(values - expected(arrays[number]) / 65535 * (most - least) - least).max() < 1
    assert source.test is not None
    tested = source.test.take(torch.tensor([0]))[0].numpy()
    assert np.abs(tested - expected(arrays[5])).max() <= 1
    other = tmp_path / "new"
    other.mkdir()
    _write(other / f"one.{ending}", arrays[2] // 2)
    seen = load(other, like=source.spec, split=False).train.take(torch.tensor([0]))[0].numpy()
    assert np.abs(seen - expected(arrays[2] // 2)).max() <= 1
    path = samples_like([other / f"one.{ending}"], source.spec).take(torch.tensor([0]))[0]
    assert np.array_equal(path.numpy(), seen)


@pytest.mark.parametrize("kind", [np.uint16, np.int16, np.float32, np.float64])
def test_arrays_keep_more_than_eight_bits(kind: Any) -> None:
    images = _values(0, (10, 1, 12, 12), kind)
    source = load({"images": images, "split": ["train"] * 8 + ["test"] * 2})
    least, most = float(images[:8].min()), float(images[:8].max())
    assert tuple(source.spec.extra["range"]) == (least, most)
    found = source.train.take(torch.arange(8)).numpy()
    expected = (images[:8].astype(float) - least) / (most - least) * 65535
    assert found.dtype == np.uint16
    assert np.abs(found - expected).max() <= 1
    again = samples_like(images[8:], source.spec).take(torch.arange(2))
    assert source.test is not None
    assert np.array_equal(again.numpy(), source.test.take(torch.arange(2)).numpy())


def test_views_of_sixteen_bits_are_those_of_eight() -> None:
    """257 times the levels are the same shades."""
    eight = np.random.default_rng(0).integers(0, 256, (8, 3, 16, 16), dtype=np.uint8)
    eight[0, 0, 0, :2] = 0, 255
    first = load({"images": eight}, split=False)
    second = load({"images": eight.astype(np.uint16) * 257}, split=False)
    assert np.allclose(first.spec.mean, second.spec.mean)
    assert np.allclose(first.spec.std, second.spec.std)
    for style in ("contrastive", "weak"):
        wanted = WantedViews(whole=2, style=style)
        made = [
            image_views(one.spec, wanted)(
                one.train.take(torch.arange(8)), torch.Generator().manual_seed(0)
            )
            for one in (first, second)
        ]
        for one, other in zip(*made, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-4)
    plain = [plain_images(one.train.take(torch.arange(8)), one.spec) for one in (first, second)]
    torch.testing.assert_close(*plain, rtol=0, atol=1e-5)


@pytest.mark.parametrize("channels", [2, 4, 13, 32])
@pytest.mark.parametrize("way", ["first", "last", "tiff", "planes", "npy"])
def test_any_number_of_channels(channels: int, way: str, tmp_path: Path) -> None:
    images = _values(0, (6, channels, 40, 36), np.uint8, 255)
    last = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
    if way in ("first", "last"):
        given = images if way == "first" else last
        np.savez(tmp_path / "data.npz", x=given)
        source = load(tmp_path / "data.npz", split=False)
    else:
        for number in range(6):
            path = tmp_path / f"{number}.tif"
            if way == "npy":
                np.save(path.with_suffix(".npy"), last[number])
            elif way == "tiff":
                tifffile.imwrite(
                    path, last[number], photometric="minisblack", planarconfig="contig"
                )
            else:
                tifffile.imwrite(
                    path, images[number], photometric="minisblack", planarconfig="separate"
                )
        source = load(tmp_path, split=False)
    assert source.spec.shape == (channels, 40, 36)
    assert np.array_equal(source.train.take(torch.arange(6)).numpy(), images)


def test_channels_of_a_microscope_are_its_pages(tmp_path: Path) -> None:
    image = _values(0, (5, 20, 24), np.uint16)
    for number in range(3):
        path = tmp_path / f"{number}.ome.tif"
        tifffile.imwrite(path, image + number, ome=True, metadata={"axes": "CYX"})
    source = load(tmp_path, split=False)
    assert source.spec.shape == (5, 20, 24)
    assert source.spec.extra["range"] == [int(image.min()), int(image.max()) + 2]


def test_images_of_another_number_of_channels_are_left_out(tmp_path: Path) -> None:
    for number, channels in enumerate((5, 5, 5, 7)):
        tifffile.imwrite(
            tmp_path / f"{number}.tif",
            _values(number, (12, 12, channels), np.uint8, 255),
            **BANDS,
        )
    source = load(tmp_path, split=False)
    assert source.spec.shape == (5, 12, 12)
    assert any("it has 7 channels; expected 5" in note for note in source.notes)
    many = _values(0, (12, 12, 40), np.uint8, 255)
    tifffile.imwrite(tmp_path / "many.tif", many, **BANDS)
    with pytest.raises(UnreadableError, match="40 channels; at most 32"):
        measure(tmp_path / "many.tif")


@pytest.mark.parametrize(
    ("key", "shape", "kind", "answers"),
    [
        ("x", (20, 28, 28), np.float32, "--modality image or --modality series"),
        ("x", (20, 60, 50), np.uint16, "--modality image or --modality series"),
        ("x", (20, 4, 32, 32), np.float64, "--modality image or --modality series"),
        ("x", (20, 128, 3), np.float32, "--modality points or --modality series"),
        ("x", (20, 12, 16, 16), np.uint8, r"--channels first \(12 ch.*--channels last \(16 ch"),
        ("images", (20, 9, 9, 9), np.float32, r"--channels first \(9 ch.*--channels last \(9 ch"),
    ],
)
def test_what_may_be_two_things_is_a_question(
    key: str, shape: tuple[int, ...], kind: Any, answers: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "data.npz", **{key: _values(0, shape, kind, 200)})
    with pytest.raises(UserError, match=answers):
        load(tmp_path / "data.npz")


@pytest.mark.parametrize(
    ("shape", "said", "modality", "expected"),
    [
        ((20, 28, 28), {"modality": "image"}, "image", (1, 28, 28)),
        ((20, 28, 30), {"modality": "series"}, "series", (28, 30)),
        ((20, 28, 30), {"modality": "series", "channels": "last"}, "series", (30, 28)),
        ((20, 4, 32, 32), {"modality": "image"}, "image", (4, 32, 32)),
        ((20, 4, 32, 32), {"modality": "series"}, "series", (128, 32)),
        ((20, 12, 16, 16), {"modality": "image", "channels": "last"}, "image", (16, 12, 16)),
        ((20, 12, 16, 16), {"modality": "image", "channels": "first"}, "image", (12, 16, 16)),
        ((20, 128, 3), {"modality": "points"}, "points", (3, 128)),
        ((20, 128, 3), {"modality": "series"}, "series", (3, 128)),
    ],
)
def test_an_answer_is_taken(
    shape: tuple[int, ...], said: dict[str, Any], modality: str, expected: tuple[int, ...]
) -> None:
    array = _values(0, shape, np.float32)
    source = load(array, split=False, **said)
    assert (source.spec.modality, source.spec.shape) == (modality, expected)
    again = load(array, split=False, like=source.spec)  # an encoder's data answer by themselves
    assert (again.spec.modality, again.spec.shape) == (modality, expected)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"modality": "series"}, "holds image samples, which cannot be read as series"),
        ({"modality": "pictures"}, "data option modality"),
        ({"channels": "middle"}, "data option channels"),
    ],
)
def test_an_answer_that_does_not_fit(said: dict[str, Any], message: str, tmp_path: Path) -> None:
    for number in range(3):
        picture(number).save(tmp_path / f"{number}.png")
    with pytest.raises(UserError, match=message):
        load(tmp_path, **said)


@pytest.mark.parametrize("shape", [(20, 40, 16, 16), (20, 16, 16, 40), (20, 64, 9, 9)])
def test_too_many_channels_of_square_images_are_not_taken_for_a_side(
    shape: tuple[int, ...], tmp_path: Path
) -> None:
    np.savez(tmp_path / "data.npz", images=_values(0, shape, np.uint8, 255))
    with pytest.raises(UserError, match=f"{max(shape[1:])} channels .* at most 32"):
        load(tmp_path / "data.npz")
    source = load(tmp_path / "data.npz", channels="first" if shape[1] == 16 else "last")
    assert source.spec.shape[0] == min(shape[1:])  # where it is said, the images are narrow


def test_pictures_of_many_channels_show_the_first_three() -> None:
    image = np.random.default_rng(0).integers(0, 256, (6, 12, 12), dtype=np.uint8)
    rgb = torch.from_numpy(image[:3])
    assert image_address(torch.from_numpy(image)) == image_address(rgb)
    assert image_address(torch.from_numpy(image.astype(np.uint16) * 257)) == image_address(rgb)
    assert image_address(torch.from_numpy(image[:2])) == image_address(rgb[:1])
    spec = load({"images": np.stack([image] * 4)}, split=False).spec
    assert "the first three are drawn, as red, green and blue" in channels_told(spec)
