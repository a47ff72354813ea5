"""SiT's corruption: how much is hidden, what fills it, and wrong inputs."""

from __future__ import annotations

import pytest
import torch

from nearfar.data.degradations.block_corruption import block_mask, corrupted
from nearfar.errors import UserError


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_hidden_share_is_that_of_the_authors() -> None:
    """Aligned to 16 of 64 pixels exactly a half; by single pixels never below, little above."""
    draw = drawn()
    aligned = [float(block_mask(64, 64, draw, align=16).float().mean()) for _ in range(50)]
    assert set(aligned) == {0.5}
    free = torch.tensor([float(block_mask(32, 32, draw).float().mean()) for _ in range(200)])
    assert free.min() >= 0.5
    assert free.mean().item() == pytest.approx(0.509, abs=0.01)
    assert float(block_mask(32, 32, draw, most=0.3).float().mean()) >= 0.3


def test_blocks_keep_to_their_grid_and_follow_the_generator() -> None:
    mask = block_mask(32, 48, drawn(), align=8)
    cells = mask.view(4, 8, 6, 8).transpose(1, 2).flatten(2).float().mean(2)
    assert set(cells.flatten().tolist()) <= {0.0, 1.0}
    assert torch.equal(mask, block_mask(32, 48, drawn(), align=8))
    assert not torch.equal(mask, block_mask(32, 48, drawn(1), align=8))


@pytest.mark.parametrize("fill", ["zeros", "noise", "other"])
def test_only_hidden_pixels_change(fill: str) -> None:
    images = torch.rand(6, 3, 16, 16) + 1
    masks = torch.stack([block_mask(16, 16, drawn(seed)) for seed in range(6)])
    found = corrupted(images, masks, drawn(), fill=fill)
    shown = ~masks[:, None].expand_as(images)
    assert torch.equal(found[shown], images[shown])
    if fill == "zeros":
        assert not found[~shown].any()
    else:
        assert not torch.equal(found[~shown], images[~shown])
    assert torch.equal(found, corrupted(images, masks, drawn(), fill=fill))


def test_wrong_inputs_are_refused_in_a_sentence() -> None:
    with pytest.raises(UserError, match="too few for blocks aligned to 8"):
        block_mask(8, 8, drawn(), align=8)
    with pytest.raises(UserError, match="most is 0"):
        block_mask(8, 8, drawn(), most=0)
    with pytest.raises(UserError, match="fill is 'grey'"):
        corrupted(torch.rand(1, 1, 2, 2), torch.ones(1, 2, 2).bool(), drawn(), fill="grey")
    with pytest.raises(UserError, match="Expected images"):
        corrupted(torch.rand(1, 1, 2, 2), torch.ones(2, 2).bool(), drawn())
