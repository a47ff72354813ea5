"""Rows that meet a condition."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from nearfar.data import load
from nearfar.data.tables.rows import condition_of
from nearfar.errors import UserError


def two_devices(path: Path) -> Path:
    x = np.arange(40, dtype=np.float32)[:, None, None] * np.ones((1, 2, 10), dtype=np.float32)
    np.savez(
        path, x=x, label=np.arange(40) % 3, device=np.array(["left", "right"])[np.arange(40) % 2]
    )
    return path


def test_rows_with_a_value_are_taken_with_all_that_belongs_to_them(tmp_path: Path) -> None:
    source = load(f"{two_devices(tmp_path / 'walks.npz')}#device=right")
    assert source.spec.name == "walks-right"
    assert source.test is not None
    for samples in (source.train, source.test):
        rows = [int(name) for name in samples.ids]
        assert all(row % 2 == 1 for row in rows)
        assert samples.label.tolist() == [row % 3 for row in rows]  # type: ignore[union-attr]
        content = samples.take(torch.arange(len(rows)))
        assert content[:, 0, 0].tolist() == rows
    assert len(source.train) + len(source.test) == 20


def test_unknown_columns_and_values_are_answered_with_those_that_there_are(tmp_path: Path) -> None:
    path = two_devices(tmp_path / "walks.npz")
    with pytest.raises(UserError, match="walks has no column 'side'; its columns: label, device"):
        load(f"{path}#side=left")
    with pytest.raises(
        UserError, match="No row of walks has device = 'up'; its values: left, right"
    ):
        load(f"{path}#device=up")


@pytest.mark.parametrize("name", ["digits", "a#b", "a#=b", "#a=b"])
def test_what_is_no_condition_is_part_of_the_name(name: str) -> None:
    assert condition_of(name) == (name, None)


def test_a_path_that_holds_the_mark_is_a_path(tmp_path: Path) -> None:
    two_devices(tmp_path / "walks.npz").rename(tmp_path / "walks#device=left.npz")
    assert len(load(tmp_path / "walks#device=left.npz").train) == 32


def test_one_of_two_sets_in_a_real_file(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    source = load(f"{shared_data('medical_images.parquet')}#set=blood_cells", cache=tmp_path)
    assert len(source.train) + len(source.test or []) == 983
    assert len(source.spec.classes) == 3
    assert source.spec.shape == (3, 64, 64)
