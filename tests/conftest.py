"""Fixtures shared by all tests: the reference values in ``tests/golden`` and the real data that may
lie beside the repository.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.references import ReferenceCase, comparison

SHARED = Path(os.environ.get("NEARFAR_SHARED", Path(__file__).resolve().parents[2] / "shared"))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of a file share runs and groups of processes: one worker takes all of them, those with
    a group of their own aside. Files that take long come first, so that workers end together.
    """
    files = {item: item.nodeid.partition("::")[0] for item in items}
    slow = {files[item] for item in items if item.get_closest_marker("slow") is not None}
    tests = Counter(files.values())
    items.sort(key=lambda item: (files[item] not in slow, -tests[files[item]], files[item]))
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(files[item]))


@pytest.fixture(autouse=True)
def _one_seed() -> None:
    """Every test starts from the same random state.

    Where no GPU is in use, ``torch.manual_seed`` would spend a millisecond on what to tell one.
    """
    if torch.cuda.is_initialized():
        torch.manual_seed(0)
    torch.default_generator.manual_seed(0)
    np.random.seed(0)


@pytest.fixture
def golden() -> Iterator[Callable[[str], ReferenceCase]]:
    """Load one reference case by name ("a-ntxent-case1") as float64 tensors.

    A missing file fails. A test that loads a case and reads none of its results (``out_*``)
    compares nothing, and fails too.
    """
    with comparison() as load:
        yield load


@pytest.fixture
def shared_data() -> Callable[[str], Path]:
    """Path of one real data file ("emoji.parquet"); skips where the data are not at hand."""

    def find(name: str) -> Path:
        path = SHARED / "data" / name
        if not path.exists():
            pytest.skip(f"real data are not at hand ({path}); set NEARFAR_SHARED to their folder")
        return path

    return find
