"""Hostile and odd input: refused with the number that is too large, in bounded time and memory, and
in one sentence."""

from __future__ import annotations

import io
import os
import resource
import struct
import subprocess
import time
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from rich.console import Console
from scipy.io import wavfile

from nearfar.data import Tokenizer, load
from nearfar.errors import UserError, printable
from nearfar.reports.told import tell
from tests.data.conftest import encoded, picture, write_parquet


def _bomb(path: Path, count: int) -> None:
    """An archive that unpacks to ``count`` bytes of zeros."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("x.npy", "w", force_zip64=True) as file,
    ):
        header = {"descr": "|u1", "fortran_order": False, "shape": (count // 65536, 256, 256)}
        np.lib.format.write_array_header_1_0(file, header)  # type: ignore[no-untyped-call]
        zeros = bytes(1 << 20)
        for _ in range(count >> 20):
            file.write(zeros)


def test_an_archive_of_zeros_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    _bomb(tmp_path / "data.npz", 1100 << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match=r"unpacks from [\d,]+ to 1,153,43\d,\d\d\d bytes"):
        load(tmp_path / "data.npz")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


@pytest.mark.parametrize(
    "kind", ["images", "series", "texts", "points", "sound", "array of images"]
)
def test_a_size_beyond_all_bounds_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    if kind == "images":
        path = write_parquet(
            tmp_path / "data.parquet", {"image": [encoded(picture(i)) for i in range(6)]}
        )
    elif kind == "texts":
        path = write_parquet(
            tmp_path / "data.parquet", {"text": [f"some words {i}" for i in range(6)]}
        )
    elif kind == "sound":
        path = tmp_path / "sound"
        path.mkdir()
        for i in range(4):
            wavfile.write(
                path / f"{i}.wav",
                8000,
                np.random.default_rng(i).integers(-9000, 9000, 800).astype(np.int16),
            )
    elif kind == "array of images":
        np.savez(path, images=np.random.default_rng(0).integers(0, 255, (6, 8, 8), dtype=np.uint8))
    else:
        np.savez(
            path,
            **{
                "points" if kind == "points" else "x": np.random.default_rng(0).normal(
                    size=(6, 16, 3) if kind == "points" else (6, 2, 16)
                )
            },
        )
    with pytest.raises(UserError, match="10,000,000"):
        load(path, size=10_000_000)


@pytest.mark.parametrize("rate", [1, 2**31 - 1])
def test_rates_that_no_recording_has(rate: int, tmp_path: Path) -> None:
    sound = np.random.default_rng(0).integers(-9000, 9000, 4000).astype(np.int16)
    for i in range(6):
        wavfile.write(tmp_path / f"{i}.wav", 8000, sound + i)
    content = bytearray((tmp_path / "0.wav").read_bytes())
    content[24:32] = struct.pack("<II", rate, 2 * rate)
    (tmp_path / "0.wav").write_bytes(content)
    source = load(tmp_path)
    assert source.spec.extra["sampling_rate"] == 8000
    assert any(f"it states {rate:,} samples a second" in note for note in source.notes)


def test_very_long_series_are_refused_and_can_be_cropped(tmp_path: Path) -> None:
    x = np.zeros((2, 1, 1_100_000), np.float32)
    np.savez(tmp_path / "data.npz", x=x)
    with pytest.raises(UserError, match="has 1,100,000 steps; expected at most 1,048,576"):
        load(tmp_path / "data.npz")
    (tmp_path / "files").mkdir()
    for i in range(2):
        (tmp_path / "files" / f"{i}.csv").write_text("1\n" * 1_100_000)
    with pytest.raises(UserError, match="has 1,100,000 steps"):
        load(tmp_path / "files")
    assert load(tmp_path / "files", size=100).spec.shape == (1, 100)


def test_long_texts_without_blanks_take_time_in_proportion() -> None:
    letters = np.random.default_rng(0).choice(list("abcdefghij"), 1_000_000)
    text = "".join(letters)
    started = time.process_time()
    tokenizer = Tokenizer.train([text[:50_000]], 1024)
    assert tokenizer.encode([text], 77).ids.shape == (1, 77)
    assert time.process_time() - started < 20
    assert tokenizer.decode(tokenizer.encode([text[:3000]]).ids[0].tolist()) == text[:3000]


def test_a_tokenizer_that_doubles_is_refused() -> None:
    merges = [[102, 102], *([261 + i, 261 + i] for i in range(40))]
    with pytest.raises(
        UserError, match=r"A token of a tokenizer is \d+ bytes long; expected at most 260"
    ):
        Tokenizer.from_json(f'{{"merges": {merges}}}')


@pytest.mark.parametrize(
    "merges",
    [
        "[[5, 9999]]",
        "[[-1, 5]]",
        "[[5.5, 6]]",
        '[["a", "b"]]',
        "5",
        "[5]",
        "null",
        "[[1e999, 5]]",
        "[[true, 5]]",
    ],
)
def test_tokenizers_of_other_things_are_refused(merges: str) -> None:
    with pytest.raises(UserError):
        Tokenizer.from_json(f'{{"merges": {merges}}}')


def test_pictures_of_too_many_pixels_are_skipped_with_the_reason(tmp_path: Path) -> None:
    for i in range(4):
        picture(i).save(tmp_path / f"{i}.png")
    Image.new("1", (13000, 12000)).save(tmp_path / "large.png")
    Image.new("1", (20000, 20000)).save(tmp_path / "larger.png")
    source = load(tmp_path)
    assert len(source.read) == 6
    (note,) = (note for note in source.notes if "cannot be read" in note)
    assert "too large: 13,000 x 12,000 pixels" in note
    assert "too large: over" in note


@pytest.mark.parametrize(
    "start", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"\xc5\xd0\xd3\xc6"]
)
def test_postscript_is_never_opened(
    start: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a program was started"))
    for i in range(4):
        picture(i).save(tmp_path / f"{i}.png")
    (tmp_path / "evil.png").write_bytes(start + b"%%EndComments\nshowpage\n%%EOF\n" * 40)
    assert any("evil.png; skipped" in note for note in load(tmp_path).notes)


def test_an_encrypted_archive_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=np.zeros((4, 2, 16)))
    content = bytearray((tmp_path / "data.npz").read_bytes())
    content[content.index(b"PK\x03\x04") + 6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "data.npz").write_bytes(content)
    with pytest.raises(UserError, match="is encrypted"):
        load(tmp_path / "data.npz")


@pytest.mark.parametrize(
    "arrays",
    [
        {"x": np.full((6, 2, 16), "a")},
        {"x": np.zeros((6, 2, 16), complex)},
        {"x": np.zeros((6, 2, 16), "M8[s]")},
        {"x": np.zeros(6, [("a", float), ("b", int)])},
        {"x": np.zeros((6, 2, 16), bool)},
        {"x": np.float64(3)},
        {"x": np.zeros((6, 2, 16)), "sampling_rate": np.array("fast")},
        {"x": np.zeros((6, 2, 16)), "sampling_rate": np.array(-1)},
        {"x": np.full((6, 2, 16), np.nan)},
        {"images": np.full((6, 8, 8), np.nan)},
        {"x": np.zeros((2, 2, 2, 2, 16))},
    ],
)
def test_odd_arrays_are_one_sentence(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(UserError):
        load(tmp_path / "data.npz")


@pytest.mark.parametrize(
    "labels",
    [
        np.full(6, "a\x1b[2J"),
        np.zeros(6, "M8[s]"),
        np.zeros(6, complex),
        np.array([b"x\xff"] * 6),
        np.arange(6) > 2,
    ],
)
def test_odd_labels_are_read_or_one_sentence(labels: np.ndarray, tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=np.random.default_rng(0).normal(size=(6, 2, 16)), y=labels)
    with suppress(UserError):
        assert all(name.isprintable() for name in load(tmp_path / "data.npz").spec.classes)


@pytest.mark.parametrize(
    "table",
    [
        "text,label\n",
        "",
        "\n\n",
        "text\n\n",
        "a,b\n1\n",
        '"text\nlabel',
        "path\n../../../etc/passwd\n",
        "path\n/dev/zero\n",
    ],
)
def test_odd_tables_are_one_sentence(table: str, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text(table)
    with pytest.raises(UserError):
        load(tmp_path / "data.csv")


def test_names_in_a_table_that_no_file_can_have(tmp_path: Path) -> None:
    for i in range(4):
        picture(i).save(tmp_path / f"{i}.png")
    os.mkfifo(tmp_path / "pipe.png")
    names = ["0.png", "1.png", "2.png", "3.png", "x" * 5000, "", "pipe.png", ".", None]
    path = write_parquet(tmp_path / "data.parquet", {"path": pa.array(names)})
    source = load(path)
    assert len(source.train) + (0 if source.test is None else len(source.test)) == 4


@pytest.mark.parametrize(
    "name", ["[/INST]", "[bold]x", "a\x1b]0;owned\x07b", "\x9b2J", "\u202egnp.exe"]
)
@pytest.mark.parametrize("place", ["file", "folder", "column", "class", "data"])
def test_names_do_nothing_to_the_terminal(name: str, place: str, tmp_path: Path) -> None:
    data = tmp_path / (name.replace("/", "") if place == "data" else "data")
    if place == "column":
        columns = {
            "text": [f"some words {i}" for i in range(12)],
            name: [[0]] * 12,
            name + "b": [0, 1] * 6,
        }
        data = write_parquet(tmp_path / "d.parquet", columns)
    elif place == "class":
        data = write_parquet(
            tmp_path / "d.parquet",
            {"text": [f"some words {i}" for i in range(12)], "label": [name] * 12},
        )
    else:
        inside = data / (name.replace("/", "") if place == "folder" else "a")
        inside.mkdir(parents=True)
        for i in range(6):
            picture(i).save(inside / f"{name.replace('/', '') if place == 'file' else ''}{i}.png")
        (inside / f"{name.replace('/', '')}broken.png").write_bytes(b"x")
    printed = io.StringIO()
    tell(load(data), Console(file=printed, width=2000, force_terminal=False))
    shown = printed.getvalue()
    assert printable(shown) == shown
    if place == "class":
        assert printable(name) in shown


def test_errors_are_printable(tmp_path: Path) -> None:
    with pytest.raises(UserError) as found:
        load(tmp_path / "a\x1b[2Jb.parquet")
    assert "\x1b" not in str(found.value)


def test_content_of_another_kind_under_an_ending(tmp_path: Path) -> None:
    """Every reader meets a file of every other kind under its own ending."""
    np.savez(tmp_path / "a.npz", x=np.zeros((4, 2, 16)))
    picture(0).save(tmp_path / "a.png")
    wavfile.write(tmp_path / "a.wav", 8000, np.zeros(80, np.int16))
    (tmp_path / "a.csv").write_text("text,label\nsome words,1\n")
    write_parquet(tmp_path / "a.parquet", {"text": ["some words"] * 4})
    kinds = ("npz", "png", "wav", "csv", "parquet")
    for true in kinds:
        for called in kinds:
            if true == called:
                continue
            folder = tmp_path / f"{true}{called}"
            folder.mkdir()
            for i in range(3):
                (folder / f"{i}.{called}").write_bytes((tmp_path / f"a.{true}").read_bytes())
            for data in (folder, folder / f"0.{called}"):
                with suppress(UserError):
                    load(data)


def test_the_marks_of_samples_differ_by_one_bit() -> None:
    from nearfar.data.marks import marks_of

    for size in (1, 7, 8, 9, 784, 5000):
        x = torch.zeros(4, size, dtype=torch.uint8)
        x[1, 0], x[2, -1], x[3, size // 2] = 1, 128, 64
        assert len(set(marks_of(x, np.arange(4), whole=True).tolist())) == (
            4 if size > 2 else len(np.unique(x.numpy(), axis=0))
        )
    twice = torch.zeros(2, 16, dtype=torch.uint8)
    twice[0, 7] = twice[0, 15] = 128
    assert len(set(marks_of(twice, np.arange(2), whole=True).tolist())) == 2


@pytest.mark.parametrize(
    "name",
    ["", " ", "a\0b", "x" * 5000, "~nobody-here/x", "a/" * 3000, "\udce9", "./nowhere#a=b", "#a=b"],
)
def test_names_that_can_be_no_data(name: str) -> None:
    with pytest.raises(UserError):
        load(name)


@pytest.mark.parametrize("shape", [(10**12, 4), (20, 2, 10**9)])
def test_arrays_that_state_more_than_they_hold_are_named(
    shape: tuple[int, ...], tmp_path: Path
) -> None:
    content = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(content, header)
    with zipfile.ZipFile(tmp_path / "data.npz", "w") as archive:
        archive.writestr("x.npy", content.getvalue() + b"\0" * 64)
    with pytest.raises(UserError, match=r"states the shape \(.*the file is damaged"):
        load(tmp_path / "data.npz")
