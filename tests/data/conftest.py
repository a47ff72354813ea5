"""Tiny image files, and a cache of each test's own."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
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
