"""Clips as lists of encoded frames, and point clouds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from nearfar.data import load
from nearfar.errors import UserError

from .conftest import encoded, picture


def write(path: Path, clips: list[list[bytes]], wrapped: bool) -> Path:
    frames = [
        [{"bytes": frame, "path": None} for frame in clip] if wrapped else clip for clip in clips
    ]
    pq.write_table(
        pa.table(
            {
                "frames": frames,
                "label": np.arange(len(clips)) % 2,
                "group": np.arange(len(clips)) // 2,
            }
        ),
        path,
    )
    return path


@pytest.mark.parametrize("wrapped", [False, True])
def test_frames_are_decoded_in_order(tmp_path: Path, wrapped: bool) -> None:
    clips = [[encoded(picture(10 * clip + frame)) for frame in range(4)] for clip in range(12)]
    source = load(write(tmp_path / "a.parquet", clips, wrapped))
    assert (source.spec.modality, source.spec.shape, source.spec.groups) == (
        "video",
        (3, 4, 12, 12),
        ("group",),
    )
    assert len(source.spec.mean) == 3
    row = source.train.ids.index("3") if "3" in source.train.ids else None
    samples, place = (
        (source.train, row)
        if row is not None
        else (source.test, source.test.ids.index("3") if source.test else 0)
    )
    assert samples is not None
    clip = samples.take(torch.tensor([place]))[0]
    for frame in range(4):
        np.testing.assert_array_equal(
            clip[:, frame].numpy(), np.asarray(picture(30 + frame)).transpose(2, 0, 1)
        )
    assert source.test is not None
    assert not set(source.train.group["group"].tolist()) & set(source.test.group["group"].tolist())


def test_clips_of_another_length_and_size_are_brought_to_an_encoders(tmp_path: Path) -> None:
    spec = load(
        write(
            tmp_path / "a.parquet",
            [[encoded(picture(c + f)) for f in range(4)] for c in range(12)],
            False,
        )
    ).spec
    longer = [[encoded(picture(c + f, size=(20, 16))) for f in range(8)] for c in range(12)]
    assert load(write(tmp_path / "b.parquet", longer, False), like=spec).spec.shape == spec.shape


def test_a_clip_with_a_broken_frame_is_skipped(tmp_path: Path) -> None:
    clips = [[encoded(picture(c + f)) for f in range(3)] for c in range(12)]
    clips[5][1] = b"no image"
    clips[7] = []
    source = load(write(tmp_path / "a.parquet", clips, False), split=False)
    assert len(source.train) == 10
    assert not {"5", "7"} & set(source.train.ids)
    assert any(note.startswith("4 of 36 frames of a cannot be read") for note in source.notes)


def test_points_are_kept_by_coordinate(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(10, 32, 3)).astype(np.float16)
    np.savez(
        tmp_path / "p.npz", points=x, label=np.arange(10) % 2, split=["train"] * 8 + ["test"] * 2
    )
    source = load(tmp_path / "p.npz")
    assert (source.spec.modality, source.spec.shape, source.spec.length) == ("points", (3, 32), 8)
    np.testing.assert_array_equal(
        source.train.take(torch.tensor([2]))[0].numpy(), x[2].T.astype(np.float32)
    )
    assert load(tmp_path / "p.npz", size=8).spec.shape == (3, 8)
    assert load(tmp_path / "p.npz", size=50).spec.shape == (3, 50)
    assert load(tmp_path / "p.npz", like=load(tmp_path / "p.npz", size=8).spec).spec.shape == (3, 8)


def test_points_that_are_nowhere_are_refused(tmp_path: Path) -> None:
    x = np.zeros((10, 32, 3))
    x[4, 3, 1] = np.nan
    np.savez(tmp_path / "p.npz", points=x)
    with pytest.raises(UserError, match=r"Row 4 of p.npz has points at missing or infinite places"):
        load(tmp_path / "p.npz")


@pytest.mark.parametrize("order", ["ascii", "binary_little_endian"])
def test_a_file_without_points_says_so(order: str, tmp_path: Path) -> None:
    head = f"ply\nformat {order} 1.0\nelement vertex 0\n"
    head += "".join(f"property float {axis}\n" for axis in "xyz") + "end_header\n"
    for number in range(3):
        (tmp_path / f"{number}.ply").write_text(head)
    with pytest.raises(UserError, match="it holds no points"):
        load(tmp_path)
