"""What data hold is read or told, by every reader: folders, labels, first rows, axes, names,
encodings, tables."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from scipy.io import wavfile

from nearfar.data import Source, load
from nearfar.data.content.decode import covering_box, pixels
from nearfar.errors import UserError
from tests.data.conftest import deep_png, encoded, picture, write_parquet

Write = Callable[..., Path]


def _ids(source: Source) -> list[str]:
    return sorted([*source.train.ids, *(source.test.ids if source.test is not None else ())])


def _told(source: Source, words: str) -> bool:
    return any(words in note for note in source.notes)


# What a folder is taken to hold


def test_a_folder_holds_what_most_of_its_files_are(image_folder: Write) -> None:
    folder = image_folder(
        {"a.png": {}, "b.tif": {}, "c.jpg": {}, "d.bmp": {}, "e.webp": {}, "f.gif": {}}
    )
    wavfile.write(folder / "noise.wav", 8000, np.zeros(80, np.int16))
    (folder / "notes.txt").write_text("x")
    (folder / "scan.heic").write_bytes(b"x")
    source = load(folder)
    assert _ids(source) == ["a.png", "b.tif", "c.jpg", "d.bmp", "e.webp", "f.gif"]
    assert _told(source, "is read as a folder of images; left out: 1 .wav files, 1 .heic files.")
    assert source.left_out[".txt files"] == 1


def test_one_picture_beside_many_recordings_leaves_them_what_they_are(tmp_path: Path) -> None:
    for i in range(4):
        wavfile.write(
            tmp_path / f"{i}.wav",
            8000,
            np.random.default_rng(i).integers(-9000, 9000, 800).astype(np.int16),
        )
    picture(0).save(tmp_path / "cover.png")
    source = load(tmp_path)
    assert source.spec.modality == "audio"
    assert _told(source, "1 .png files")


@pytest.mark.parametrize("target", ["..", "../..", ".", "../b", "nowhere"])
def test_links_multiply_nothing(target: str, image_folder: Write) -> None:
    folder = image_folder({f"{kind}/{i}.png": {} for kind in "ab" for i in range(3)})
    os.symlink(target, folder / "a" / "link")
    source = load(folder)
    assert len(_ids(source)) == 6
    assert source.spec.classes == ("a", "b")
    assert _told(source, "link")


def test_a_folder_of_links_to_folders_is_read(image_folder: Write, tmp_path: Path) -> None:
    folder = image_folder({f"{kind}/{i}.png": {} for kind in "ab" for i in range(3)})
    (tmp_path / "data").mkdir()
    for kind in "ab":
        os.symlink(folder / kind, tmp_path / "data" / kind)
    assert load(tmp_path / "data").spec.classes == ("a", "b")


def test_pipes_and_circular_links_are_skipped(image_folder: Write) -> None:
    folder = image_folder({f"{i}.png": {} for i in range(4)})
    os.mkfifo(folder / "pipe.png")
    os.symlink("round.png", folder / "round.png")
    source = load(folder)
    assert len(_ids(source)) == 4
    assert _told(source, "1 broken links")
    assert _told(source, "things that are no files")
    with pytest.raises(UserError, match="neither a file nor a folder"):
        load(folder / "pipe.png")


def test_what_nearfar_wrote_is_no_data(image_folder: Write) -> None:
    folder = image_folder({f"{i}.png": {} for i in range(4)})
    run = folder / "runs" / "one"
    run.mkdir(parents=True)
    (run / "config.toml").write_text("")
    (run / "metrics.jsonl").write_text("")
    picture(9).save(run / "chart.png")
    for number in range(6):
        write_parquet(
            folder / f"e{number}.parquet",
            {"id": ["0"], "split": ["all"], "label": [None], "embedding": [[0.5]]},
        )
    source = load(folder)
    assert len(_ids(source)) == 4
    assert _told(source, "6 embeddings that nearfar wrote")
    assert _told(source, "1 folders that nearfar wrote")


def test_a_list_beside_pictures_is_told(image_folder: Write) -> None:
    folder = image_folder({f"{i}.png": {} for i in range(4)})
    (folder / "metadata.csv").write_text(
        "file_name,label\n" + "".join(f"{i}.png,{i % 2}\n" for i in range(4))
    )
    assert _told(load(folder), "metadata.csv is not used")
    assert load(folder / "metadata.csv").spec.classes == ("0", "1")


def test_parquet_files_below_a_folder_are_read_with_their_parts(tmp_path: Path) -> None:
    for part in ("train", "test"):
        (tmp_path / "hub" / part).mkdir(parents=True)
        write_parquet(
            tmp_path / "hub" / part / "0000.parquet",
            {"image": [encoded(picture(i)) for i in range(6)], "label": [0, 1] * 3},
        )
    source = load(tmp_path / "hub")
    assert source.test is not None
    assert (len(source.train), len(source.test)) == (6, 6)


# Labels


@pytest.mark.parametrize(
    "names",
    [("bus", "car", "train"), ("Test", "exam"), ("training", "game", "test"), ("val", "var")],
)
def test_a_class_may_be_called_like_a_part(names: tuple[str, ...], image_folder: Write) -> None:
    source = load(image_folder({f"{name}/{i}.png": {} for name in names for i in range(5)}))
    assert source.spec.classes == tuple(sorted(names))


def test_parts_with_classes_stay_parts_beside_others(image_folder: Write) -> None:
    folder = image_folder(
        {
            f"{part}/{kind}/{i}.png": {}
            for part in ("train", "test", "spare")
            for kind in "ab"
            for i in range(3)
        }
    )
    source = load(folder)
    assert source.spec.classes == ("a", "b")
    assert _told(source, "6 samples of 'spare' are left out")


def test_labels_of_training_samples_outlive_a_test_part_without(image_folder: Write) -> None:
    folder = image_folder(
        {
            **{f"train/{kind}/{i}.png": {} for kind in "ab" for i in range(5)},
            "test/1.png": {},
            "test/2.png": {},
        }
    )
    source = load(folder)
    assert source.spec.classes == ("a", "b")
    assert source.test is not None
    assert all(name.startswith("train/") for name in source.test.ids)
    assert _told(source, "None of the 2 samples of 'test' has a label")


@pytest.mark.parametrize("gap", ["", "  "])
@pytest.mark.parametrize("kind", ["csv", "parquet", "npz"])
def test_blank_labels_are_missing(gap: str, kind: str, tmp_path: Path) -> None:
    labels = [["cat", "dog", gap, "cat"][i % 4] for i in range(12)]
    path = tmp_path / f"data.{kind}"
    if kind == "csv":
        path.write_text(
            "text,label\n" + "".join(f"some words {i},{label}\n" for i, label in enumerate(labels))
        )
    elif kind == "parquet":
        write_parquet(path, {"text": [f"some words {i}" for i in range(12)], "label": labels})
    else:
        np.savez(path, x=np.random.default_rng(0).normal(size=(12, 2, 16)), label=np.array(labels))
    source = load(path)
    assert source.spec.target == "none"
    assert _told(source, "3 of 12 are missing")


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinite_labels_are_refused_at_load(value: float, tmp_path: Path) -> None:
    np.savez(
        tmp_path / "data.npz",
        x=np.random.default_rng(0).normal(size=(12, 2, 16)),
        y=np.array([value, *np.arange(11) / 3]),
    )
    with pytest.raises(
        UserError, match=r"label column 'y' of data has 1 infinite values, the first in row 0"
    ):
        load(tmp_path / "data.npz")


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (np.arange(40)[:, None] % 4, 4),
        (np.eye(4)[np.arange(40) % 4], 4),
        (np.eye(4, dtype=bool)[np.arange(40) % 4], 4),
    ],
)
def test_labels_of_other_shapes_are_used(labels: Any, classes: int, tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=np.random.default_rng(0).normal(size=(40, 3, 64)), y=labels)
    assert len(load(tmp_path / "data.npz").spec.classes) == classes


def test_labels_of_another_number_are_refused_and_others_told(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(40, 3, 64))
    np.savez(tmp_path / "data.npz", x=x, y=np.arange(39) % 4)
    with pytest.raises(UserError, match="39 labels for 40 samples"):
        load(tmp_path / "data.npz")
    np.savez(
        tmp_path / "data.npz",
        x=x,
        y=np.random.default_rng(0).normal(size=(40, 5)),
        other=np.zeros((40, 7)),
    )
    source = load(tmp_path / "data.npz")
    assert _told(source, "labels y of shape (40, 5) are not used")
    assert _told(source, "other (40, 7)")


@pytest.mark.parametrize("column", [[[0, 1]] * 12, [["a red cat", "a cat"]] * 12, [{"a": 1}] * 12])
def test_columns_of_lists_are_told_and_refused_as_labels(column: Any, tmp_path: Path) -> None:
    path = write_parquet(
        tmp_path / "data.parquet",
        {"image": [encoded(picture(i)) for i in range(12)], "tags": column},
    )
    assert _told(
        load(path),
        "Columns that are not used, as their values are no single numbers or strings: tags",
    )
    with pytest.raises(
        UserError, match=r"The label column 'tags' of data holds .*, which cannot be a label"
    ):
        load(path, label="tags")


def test_decimals_and_dates_can_be_labels(tmp_path: Path) -> None:
    images = [encoded(picture(i)) for i in range(12)]
    columns = {
        "image": images,
        "price": [Decimal(i) / 4 for i in range(12)],
        "day": [date(2020, 1, 1 + i % 2) for i in range(12)],
    }
    path = write_parquet(tmp_path / "data.parquet", columns)
    assert load(path, label="price").spec.target == "value"
    assert load(path, label="day").spec.classes == ("2020-01-01", "2020-01-02")


# The first rows decide nothing


@pytest.mark.parametrize("first", [1, 0, None])
def test_the_first_clip_decides_no_length(first: int | None, tmp_path: Path) -> None:
    frames = [encoded(picture(i)) for i in range(8)]
    rows = [None if first is None else frames[:first], *[frames] * 11]
    path = write_parquet(
        tmp_path / "clips.parquet", {"frames": pa.array(rows, pa.list_(pa.binary()))}
    )
    source = load(path)
    assert source.spec.shape == (3, 8, 12, 12)
    assert _told(
        source, "1 of 12 clips have other than 8 frames" if first else "1 of 12 clips have no frame"
    )


@pytest.mark.parametrize("empty", [None, b""])
def test_empty_first_rows_hide_no_pictures(empty: bytes | None, tmp_path: Path) -> None:
    column = pa.array([*[empty] * 150, *(encoded(picture(i)) for i in range(6))], pa.binary())
    source = load(write_parquet(tmp_path / "data.parquet", {"image": column}))
    assert len(_ids(source)) == 6
    assert _told(source, "150 of 156 images of data cannot be read")


def test_missing_first_files_hide_no_pictures(image_folder: Write) -> None:
    folder = image_folder({f"{i}.png": {} for i in range(4)})
    (folder / "list.csv").write_text(
        "path\n" + "gone.png\n" * 150 + "".join(f"{i}.png\n" for i in range(4))
    )
    assert len(_ids(load(folder / "list.csv"))) == 4


def test_texts_without_blanks_are_texts(tmp_path: Path) -> None:
    texts = [f"\u8fd9\u662f\u7b2c{i}\u5f20\u56fe\u7247\u7684\u8bf4\u660e" for i in range(24)]
    assert load(write_parquet(tmp_path / "text.parquet", {"text": texts})).spec.modality == "text"
    pairs = write_parquet(
        tmp_path / "pairs.parquet",
        {"image": [encoded(picture(i)) for i in range(24)], "caption": texts},
    )
    assert load(pairs).spec.modality == "image+text"


# Axes and types of arrays


@pytest.mark.parametrize("kind", ["uint16", "int64", "float32", "float64"])
@pytest.mark.parametrize("shape", [(20, 28, 28), (20, 12, 12, 3), (20, 1, 12, 12)])
def test_images_are_images_whatever_their_type(
    kind: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    images = (np.random.default_rng(0).random(shape) * 4095).astype(kind)
    np.savez(tmp_path / "data.npz", images=images)
    source = load(tmp_path / "data.npz", split=False)
    assert source.spec.modality == "image"
    assert source.spec.extra["range"] == (float(images.min()), float(images.max()))
    taken = source.train.take(torch.arange(20))
    assert (int(taken.numpy().min()), int(taken.numpy().max())) == (0, 65535)
    assert _told(source, "was scaled to 0 to 65,535")


def test_images_of_too_many_channels_are_refused_and_not_taken_for_series(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", images=np.zeros((20, 40, 48, 48), np.uint16))
    with pytest.raises(UserError, match=r"expected images .* with C from 1 to 32"):
        load(tmp_path / "data.npz")


@pytest.mark.parametrize(
    ("shape", "expected", "told"),
    [
        ((40, 128, 9), (9, 128), "128 steps, time being the axis before the last"),
        ((40, 9, 128), (9, 128), ""),
        ((40, 60, 15), (15, 60), "60 steps, time being the axis before the last"),
    ],
)
def test_a_guess_at_the_axes_is_told(
    shape: tuple[int, ...], expected: tuple[int, ...], told: str, tmp_path: Path
) -> None:
    np.savez(
        tmp_path / "data.npz", x=np.random.default_rng(0).normal(size=shape).astype(np.float32)
    )
    source = load(tmp_path / "data.npz")
    assert source.spec.shape == expected
    assert _told(source, told) if told else not any("read as" in note for note in source.notes)


def test_points_may_come_first_or_last(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(20, 16, 3)).astype(np.float32)
    np.savez(tmp_path / "a.npz", points=x)
    np.savez(tmp_path / "b.npz", points=x.transpose(0, 2, 1))
    first, second = (load(tmp_path / name, split=False).train for name in ("a.npz", "b.npz"))
    assert torch.equal(first.take(torch.arange(20)), second.take(torch.arange(20)))
    assert first.content.shape == (20, 3, 16)


def test_the_other_reading_of_the_axes_can_be_asked_for(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(20, 64, 16)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x[:, None])
    assert load(tmp_path / "data.npz").spec.shape == (64, 16)


def test_narrow_bytes_are_images_with_a_note(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "data.npz", x=np.random.default_rng(0).integers(0, 255, (20, 128, 9), np.uint8)
    )
    source = load(tmp_path / "data.npz")
    assert source.spec.modality == "image"
    assert _told(source, "if it holds series, call the array series")


@pytest.mark.parametrize("shape", [(0, 3, 64), (40, 0, 28), (40, 28, 0), (0,), (40, 3, 0)])
@pytest.mark.parametrize("kind", [np.float32, np.uint8])
def test_empty_axes_are_refused(shape: tuple[int, ...], kind: Any, tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=np.zeros(shape, kind))
    with pytest.raises(UserError, match=r"is empty|no array of samples"):
        load(tmp_path / "data.npz")


# Pixels


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_as_they_are_shown(kind: str, orientation: int, tmp_path: Path) -> None:
    shown = np.zeros((40, 60, 3), np.uint8)
    shown[:20, :30] = 255  # the upper left quarter
    back = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[
        orientation
    ]  # ROTATE_90 undoes 6, and so on
    stored = Image.fromarray(shown)
    if back is not None:
        stored = stored.transpose(Image.Transpose(back))
    exif = Image.Exif()
    exif[0x112] = orientation
    for i in range(3):
        stored.save(tmp_path / f"{i}.{kind.lower()}", kind, exif=exif)
    source = load(tmp_path, split=False)
    assert source.spec.shape == (3, 40, 60)
    corner = source.train.take(torch.tensor([0]))[0].float()
    assert corner[:, 2:18, 2:28].mean() > 240
    assert corner[:, 22:].mean() < 15


@pytest.mark.parametrize("lowest", [0, 900])
def test_more_than_eight_bits_keep_their_contrast(lowest: int, tmp_path: Path) -> None:
    ramp = np.linspace(lowest, lowest + 1000, 1024).reshape(32, 32)
    for i in range(3):
        Image.fromarray((ramp if i else ramp.clip(max=lowest + 500)).astype(np.uint16)).save(
            tmp_path / f"{i}.png"
        )
    source = load(tmp_path, split=False)
    assert source.spec.extra["range"] == [lowest, lowest + 1000]
    assert _told(source, f"{lowest} to {lowest + 1000}, was scaled to 0 to 65,535")
    taken = source.train.take(torch.tensor([0])).numpy()
    assert int(taken.max()) in (32767, 32768)  # of all images' range, not its own
    other = tmp_path / "other"
    other.mkdir()
    Image.fromarray(np.full((32, 32), lowest + 250, np.uint16)).save(other / "0.png")
    seen = load(other, like=source.spec, split=False).train.take(torch.tensor([0]))
    assert set(seen.numpy().ravel().tolist()) == {16384}


@pytest.mark.parametrize("side", [8, 32, 50, 64, 96, 100, 112, 128, 160, 192, 224, 256])
def test_the_crop_lies_inside_every_image(side: int) -> None:
    """Every short side from 8 to 4,000, at the shapes of photographs, upright and across."""
    for short in range(8, 4001):
        for ratio in (1, 4 / 3, 3 / 2, 16 / 9, 2.35):
            for width, height in ((short, round(short * ratio)), (round(short * ratio), short)):
                left, top, right, bottom = covering_box((width, height), side, side)
                assert 0 <= left < right <= width
                assert 0 <= top < bottom <= height


@pytest.mark.parametrize("size", [(600, 450), (300, 225), (900, 1600), (333, 500), (1023, 767)])
@pytest.mark.parametrize("side", [50, 100, 112, 224])
def test_good_photographs_are_read(size: tuple[int, int], side: int) -> None:
    assert pixels(encoded(Image.new("RGB", size, (9, 99, 199)), "JPEG"), (3, side, side)).shape == (
        3,
        side,
        side,
    )


def test_a_mistake_of_ours_is_not_called_the_files(
    image_folder: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = image_folder({f"{i}.png": {"size": (20, 30)} for i in range(4)})
    monkeypatch.setattr("nearfar.data.content.decode.covering_box", lambda *_: (-5, 0, 10, 10))
    with pytest.raises(ValueError, match="box offset can't be negative") as found:
        load(folder, size=8)
    assert not isinstance(found.value, UserError)


# Names and encodings


@pytest.mark.parametrize(
    "name", [b"caf\xe9.png", b"\x1b[2Jx.png", b"[red].png", "日本.png".encode()]
)
def test_ids_are_text_that_can_be_shown(name: bytes, tmp_path: Path) -> None:
    for i in range(4):
        (tmp_path / str(i)).mkdir()
        with open(os.fsencode(str(tmp_path / str(i))) + b"/" + name, "wb") as file:
            file.write(encoded(picture(i)))
    for text in _ids(load(tmp_path)):
        assert text.encode("utf-8")
        assert "\x1b" not in text


def test_class_folders_that_are_no_utf8_are_classes(tmp_path: Path) -> None:
    for kind in (b"caf\xe9", b"th\xe9"):
        os.mkdir(os.fsencode(str(tmp_path)) + b"/" + kind)
        for i in range(5):
            with open(os.fsencode(str(tmp_path)) + b"/" + kind + b"/%d.png" % i, "wb") as file:
                file.write(encoded(picture(i)))
    assert load(tmp_path).spec.classes == (r"caf\xe9", r"th\xe9")


@pytest.mark.parametrize(
    "encoding", ["latin-1", "cp1252", "utf-16", "utf-8-sig", "utf-16-le", "utf-16-be"]
)
@pytest.mark.parametrize("kind", ["table", "series"])
def test_tables_in_other_encodings(encoding: str, kind: str, tmp_path: Path) -> None:
    """Read, or refused in a sentence."""
    words = ["caf\u00e9", "th\u00e9"]
    mark = {"utf-16-le": "\ufeff", "utf-16-be": "\ufeff"}.get(encoding, "")
    if kind == "table":
        text = "text,label\n" + "".join(f"some words {i},{words[i % 2]}\n" for i in range(12))
        (tmp_path / "data.csv").write_bytes((mark + text).encode(encoding))
        assert load(tmp_path / "data.csv").spec.classes == tuple(sorted(words))
    else:
        (tmp_path / "data").mkdir()
        for i in range(4):
            text = "temp\u00e9rature,b\n" + "".join(f"{t},{np.sin(t + i):.3f}\n" for t in range(12))
            (tmp_path / "data" / f"{i}.csv").write_bytes((mark + text).encode(encoding))
        assert load(tmp_path / "data").spec.shape == (2, 12)


def test_text_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_bytes("text,label\nsome words,1\n".encode("utf-16-le"))
    with pytest.raises(UserError, match="zero bytes"):
        load(tmp_path / "data.csv")


# Tables as pandas and spreadsheets write them


def _write_series(
    folder: Path, header: str, counter: bool = False, separator: str = ",", comma: bool = False
) -> Path:
    folder.mkdir()
    for i in range(6):
        rows = []
        for t in range(40):
            cells = [f"{np.sin(t * (i + 1) / 9 + c):.4f}" for c in range(3)]
            cells = [cell.replace(".", ",") for cell in cells] if comma else cells
            rows.append(separator.join([str(t), *cells] if counter else cells))
        (folder / f"{i}.csv").write_text("\n".join([header, *rows] if header else rows) + "\n")
    return folder


@pytest.mark.parametrize(
    ("header", "counter", "separator", "comma"),
    [
        ("0,1,2", False, ",", False),
        ("1,2,3", False, ",", False),
        (",ax,ay,az", True, ",", False),
        ("index,ax,ay,az", True, ",", False),
        (",0,1,2", True, ",", False),
        ("", False, ",", False),
        ("ax;ay;az", False, ";", True),
        ("ax\tay\taz", False, "\t", False),
        ("timestamp,ax,ay,az", True, ",", False),
    ],
)
def test_series_as_they_are_written(
    header: str, counter: bool, separator: str, comma: bool, tmp_path: Path
) -> None:
    source = load(_write_series(tmp_path / "data", header, counter, separator, comma))
    assert source.spec.shape == (3, 40)
    first = source.train.take(torch.tensor([0]))[0]
    number = int(source.train.ids[0][0])
    assert first[1, 7].item() == pytest.approx(np.sin(7 * (number + 1) / 9 + 1), abs=1e-3)


def test_channels_go_by_their_names(tmp_path: Path) -> None:
    for i, header in enumerate(["a,b", "b,a", "a,b", "a,b"]):
        values = {"a": 1.5, "b": 2.5}
        row = ",".join(str(values[name]) for name in header.split(","))
        (tmp_path / f"{i}.csv").write_text("\n".join([header, *[row] * 12]) + "\n")
    found = load(tmp_path, split=False).train.take(torch.arange(4))
    assert (found[:, 0] == 1.5).all()
    (tmp_path / "4.csv").write_text("a,c\n" + "1,2\n" * 12)
    with pytest.raises(UserError, match="has the channels a, c, the first one a, b"):
        load(tmp_path)


@pytest.mark.parametrize("column", ["id", "label", "patient"])
def test_leading_zeros_stay(column: str, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text(
        f"{column},text\n" + "".join(f"{i % 12:05d},some words here {i}\n" for i in range(12))
    )
    source = load(tmp_path / "data.csv")
    found = {
        "id": _ids(source),
        "label": list(source.spec.classes),
        "patient": list(source.members.get("patient", ())),
    }[column]
    assert found == [f"{i:05d}" for i in range(12)]


def test_a_column_of_row_numbers_and_one_that_is_there_twice(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text(
        ",text,label\n" + "".join(f"{i},some words {i},{i % 2}\n" for i in range(12))
    )
    assert _told(
        load(tmp_path / "data.csv"), "first column of data.csv counts the rows and is left out"
    )
    (tmp_path / "data.csv").write_text(
        "text,label,label\n" + "".join(f"some words {i},{i % 2},{i % 3}\n" for i in range(12))
    )
    with pytest.raises(UserError, match="'label' occurs twice"):
        load(tmp_path / "data.csv")


def test_types_come_from_all_rows(tmp_path: Path) -> None:
    """A label that is no number only in the last of very many rows."""
    rows = "".join(f"some words {i % 9},{i % 2}\n" for i in range(120_000))
    (tmp_path / "data.csv").write_text("text,label\n" + rows + "the last,other\n")
    assert load(tmp_path / "data.csv", limit=50).spec.classes == ("0", "1", "other")


# Held-out rows


@pytest.mark.parametrize(
    "words",
    [
        ("train", "holdout"),
        ("Training", "Unseen"),
        ("train", "held-out"),
        ("TRAIN ", "Eval"),
        ("tr", "dev"),
    ],
)
@pytest.mark.parametrize("kind", ["csv", "parquet", "npz"])
def test_common_words_of_a_split_are_understood(
    words: tuple[str, str], kind: str, tmp_path: Path
) -> None:
    split = [words[i % 4 == 0] for i in range(20)]
    path = tmp_path / f"data.{kind}"
    if kind == "npz":
        np.savez(path, x=np.random.default_rng(0).normal(size=(20, 2, 16)), split=np.array(split))
    elif kind == "csv":
        path.write_text(
            "text,split\n" + "".join(f"some words {i},{word}\n" for i, word in enumerate(split))
        )
    else:
        write_parquet(path, {"text": [f"some words {i}" for i in range(20)], "split": split})
    source = load(path)
    assert source.test is not None
    assert (len(source.train), len(source.test)) == (15, 5)


@pytest.mark.parametrize("words", [(0, 1), ("fold1", "fold2"), (True, False), ("train", "later")])
def test_other_words_of_a_split_are_refused(words: tuple[Any, Any], tmp_path: Path) -> None:
    path = write_parquet(
        tmp_path / "data.parquet",
        {"text": [f"words {i}" for i in range(20)], "split": [words[i % 2] for i in range(20)]},
    )
    with pytest.raises(
        UserError,
        match=r"The column 'split' says which part a row belongs to, but .* is not understood",
    ):
        load(path)


# Copies, and texts of which nothing can be learned


def test_copies_are_told(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(20, 2, 16))
    np.savez(tmp_path / "data.npz", x=np.concatenate([x, x]))
    source = load(tmp_path / "data.npz")
    assert _told(source, "training samples are exact copies of others of them")
    assert _told(source, "test samples are exact copies of training samples")


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (["the same words"] * 12, "All 12 texts are the same"),
        (["", *["a few words"] * 11], "1 of 12 texts"),
    ],
)
def test_texts_of_no_use_are_told(texts: list[str], told: str, tmp_path: Path) -> None:
    path = write_parquet(
        tmp_path / "data.parquet",
        {"image": [encoded(picture(i)) for i in range(12)], "caption": texts},
    )
    assert _told(load(path), told)


def test_three_lines_say_what_was_read(image_folder: Write) -> None:
    folder = image_folder({f"{kind}/{i}.png": {} for kind in "ab" for i in range(5)})
    (folder / "a" / "broken.png").write_bytes(b"x")
    (folder / "notes.txt").write_text("x")
    first, second, third = load(folder).summary()
    assert first == "photos: 10 image samples of 3 x 12 x 12, 8 for training and 2 for testing"
    assert second == "labels: 2 classes (a 5, b 5); groups: none"
    assert third == "left out: 1 .txt files, 1 samples that cannot be read"


def test_an_npz_in_disguise(tmp_path: Path) -> None:
    np.save(tmp_path / "data.npy", np.zeros((4, 2, 16)))
    (tmp_path / "data.npy").rename(tmp_path / "data.npz")
    with pytest.raises(UserError, match="single array"):
        load(tmp_path / "data.npz")
    with zipfile.ZipFile(tmp_path / "data.npz", "w") as archive:
        archive.writestr("x.npy", b"no array")
    with pytest.raises(UserError, match=r"cannot be read as \.npz"):
        load(tmp_path / "data.npz")
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": "<f4", "fortran_order": False, "shape": (10**12, 3, 64)}
    )  # type: ignore[no-untyped-call]
    with zipfile.ZipFile(tmp_path / "data.npz", "w") as archive:
        archive.writestr("x.npy", file.getvalue())
    with pytest.raises(UserError, match="768,000,000,000,000 bytes"):
        load(tmp_path / "data.npz")


def test_damaged_parquet_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    pq.write_table(
        pa.table({"text": [f"some words {i}" for i in range(2000)]}),
        path,
        compression="snappy",
        use_dictionary=False,
    )
    whole = path.read_bytes()
    for start in range(4, len(whole) - 400, 977):
        path.write_bytes(whole[:start] + b"\xff" * 64 + whole[start + 64 :])
        with suppress(UserError):  # anything else is a defect
            load(path)


# Parts that go by other names, and what else was passed over without a word


@pytest.mark.parametrize(
    "parts",
    [
        ("training_set", "test_set"),
        ("train-images", "test-images"),
        ("train2017", "val2017"),
        ("Train", "Unseen"),
        ("cats_train", "cats_test"),
    ],
)
@pytest.mark.parametrize("above", ["", "data/", "archive/data/"])
def test_folders_that_are_called_after_parts_are_parts(
    parts: tuple[str, str], above: str, image_folder: Write
) -> None:
    names = [
        f"{above}{part}/{kind}/{i}{part}.png" for part in parts for kind in "ab" for i in range(4)
    ]
    source = load(image_folder({name: {} for name in names}))
    assert source.spec.classes == ("a", "b")
    assert source.test is not None
    assert all(parts[0] in name for name in source.train.ids)
    assert all(parts[1] in name for name in source.test.ids)
    assert not above or _told(source, f"lie below {above.rstrip('/')}")


@pytest.mark.parametrize(
    "names", [("train-station", "bus"), ("test tube", "flask"), ("trains", "testers")]
)
def test_classes_that_are_called_nearly_like_parts_stay_classes(
    names: tuple[str, str], image_folder: Write
) -> None:
    source = load(image_folder({f"{name}/{i}.png": {} for name in names for i in range(5)}))
    assert source.spec.classes == tuple(sorted(names))


def test_folders_below_classes_and_hidden_ones_are_told(image_folder: Write) -> None:
    source = load(
        image_folder(
            {
                **{f"{one}/{size}/{i}.png": {} for one in "xy" for size in "ml" for i in range(3)},
                ".z/0.png": {},
            }
        )
    )
    assert source.spec.classes == ("x", "y")
    assert _told(source, "which hold 12 of 12 files, are not used")
    assert _told(source, "1 hidden folders")


@pytest.mark.parametrize(
    ("column", "train", "test"),
    [
        ("Split", "Train", "Test"),
        ("data_split", "train", "val"),
        ("set", "training", "holdout"),
        ("fold", "trn", "dev"),
        ("is_test", 0, 1),
        ("isTrain", True, False),
        ("train_mask", True, False),
    ],
)
@pytest.mark.parametrize("kind", ["csv", "parquet", "npz"])
def test_columns_that_name_parts_by_other_names(
    column: str, train: Any, test: Any, kind: str, tmp_path: Path
) -> None:
    parts = [test if i % 4 == 0 else train for i in range(20)]
    path = tmp_path / f"data.{kind}"
    if kind == "npz":
        x = np.random.default_rng(0).normal(size=(20, 2, 16))
        np.savez(path, x=x, **{column: np.array(parts)})
    elif kind == "csv":
        rows = "".join(f"some words {i},{part}\n" for i, part in enumerate(parts))
        path.write_text(f"text,{column}\n{rows}")
    else:
        write_parquet(path, {"text": [f"some words {i}" for i in range(20)], column: parts})
    source = load(path)
    assert source.test is not None
    assert source.test.ids == [str(i) for i in range(0, 20, 4)]
    assert column in ("set", "fold") or _told(source, f"{column!r} says")


@pytest.mark.parametrize("column", ["asset", "particle", "test", "preset"])
def test_columns_of_other_things_name_no_parts(column: str, tmp_path: Path) -> None:
    path = write_parquet(
        tmp_path / "data.parquet",
        {
            "text": [f"some words {i}" for i in range(20)],
            column: [int(i % 4 == 0) for i in range(20)],
        },
    )
    source = load(path)
    assert source.test is not None
    assert source.test.ids != [str(i) for i in range(0, 20, 4)]


@pytest.mark.parametrize(
    "names", [("a_train", "a_test"), ("trainset", "testset"), ("train", "test")]
)
def test_parquet_files_whose_names_end_in_a_part(names: tuple[str, str], tmp_path: Path) -> None:
    for place, name in enumerate(names):
        texts = [f"some {place} {i}" for i in range(6)]
        write_parquet(tmp_path / f"{name}.parquet", {"text": texts})
    source = load(tmp_path)
    assert source.test is not None
    assert (len(source.train), len(source.test)) == (6, 6)


@pytest.mark.parametrize("column", ["patient_id", "PatientID", "Subject", "speaker id", "GROUP"])
def test_groups_by_other_spellings_are_not_torn_apart(column: str, tmp_path: Path) -> None:
    rows = "".join(f"some words {i},p{i // 3}\n" for i in range(60))
    (tmp_path / "data.csv").write_text(f"text,{column}\n{rows}")
    source = load(tmp_path / "data.csv")
    assert source.test is not None
    assert source.spec.groups == (column,)
    assert not set(source.train.group[column].tolist()) & set(source.test.group[column].tolist())


def test_blanks_around_labels_make_no_classes(tmp_path: Path) -> None:
    words = [" cat", "cat ", "dog", " dog "]
    rows = "".join(f"some words {i},{words[i % 4]}\n" for i in range(20))
    (tmp_path / "data.csv").write_text("text,label\n" + rows)
    assert load(tmp_path / "data.csv").spec.classes == ("cat", "dog")


@pytest.mark.parametrize("word", ["nan", "NA", "None", "null", "?", "-1"])
def test_labels_that_read_like_gaps_are_told(word: str, tmp_path: Path) -> None:
    others = ["0", "1", "2"] if word == "-1" else ["cat", "dog", "cow"]
    labels = np.array([[word, *others][i % 4] for i in range(20)])
    x = np.random.default_rng(0).normal(size=(20, 2, 16))
    np.savez(tmp_path / "data.npz", x=x, y=labels.astype(int) if word == "-1" else labels)
    source = load(tmp_path / "data.npz")
    assert _told(source, f"The label '{word}' in 'y' is taken as a class of 5 samples")


@pytest.mark.parametrize("kind", ["M8[D]", "m8[s]", "complex"])
def test_gaps_in_labels_of_odd_types_are_gaps(kind: str, tmp_path: Path) -> None:
    gap = np.nan if kind == "complex" else np.array("NaT", kind)
    labels = np.array([1 + i % 2 for i in range(20)]).astype(kind)
    labels[3] = gap
    np.savez(tmp_path / "data.npz", x=np.random.default_rng(0).normal(size=(20, 2, 16)), y=labels)
    assert _told(load(tmp_path / "data.npz"), "1 of 20 are missing")


@pytest.mark.parametrize("name", ["t", "Time (s)", "time_ms", "date", "elapsed"])
def test_columns_of_times_are_no_channels(name: str, tmp_path: Path) -> None:
    for i in range(4):
        times = [f"2020-01-01 00:00:{t:02d}" if name == "date" else str(t / 100) for t in range(30)]
        rows = "".join(f"{time},{np.sin(t * (i + 1)):.3f}\n" for t, time in enumerate(times))
        (tmp_path / f"{i}.csv").write_text(f"{name},a\n{rows}")
    source = load(tmp_path)
    assert source.spec.shape == (1, 30)
    assert _told(source, f"{name!r} counts the time")


def test_a_channel_that_is_called_like_a_time_stays(tmp_path: Path) -> None:
    for i in range(4):
        rows = "".join(f"{np.sin(t):.3f},{np.cos(t * i):.3f}\n" for t in range(30))
        (tmp_path / f"{i}.csv").write_text(f"t,h\n{rows}")
    assert load(tmp_path).spec.shape == (2, 30)


def test_labels_in_series_are_no_channel(tmp_path: Path) -> None:
    for i in range(4):
        (tmp_path / f"{i}.csv").write_text("a,Label\n" + f"0.5,{i % 2}\n" * 30)
    source = load(tmp_path)
    assert source.spec.shape == (1, 30)
    assert _told(source, "'Label' holds labels by its name")


def test_series_that_lie_across_are_told(tmp_path: Path) -> None:
    for i in range(4):
        row = ",".join(f"{np.sin(t * (i + 1)):.3f}" for t in range(60))
        (tmp_path / f"{i}.csv").write_text(f"{row}\n" * 3)
    assert _told(load(tmp_path), "60 channels (columns) of 3 steps (rows)")


def test_colours_of_sixteen_bits_are_told(tmp_path: Path) -> None:
    for i in range(4):
        values = np.random.default_rng(i).integers(0, 65535, (8, 8, 3)).astype(np.uint16)
        (tmp_path / f"{i}.png").write_bytes(deep_png(values))
    source = load(tmp_path, split=False)
    assert source.spec.shape == (3, 8, 8)
    assert _told(source, "4 of 4 images have values of more than 8 bits")
