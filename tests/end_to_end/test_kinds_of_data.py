"""Sound, clips and points from file to report by the real functions, on tiny data made here."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from scipy.io import wavfile

import nearfar
from nearfar.cli import main
from nearfar.verbs.run import Run

COUNT = 40


def _sounds(folder: Path) -> Path:
    blobs = []
    for i in range(COUNT):
        file = io.BytesIO()
        wave = np.sin(
            2 * np.pi * (300 if i % 2 else 1500) * np.arange(2000) / 8000
        ) + 0.1 * np.random.default_rng(i).normal(size=2000)
        wavfile.write(file, 8000, (8000 * wave).astype(np.int16))
        blobs.append({"bytes": file.getvalue(), "path": None})
    pq.write_table(
        pa.table({"audio": blobs, "label": np.arange(COUNT) % 2, "speaker": np.arange(COUNT) // 8}),
        folder / "a.parquet",
    )
    return folder / "a.parquet"


def _clips(folder: Path) -> Path:
    clips = []
    for i in range(COUNT):
        clips.append([])
        for frame in range(3):
            pixels = np.random.default_rng(i).integers(0, 255, (16, 16, 3), dtype=np.uint8)
            file = io.BytesIO()
            Image.fromarray(np.roll(pixels, frame * (i % 2) * 4, axis=0)).save(file, "PNG")
            clips[-1].append(file.getvalue())
    pq.write_table(pa.table({"frames": clips, "label": np.arange(COUNT) % 2}), folder / "a.parquet")
    return folder / "a.parquet"


def _points(folder: Path) -> Path:
    x = np.random.default_rng(0).normal(size=(COUNT, 48, 3))
    x[::2, :, 2] *= 4
    np.savez(folder / "a.npz", points=x, label=np.arange(COUNT) % 2)
    return folder / "a.npz"


@pytest.mark.parametrize(
    ("write", "modality"), [(_sounds, "audio"), (_clips, "video"), (_points, "points")]
)
def test_from_file_to_report(write: Any, modality: str, tmp_path: Path) -> None:
    data = write(tmp_path)
    folder = tmp_path / "run"
    words = [
        "pretrain",
        "simclr",
        "--data",
        str(data),
        "--steps",
        "2",
        "--batch-size",
        "8",
        "--precision",
        "float32",
    ]
    assert main([*words, "--no-evaluate", "--output", str(folder)]) == 0
    assert main(["evaluate", str(folder), "--seeds", "1", "--protocols", "knn,geometry"]) == 0
    run = Run(folder)
    assert run.source().spec.modality == modality
    stored = run.evaluation()
    assert stored is not None
    assert stored.rows() == [
        "trained",
        "random encoder",
        "raw input",
        "simple features",
    ]
    page = nearfar.report(folder).read_text()
    assert page.count('src="data:image/') > 10
    written = nearfar.embed(folder, data=str(data), output=tmp_path / "embedded.npz")
    with np.load(written) as arrays:
        assert arrays["embedding"].shape[0] == COUNT
