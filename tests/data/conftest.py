"""Tiny image files, and a cache of each test's own."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's decoded images go."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("NEARFAR_CACHE", str(folder))
    return folder


def picture(seed: int, *, size: tuple[int, int] = (12, 12), mode: str = "RGB") -> Image.Image:
    """A random image of (width, height)."""
    random = np.random.default_rng(seed)
    channels = {"L": (), "RGB": (3,), "RGBA": (4,), "LA": (2,)}[mode]
    return Image.fromarray(
        random.integers(0, 256, (size[1], size[0], *channels), dtype=np.uint8), mode
    )


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    """The image as the content of a file."""
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def deep_png(array: NDArray[np.uint16], orientation: int = 1) -> bytes:
    """A PNG of 16 bits, (H, W) or (H, W, C) with C 2 to 4, which Pillow reads and cannot write."""
    height, width = array.shape[:2]
    colours = {2: 4, 3: 2, 4: 6}[array.shape[2]] if array.ndim == 3 else 0
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    exif = Image.Exif()
    exif[0x112] = orientation
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colours, 0, 0, 0)),
        *([(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))] if orientation > 1 else []),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    found = b"\x89PNG\r\n\x1a\n"
    for name, content in chunks:
        checksum = struct.pack(">I", zlib.crc32(name + content))
        found += struct.pack(">I", len(content)) + name + content + checksum
    return found


@pytest.fixture
def image_folder(tmp_path: Path) -> Callable[..., Path]:
    """Write random images: ``image_folder({"cats/1.png": {}, ...})``, each with the arguments of
    ``picture``.
    """

    def write(files: dict[str, dict[str, Any]], name: str = "photos") -> Path:
        for number, (path, options) in enumerate(files.items()):
            target = tmp_path / name / path
            target.parent.mkdir(parents=True, exist_ok=True)
            picture(number, **options).save(target)
        return tmp_path / name

    return write


def image_column(count: int, **options: Any) -> pa.Array:
    """A column of encoded images as Hugging Face writes it."""
    return pa.array([{"bytes": encoded(picture(i, **options)), "path": None} for i in range(count)])


def write_parquet(
    path: Path, columns: dict[str, Any], *, metadata: dict[str, str] | None = None, rows: int = 4
) -> Path:
    """A parquet file in row groups of ``rows``."""
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), path, row_group_size=rows)
    return path
