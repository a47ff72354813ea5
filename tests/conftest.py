"""Fixtures shared by all tests: the reference values and the real data that may lie beside the repository."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

SHARED = Path(os.environ.get("NEARFAR_SHARED", Path(__file__).resolve().parents[2] / "shared"))


@pytest.fixture(autouse=True)
def _one_seed() -> None:
    """Every test starts from the same random state."""
    torch.manual_seed(0)
    np.random.seed(0)


@pytest.fixture
def golden() -> Callable[[str], dict[str, torch.Tensor]]:
    """Load one reference case by name ("a-ntxent-case1") as float64 tensors; skips where the references are not at hand."""

    def load(name: str) -> dict[str, torch.Tensor]:
        path = SHARED / "golden" / f"{name}.npz"
        if not path.exists():
            pytest.skip(f"reference values are not at hand ({path}); set NEARFAR_SHARED to their folder")
        with np.load(path, allow_pickle=False) as arrays:
            return {key: torch.from_numpy(np.asarray(arrays[key])) for key in arrays.files if arrays[key].dtype.kind in "fiub"}

    return load


@pytest.fixture
def shared_data() -> Callable[[str], Path]:
    """Path of one real data file ("emoji.parquet"); skips where the data are not at hand."""

    def find(name: str) -> Path:
        path = SHARED / "data" / name
        if not path.exists():
            pytest.skip(f"real data are not at hand ({path}); set NEARFAR_SHARED to their folder")
        return path

    return find
