"""Shards: what is read of .tar files here and elsewhere, and what is refused."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from nearfar.data import load
from nearfar.errors import UserError
from tests.data.conftest import encoded, picture

fsspec = pytest.importorskip("fsspec")


def _tar(first: int, count: int, **more: bytes) -> bytes:
    """Samples of WebDataset's layout: a picture, a class and facts each."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for number in range(first, first + count):
            files = {
                "png": encoded(picture(number)),
                "cls": str(number % 2).encode(),
                "json": json.dumps({"place": f"p{number % 3}", "list": [1]}).encode(),
            }
            for ending, held in files.items():
                _add(archive, f"{number:04d}.{ending}", held)
        for name, held in more.items():
            _add(archive, name, held)
    return content.getvalue()


def _add(archive: tarfile.TarFile, name: str, held: bytes) -> None:
    about = tarfile.TarInfo(name)
    about.size = len(held)
    archive.addfile(about, io.BytesIO(held))


def _expected(numbers: range) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.stack([np.asarray(picture(number)).transpose(2, 0, 1) for number in numbers])


@pytest.mark.parametrize("way", ["file", "folder", "range", "file://", "memory://", "one://"])
def test_shards_wherever_they_lie(way: str, tmp_path: Path) -> None:
    shards = {"a-00.tar": _tar(0, 6), "a-01.tar": _tar(6, 4)}
    for name, content in shards.items():
        (tmp_path / name).write_bytes(content)
        with fsspec.open(f"memory://shards/{name}", "wb") as file:
            file.write(content)
    data = {
        "file": str(tmp_path / "a-00.tar"),
        "folder": str(tmp_path),
        "range": str(tmp_path / "a-{00..01}.tar"),
        "file://": f"file://{tmp_path}",
        "memory://": "memory://shards",
        "one://": "memory://shards/a-{00..01}.tar",
    }[way]
    source = load(data, split=False)
    numbers = range(6) if way == "file" else range(10)
    taken = source.train.take(torch.arange(len(source.train))).numpy()
    assert np.array_equal(taken, _expected(numbers))
    assert source.spec.classes == ("0", "1")
    assert source.column("place", source.train) == [f"p{number % 3}" for number in numbers]


def test_shards_name_their_parts(tmp_path: Path) -> None:
    (tmp_path / "train-000.tar").write_bytes(_tar(0, 6))
    (tmp_path / "test-000.tar").write_bytes(_tar(6, 3))
    source = load(tmp_path)
    assert source.test is not None
    assert (len(source.train), len(source.test)) == (6, 3)


def test_what_is_no_sample_is_counted_and_never_written(tmp_path: Path) -> None:
    more = {"../../escape.png": b"x", "README": b"read", "9999.cls": b"1", "bad.png": b"broken"}
    (tmp_path / "a.tar").write_bytes(_tar(0, 4, **more))
    before = sorted(tmp_path.parent.rglob("escape*"))
    source = load(tmp_path / "a.tar", split=False)
    assert len(source.train) == 4
    assert source.left_out["files in shards without an ending"] == 1
    assert source.left_out["samples without a picture"] == 1
    assert source.left_out["samples that cannot be read"] == 2
    assert sorted(tmp_path.parent.rglob("escape*")) == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_tar(0, 4)[:5000], "is cut off; check that the file is complete"),
        (_tar(0, 4)[: 3 * 1024], "is cut off; check that the file is complete"),
        (b"\x1f\x8b" + bytes(600), "is compressed; save it as a plain .tar"),
        (b"nothing of the kind" * 60, "cannot be read as .tar"),
        (b"", "cannot be read as .tar"),
    ],
)
def test_what_is_wrong_with_a_shard(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(UserError, match=message):
        load(tmp_path / "a.tar")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("memory://nowhere", r"holds no \.tar file"),
        ("memory://nowhere/a.tar", "There is no file memory://nowhere/a.tar"),
        ("nosuch://bucket/a.tar", "is no address that fsspec knows"),
        ("memory://a-{5..2}.tar", "stands for -2 files"),
    ],
)
def test_addresses_that_lead_nowhere(address: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load(address)
