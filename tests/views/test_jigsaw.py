"""Jigsaw puzzles: reference boxes and facts of the table, tiles by hand."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
import torch

from nearfar.views.image.jigsaw import ORDERS, TILES, jigsaw, tile_edges


def test_boxes_and_orders_equal_the_reference(golden: Any) -> None:
    case = golden("b-scatsimclr-jigsaw")
    for side in (9, 32, 96):
        edges = tile_edges(side)
        boxes = [[left, top, right, bottom] for top, bottom in edges for left, right in edges]
        assert boxes == case[f"out_boxes_{side}"].tolist()
    assert [len(ORDERS), TILES] == case["out_perm_shape"].tolist()
    distances = [
        sum(a != b for a, b in zip(*pair, strict=True)) for pair in combinations(ORDERS, 2)
    ]
    assert min(distances) == case["out_perm_min_hamming"]


def test_every_order_is_a_permutation_and_one_changes_nothing() -> None:
    assert all(sorted(order) == list(range(9)) for order in ORDERS)
    assert tuple(range(9)) in ORDERS
    assert len(set(ORDERS)) == 35


def test_tiles_are_enlarged_and_lie_in_the_order() -> None:
    """Each tile of the image has one value, its number."""
    numbers = torch.arange(9.0).view(3, 3).repeat_interleave(4, 0).repeat_interleave(4, 1)
    images = torch.stack([numbers, 10 + numbers])[:, None]
    order = torch.tensor([0, 3])
    found = jigsaw(images, order).unflatten(0, (2, 9))
    assert found.shape == (2, 9, 1, 12, 12)
    for n in range(2):
        for place in range(9):
            torch.testing.assert_close(
                found[n, place], torch.full((1, 12, 12), 10.0 * n + ORDERS[order[n]][place])
            )


@pytest.mark.parametrize("side", [3, 8, 17, 224])
def test_tiles_lie_inside_the_image_and_are_not_empty(side: int) -> None:
    edges = tile_edges(side)
    assert all(0 <= first < last <= side for first, last in edges)
