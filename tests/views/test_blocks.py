"""Blocks of patches: their shares, that they lie inside, and what a masked method makes of them."""

from __future__ import annotations

import math
import random

import pytest
import torch

from nearfar.errors import UserError
from nearfar.methods import registry
from nearfar.testing.toys import toy
from nearfar.views.masks.blocks import (
    block_places,
    block_size,
    hidden_in_blocks,
    holds,
    noise_of_blocks,
)


@pytest.mark.parametrize("grid", [(8, 8), (14, 10), (32,), (1, 5), (2,)])
def test_sizes_cover_the_asked_share_and_fit(grid: tuple[int, ...]) -> None:
    draws = random.Random(0)
    shares = []
    for _ in range(200):
        size = block_size(grid, (0.15, 0.2), (0.75, 1.5), draws)
        assert all(1 <= side <= cells for side, cells in zip(size, grid, strict=True))
        shares.append(math.prod(size) / math.prod(grid))
    if math.prod(grid) > 30:
        assert 0.1 < min(shares) < max(shares) < 0.27
        assert abs(sum(shares) / len(shares) - 0.175) < 0.02


def test_sizes_of_images_have_both_shapes() -> None:
    draws = random.Random(1)
    sizes = [block_size((14, 14), (0.15, 0.2), (0.75, 1.5), draws) for _ in range(100)]
    assert any(height > width for height, width in sizes)
    assert any(height < width for height, width in sizes)


def test_places_are_those_of_a_rectangle_and_reach_every_border() -> None:
    noise = torch.rand(500, 2, generator=torch.Generator().manual_seed(0))
    places = block_places(noise, (2, 3), (4, 5))
    rows, columns = places // 5, places % 5
    assert (rows.amax(1) - rows.amin(1) == 1).all()
    assert (columns.amax(1) - columns.amin(1) == 2).all()
    assert all(len(set(one)) == 6 for one in places.tolist())
    assert set(places.flatten().tolist()) == set(range(20))
    assert holds(places, 20).sum(dim=1).eq(6).all()


@pytest.mark.parametrize("modality", ["image", "series"])
def test_context_and_targets_share_no_patch_and_sizes_change_with_the_step(modality: str) -> None:
    method, _ = toy(registry.get("i-jepa"), modality=modality)
    noise = torch.rand(16, (1 + method.settings.blocks) * len(method.encoder.grid))
    sizes = set()
    for _ in range(12):
        visible, hidden = method.masks(noise)
        assert hidden.shape[:2] == (16, method.settings.blocks)
        assert not (visible & holds(hidden.flatten(1), method.encoder.patches)).any()
        sizes.add((hidden.shape[2], int(visible.sum())))
        method.draws.advance()
    assert len(sizes) > 1


def test_the_most_is_not_below_the_least() -> None:
    with pytest.raises(UserError, match=r"Setting most is 0.1, below least, 0.3"):
        toy(registry.get("i-jepa"), settings={"least": 0.3, "most": 0.1})


@pytest.mark.parametrize("grid", [(8, 8), (14, 14), (32,), (2, 2)])
def test_hidden_patches_differ_and_lie_in_blocks(grid: tuple[int, ...]) -> None:
    patches = math.prod(grid)
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(200, noise_of_blocks(grid), generator=generator)
    most = max(1, patches // 2)
    places = hidden_in_blocks(noise, grid, most)
    assert places.shape == (200, most)
    assert all(len(set(one)) == most for one in places.tolist())
    assert set(places.flatten().tolist()) == set(range(patches))
    if grid != (8, 8):
        return
    hidden = holds(places, patches).view(-1, *grid)
    beside = (hidden[:, :, 1:] & hidden[:, :, :-1]).float().mean()
    scattered = torch.rand(200, patches, generator=generator).argsort(1)[:, :most]
    apart = holds(scattered, patches).view(-1, *grid)
    assert beside > 1.4 * (apart[:, :, 1:] & apart[:, :, :-1]).float().mean()


def test_half_of_the_crops_hide_shares_from_the_least_to_the_most() -> None:
    method, _ = toy(registry.get("dinov2"), settings={"least": 0.2, "most": 0.6})
    noise = torch.rand(400, 2 + noise_of_blocks(method.encoder.grid))
    _, counted = method.masks(noise)
    number = counted.sum(1)
    assert 0.4 < float((number == 0).float().mean()) < 0.6
    shares = number[number > 0] / method.encoder.patches
    assert 0.15 < float(shares.min()) < 0.3
    assert 0.5 < float(shares.max()) <= 0.6
