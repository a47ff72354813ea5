"""Checks of what a method predicts: rows, tables, files and pictures of its result."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.testing import assert_close

from nearfar.methods.method import Method
from nearfar.results.result import Result
from nearfar.rows import select, tensors_of

_ALIKE = 1e-9
"""How far a prediction may depend on the samples beside it, in float64."""


def check_predictions(method: Method, x: Any) -> None:
    """What a method predicts is a result of its type, with a row for each sample.

    A sample's prediction does not depend on those beside it. Rows can be taken and joined again.
    Tables have a line for each sample or more, and files can be written.

    Args:
        method: That predicts, in evaluation mode.
        x: At least three samples in plain view.

    Raises:
        AssertionError: Names what is broken.
    """
    kind = type(method).predicts
    assert kind is not None, "the method predicts nothing"
    result = method.predict(x)
    count = len(x)
    assert isinstance(result, kind), f"predict gives a {type(result).__name__}, not {kind.__name__}"
    assert len(result) == count, f"predict gives {len(result)} rows for {count} samples"
    _check_rows(result)
    some = torch.tensor([count - 1, 0])
    alone = method.predict(select(x, some))
    _assert_equal(alone, result.select(some), "a prediction depends on the samples beside it")
    ids = [f"sample {number}" for number in range(count)]
    _check_tables(result, ids)
    with tempfile.TemporaryDirectory() as folder:
        paths = result.write(Path(folder) / "out", ids)
        assert paths, "write gives no file"
        assert all(path.exists() for path in paths), "write names files that are not there"


def _check_rows(result: Result) -> None:
    first = result[:1]
    rest = result[1:]
    assert len(first) == 1, f"the first row has {len(first)} samples"
    joined = type(result).joined([first, rest])
    _assert_equal(joined, result, "rows that are taken apart and joined are others")
    drawn = result.pictures()
    assert len(drawn) == len(result), f"{len(drawn)} pictures for {len(result)} samples"


def _check_tables(result: Result, ids: list[str]) -> None:
    for what, columns in (("columns", result.columns(ids)), ("shown", result.shown(ids))):
        lengths = {name: len(values) for name, values in columns.items()}
        assert len(set(lengths.values())) == 1, f"{what} have the lengths {lengths}"
    held = len(next(iter(result.columns(ids).values())))
    assert held >= len(ids), f"the table has {held} lines for {len(ids)} samples"


def _assert_equal(found: Result, expected: Result, told: str) -> None:
    for name, value in vars(expected).items():
        other = getattr(found, name)
        if not tensors_are_in(value):
            continue
        for one, two in zip(tensors_of(other), tensors_of(value), strict=True):
            if one.is_floating_point():
                assert_close(one, two, atol=_ALIKE, rtol=_ALIKE, msg=lambda text: f"{told}: {text}")
            else:
                assert torch.equal(one, two), f"{told}: {name}"


def tensors_are_in(value: Any) -> bool:
    """Whether a field of a result holds rows."""
    return isinstance(value, Tensor) or (hasattr(value, "__getitem__") and hasattr(value, "to"))
