"""Samples are taken by number from any content, and subsets and devices do not change which."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from nearfar.data import samples as samples_module
from nearfar.data.content.arrays import in_memory
from nearfar.data.samples import Samples
from nearfar.errors import UserError
from nearfar.rows import Parts, Tokens


def of_images() -> Samples:
    images = torch.arange(6, dtype=torch.uint8)[:, None, None, None].expand(6, 1, 2, 2).contiguous()
    return Samples(
        images,
        list("abcd"),
        torch.arange(4) * 10,
        {"who": torch.tensor([0, 0, 1, 1])},
        rows=torch.tensor([5, 4, 2, 0]),
    )


def test_samples_are_taken_by_number_in_any_order() -> None:
    found = of_images().take(torch.tensor([3, 0, 0]))
    assert found.dtype == torch.uint8
    assert found[:, 0, 0, 0].tolist() == [0, 5, 5]


def test_a_subset_keeps_everything_in_step() -> None:
    subset = of_images().subset(torch.tensor([2, 1]))
    assert len(subset) == 2
    assert subset.ids == ["c", "b"]
    assert subset.take(torch.arange(2))[:, 0, 0, 0].tolist() == [2, 4]
    assert subset.label is not None
    assert subset.label.tolist() == [20, 10]
    assert subset.group["who"].tolist() == [1, 0]
    assert subset.subset(torch.tensor([1])).ids == ["b"]


@pytest.mark.parametrize("limit", [0, 1 << 30])
def test_a_device_changes_no_sample(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(samples_module, "_RESIDENT_BYTES", limit)
    moved = of_images().to("meta")
    assert moved.take(torch.tensor([1])).device.type == "meta"
    assert (moved.content.device.type == "meta") == (limit > 0)
    assert moved.label is not None
    assert moved.label.device.type == "meta"
    assert of_images().to("cpu").take(torch.tensor([1]))[0, 0, 0, 0] == 4


def test_pairs_and_tokens_are_taken_in_step() -> None:
    tokens = Tokens(torch.arange(6).reshape(3, 2), torch.ones(3, 2, dtype=torch.bool))
    images = torch.arange(3, dtype=torch.uint8).reshape(3, 1, 1, 1)
    found = in_memory(Parts(image=images, text=tokens)).take(torch.tensor([2, 0]))
    assert found.image.ravel().tolist() == [2, 0]
    assert found.text.ids.tolist() == [[4, 5], [0, 1]]
    assert found.text.mask.shape == (2, 2)


@pytest.mark.parametrize(
    ("array", "dtype"),
    [(np.zeros((3, 1, 4, 4), np.uint8), torch.uint8), (np.zeros((3, 2, 9)), torch.float32)],
)
def test_raw_arrays_become_samples(array: Any, dtype: torch.dtype) -> None:
    samples = in_memory(array)
    assert samples.ids == ["0", "1", "2"]
    assert samples.take(torch.tensor([1])).dtype == dtype


@pytest.mark.parametrize(
    "array", [np.zeros((3, 4), np.uint8), np.zeros((3, 1, 4, 4)), np.zeros((3, 4, 4), np.int64)]
)
def test_other_arrays_are_refused(array: Any) -> None:
    with pytest.raises(UserError, match=r"have shape \(3, .* expected uint8 images"):
        in_memory(array)
