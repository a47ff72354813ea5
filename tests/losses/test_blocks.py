"""Blocks of rows: what backward makes again is right, once, twice and compiled; and little is
kept.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from nearfar.losses.kernels import blocks
from nearfar.losses.kernels.blocks import (
    block_height,
    gathered,
    in_row_blocks,
    nearest_rows,
    row_blocks,
    squared_distances,
)
from nearfar.testing.allocations import Allocations

F64 = torch.float64


def entropy(query: Tensor, key: Tensor, height: int) -> Tensor:
    """Of each row's softmax, with a mask by place."""

    def rows(block: slice) -> Tensor:
        logits = query[block] @ key.T
        logits.diagonal(block.start).fill_(-3.0)
        return -(logits.softmax(1) * logits.log_softmax(1)).sum(1)

    return in_row_blocks(rows, query, height=height)


def test_first_and_second_derivatives() -> None:
    inputs = [torch.randn(n, 3, dtype=F64, requires_grad=True) for n in (5, 4)]
    for height in (1, 2, 5):
        assert torch.autograd.gradcheck(lambda q, k, height=height: entropy(q, k, height), inputs)
        assert torch.autograd.gradgradcheck(
            lambda q, k, height=height: entropy(q, k, height), inputs
        )


@pytest.mark.filterwarnings("ignore")  # of the compiler's own
def test_compile_traces_several_blocks_and_their_gradient() -> None:
    query, key = (torch.randn(n, 3, dtype=F64, requires_grad=True) for n in (5, 4))
    torch._dynamo.reset()
    compiled = torch.compile(
        lambda: entropy(query, key, 2).sum(), backend="aot_eager", fullgraph=True
    )()
    plain = entropy(query, key, 5).sum()
    torch.testing.assert_close(compiled, plain)
    for found, expected in zip(
        torch.autograd.grad(compiled, (query, key)),
        torch.autograd.grad(plain, (query, key)),
        strict=True,
    ):
        torch.testing.assert_close(found, expected)


def test_only_the_results_live_between_forward_and_backward() -> None:
    query, key = (torch.randn(1024, 4, requires_grad=True) for _ in range(2))
    with Allocations() as made:
        value = entropy(query, key, 32)
        kept = made.living()
        torch.autograd.grad(value.sum(), (query, key))
    assert 4 * 1024 <= kept <= 4 * 1024 * 20
    assert 4 * 32 * 1024 <= made.largest <= 4 * 40 * 1024
    with Allocations() as made:
        value = entropy(query, key, 1024)
        assert made.living() >= 2 * 4 * 1024 * 1024
    del value


def test_without_gradient_and_without_rows() -> None:
    query = torch.randn(5, 3)
    with torch.no_grad():
        torch.testing.assert_close(entropy(query, query, 2), entropy(query, query, 5))
    assert entropy(query[:0], query, 2).shape == (0,)


def test_autocast_stays_as_it_was_when_a_block_is_made_again() -> None:
    query = torch.randn(6, 3, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        (expected,) = torch.autograd.grad(
            in_row_blocks(lambda b: (query[b] @ query.T).float().sum(1), query, height=6).sum(),
            query,
        )
        value = in_row_blocks(lambda b: (query[b] @ query.T).float().sum(1), query, height=2)
    torch.testing.assert_close(
        torch.autograd.grad(value.sum(), query)[0], expected, rtol=2e-2, atol=5e-2
    )


def test_the_ranges_cover_all_rows_once() -> None:
    assert row_blocks(torch.zeros(7), height=3) == [slice(0, 3), slice(3, 6), slice(6, 7)]
    assert row_blocks(torch.zeros(0)) == []
    assert block_height(2**30, torch.device("cpu")) == 1
    assert block_height(256, torch.device("cpu")) == 256
    assert block_height(2**15, torch.device("cpu")) == 128
    assert block_height(2**12, torch.device("meta")) == 2**10


@pytest.mark.parametrize("exclude", [(), (0,), (1, -2)])
def test_nearest_rows_equal_a_full_sort(
    exclude: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    query = torch.randn(2, 6, 3)
    key = torch.randn(2, 7, 3)
    similarity = query @ key.mT
    for i in range(6):
        for j in range(7):
            if j - i in exclude:
                similarity[:, i, j] = -math.inf
    expected = similarity.sort(dim=-1, descending=True).indices[..., :3]
    monkeypatch.setattr(blocks, "block_height", lambda columns, device: 4)
    found = nearest_rows(query, key, 3, exclude=exclude)
    assert torch.equal(found, expected)
    assert torch.equal(gathered(key, found)[1, 4, 2], key[1, expected[1, 4, 2]])


def test_squared_distances_equal_differences() -> None:
    first = torch.randn(2, 4, 3, dtype=F64)
    second = torch.randn(2, 5, 3, dtype=F64)
    torch.testing.assert_close(
        squared_distances(first, second), (first[:, :, None] - second[:, None]).square().sum(-1)
    )
