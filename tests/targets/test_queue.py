"""The queue keeps the newest rows, in any chunking, and finds the nearest of them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nearfar.targets.queue import Queue, fitting_length


def test_starts_as_random_unit_vectors_in_the_checkpoint() -> None:
    queue = Queue(50, 7)
    torch.testing.assert_close(queue.rows.norm(dim=1), torch.ones(50))
    assert queue.rows.std() > 0.1
    assert set(queue.state_dict()) == {"rows", "pointer", "full"}
    assert not list(queue.parameters())


def test_reference_push(golden) -> None:
    case = golden("a-moco-queue-case0")
    queue = Queue(16, 8).double()
    queue.rows.copy_(case["in_queue"].T)
    pushed = case["out_queue_after"].T[:4]
    queue.push(pushed)
    torch.testing.assert_close(queue.rows, case["out_queue_after"].T, rtol=1e-12, atol=0)
    assert int(queue.pointer) == int(case["out_ptr_after"])


@settings(max_examples=40, deadline=None)
@given(length=st.integers(1, 9), sizes=st.lists(st.integers(1, 20), min_size=1, max_size=6))
def test_holds_the_newest_rows_like_a_list(length: int, sizes: list[int]) -> None:
    queue = Queue(length, 1)
    kept = []
    start = queue.rows[:, 0].tolist()
    for number, size in enumerate(sizes):
        rows = 100.0 * (number + 1) + torch.arange(size, dtype=torch.float32)
        queue.push(rows[:, None])
        kept = (kept + rows.tolist())[-length:]
    assert bool(queue.full) == (sum(sizes) >= length)
    untouched = start[len(kept) :] if sum(sizes) < length else []
    assert sorted(queue.rows[:, 0].tolist()) == sorted(kept + untouched)
    assert int(queue.pointer) == sum(sizes) % length
    if queue.full:
        assert queue.rows[int(queue.pointer), 0] == kept[0], "the pointer is at the oldest row"


def test_push_takes_other_float_types_and_no_gradient() -> None:
    queue = Queue(4, 3)
    queue.push(torch.ones(2, 3, dtype=torch.bfloat16, requires_grad=True))
    assert queue.rows.dtype == torch.float32
    assert not queue.rows.requires_grad


def test_nearest_is_the_same_in_any_block(golden) -> None:
    case = golden("a-nnclr-case1")
    queue = Queue(3, 4).double()
    queue.rows.copy_(case["in_queue"])
    for view in "12":
        expected = case["in_queue"][case[f"out_nn_idx{view}"]]
        for block in (1, 2, 7):
            assert torch.equal(queue.nearest(case[f"in_z{view}"], block=block), expected)


@pytest.mark.parametrize(
    ("wanted", "samples", "batch", "length"),
    [
        (65536, 1500, 256, 1280),
        (1024, 1500, 256, 1024),
        (1000, 1500, 256, 768),
        (128, 1500, 256, 128),
        (65536, 100, 256, 100),
        (65536, 1500, 1, 1500),
    ],
)
def test_fitting_length(wanted: int, samples: int, batch: int, length: int) -> None:
    assert fitting_length(wanted, samples, batch) == length
