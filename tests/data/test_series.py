"""Series from CSV folders and .npz files: shapes, headers, gaps, lengths, and labels beside
them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nearfar.data import load
from nearfar.data.content.series import fit_lengths, read_series
from nearfar.errors import UserError


def write_csv(path: Path, values: np.ndarray, header: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [",".join("" if np.isnan(v) else repr(float(v)) for v in row) for row in values]
    path.write_text("\n".join(([header] if header else []) + lines) + "\n")
    return path


@pytest.mark.parametrize("header", [None, "ax,ay", '"a x","a y"'])
def test_a_file_is_read_by_time_and_channel(tmp_path: Path, header: str | None) -> None:
    values = np.random.default_rng(0).normal(size=(7, 2))
    found = read_series(write_csv(tmp_path / "a.csv", values, header))
    assert found.dtype == np.float32
    assert np.array_equal(found, values.T.astype(np.float32))


def test_tabs_and_a_time_column(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("time\tx\n0.0\t5\n0.1\t6\n")
    assert read_series(tmp_path / "a.tsv").tolist() == [[5, 6]]


def folder_of(root: Path, lengths: list[int], classes: bool = True) -> Path:
    for i, length in enumerate(lengths):
        where = root / "waves" / (f"kind{i % 2}" if classes else "")
        write_csv(where / f"{i}.csv", np.full((length, 3), i) + np.arange(length)[:, None])
    return root / "waves"


def test_a_folder_of_files_is_a_source(tmp_path: Path) -> None:
    source = load(folder_of(tmp_path, [12] * 10))
    assert (source.spec.modality, source.spec.shape) == ("series", (3, 12))
    assert source.spec.classes == ("kind0", "kind1")
    assert source.test is not None
    assert (len(source.train), len(source.test)) == (8, 2)
    for samples in (source.train, source.test):
        x = samples.take(torch.arange(len(samples)))
        assert x.dtype == torch.float32
        assert x[:, 0, 0].tolist() == [int(Path(name).stem) for name in samples.ids]
    x = source.train.take(torch.arange(8)).double()
    assert source.spec.mean == pytest.approx(x.mean(dim=(0, 2)).tolist())
    assert source.spec.std == pytest.approx(x.std(dim=(0, 2), correction=0).tolist())


def test_a_constant_channel_has_a_deviation_of_one(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(10, 2, 8)).astype(np.float32)
    x[:, 1] = 1000.1
    np.savez(tmp_path / "a.npz", x=x)
    assert load(tmp_path / "a.npz").spec.std[1] == 1.0


def test_different_lengths_need_a_size(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, [8, 12, 10], classes=False)
    with pytest.raises(
        UserError, match="series of waves are from 8 to 12 steps long; give one length with --size"
    ):
        load(folder)
    x = load(folder, size=10, split=False).train.take(torch.arange(3))
    assert x.shape == (3, 3, 10)
    assert x[0, 0].tolist() == [*range(8), 0, 0]
    assert x[1, 0].tolist() == list(range(2, 12))
    assert x[2, 0].tolist() == list(range(2, 12))


def test_different_channels_are_refused() -> None:
    with pytest.raises(UserError, match="have from 1 to 2 channels"):
        fit_lengths([np.zeros((1, 4)), np.zeros((2, 4))], "waves")


def test_a_gap_names_the_file(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, [8, 8, 8], classes=False)
    values = np.zeros((8, 3))
    values[5, 1] = np.nan
    write_csv(folder / "1.csv", values)
    with pytest.raises(
        UserError,
        match=r"series in 1\.csv has 1 missing .* first in channel 1 at step 5; fill the gaps",
    ):
        load(folder)


def test_a_gap_names_the_row(tmp_path: Path) -> None:
    x = np.zeros((4, 2, 9))
    x[2, 1, 3:5] = np.inf
    np.savez(tmp_path / "a.npz", x=x)
    with pytest.raises(
        UserError,
        match=r"series in row 2 of a\.npz has 2 missing or infinite values, the first in channel 1 "
        r"at step 3",
    ):
        load(tmp_path / "a.npz")


def test_files_that_are_no_series_are_skipped(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, [8, 8, 8], classes=False)
    (folder / "bad.csv").write_text("a,b\nhello,world\n")
    (folder / "empty.csv").write_text("")
    source = load(folder, split=False)
    assert source.train.ids == ["0.csv", "1.csv", "2.csv"]
    assert any(
        note.startswith("2 of 5 series of waves cannot be read: bad.csv (") for note in source.notes
    )
    with pytest.raises(
        UserError, match=r"2 of 5 series of waves cannot be read: .*leave out --strict"
    ):
        load(folder, strict=True)


@pytest.mark.parametrize(
    ("shape", "dtype", "modality", "expected"),
    [
        ((6, 3, 20), "float16", "series", (3, 20)),
        ((6, 20), "int16", "series", (1, 20)),
        ((6, 2, 3, 20), "float32", "series", (6, 20)),
        ((6, 9, 8), "uint8", "image", (1, 9, 8)),
        ((6, 9, 8, 3), "uint8", "image", (3, 9, 8)),
        ((6, 3, 9, 8), "uint8", "image", (3, 9, 8)),
    ],
)
def test_arrays_of_many_shapes(
    tmp_path: Path, shape: tuple[int, ...], dtype: str, modality: str, expected: tuple[int, ...]
) -> None:
    x = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
    np.savez(tmp_path / "a.npz", x=x)
    source = load(tmp_path / "a.npz", split=False)
    assert (source.spec.modality, source.spec.shape) == (modality, expected)
    found = source.train.take(torch.tensor([4]))[0]
    assert found.dtype == (torch.uint8 if modality == "image" else torch.float32)
    channels_last = len(shape) == 4 and shape[-1] == 3
    assert np.array_equal(
        found.numpy(),
        (x[4].transpose(2, 0, 1) if channels_last else x[4].reshape(expected)).astype(
            found.numpy().dtype
        ),
    )


def test_joined_channels_are_said(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((4, 5, 6, 10)))
    assert any(
        "5 x 6 series of each sample of x in a.npz are taken as 30 channels" in note
        for note in load(tmp_path / "a.npz").notes
    )


def test_labels_names_groups_and_rate_beside_the_array(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {
        "x": np.zeros((6, 1, 10)),
        "activity": np.array([0, 1, 2, 0, 1, 2]),
        "subject": np.array([1, 1, 2, 2, 3, 3]),
    }
    np.savez(
        tmp_path / "a.npz",
        **arrays,
        activity_names=np.array(["sit", "walk", "run"]),
        sampling_rate=np.float32(25),
    )
    source = load(tmp_path / "a.npz")
    assert source.spec.classes == ("sit", "walk", "run")
    assert source.spec.groups == ("subject",)
    assert source.spec.extra["sampling_rate"] == 25.0
    assert source.test is not None
    assert not set(source.train.group["subject"].tolist()) & set(
        source.test.group["subject"].tolist()
    )
    assert load(tmp_path / "a.npz", label="subject", group="activity").spec.groups == ("activity",)


def test_a_size_crops_ready_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.tile(np.arange(12.0), (4, 1, 1)))
    assert load(tmp_path / "a.npz", size=8, split=False).train.take(
        torch.tensor([0])
    ).ravel().tolist() == list(range(2, 10))
    np.savez(tmp_path / "b.npz", x=np.full((4, 16, 32), 9, dtype=np.uint8))
    images = load(tmp_path / "b.npz", size=8, split=False).train.take(torch.arange(4))
    assert images.shape == (4, 1, 8, 8)
    assert torch.all(images == 9)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"y": np.arange(4)},
            r"no array of samples: expected numbers x with shape \(N, C, T\).*found y \(4,\)",
        ),
        (
            {"x": np.zeros((4, 7, 4))},
            r"x in a\.npz has shape \(4, 7, 4\); expected \(N, C, T\) with at least 8 time steps",
        ),
        (
            {"x": np.zeros((4, 9, 9, 9), np.uint8)},
            r"--channels first \(9 channels\) or --channels last \(9 channels\)",
        ),
        ({"x": np.zeros((4, 9)), "edge_index": np.zeros((2, 5))}, "holds graphs"),
        ({"x": np.array([None, {}], dtype=object)}, "holds Python objects, which could run code"),
    ],
)
def test_arrays_that_are_no_samples(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(UserError, match=message):
        load(tmp_path / "a.npz")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"something else"])
def test_a_file_that_is_no_npz(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.npz (cannot be read as \.npz|holds Python objects)"):
        load(tmp_path / "a.npz")
