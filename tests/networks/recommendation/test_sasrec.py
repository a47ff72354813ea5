"""SASRec and its augmentations: causality, padding, parts of sequences, errors."""

from __future__ import annotations

import pytest
import torch

from nearfar.errors import UserError
from nearfar.networks.recommendation.sasrec import (
    SASRec,
    augmenter,
    crop_items,
    mask_items,
    reorder_items,
)


def model() -> SASRec:
    return SASRec(20, length=8, width=8, hidden=16).eval()


def test_what_comes_later_and_padding_change_nothing() -> None:
    network = model()
    length = torch.tensor([3, 3])
    sequence = torch.tensor([[4, 9, 2, 0, 0], [4, 9, 2, 7, 7]])
    found = network(sequence, length)
    torch.testing.assert_close(found[0], found[1])
    torch.testing.assert_close(network(sequence[:, :3], length), found)
    other = network(torch.tensor([[5, 9, 2, 0, 0]]), length[:1])
    assert not torch.allclose(other[0], found[0])
    assert network.scores(found).shape == (2, 20)


def test_a_masked_item_is_seen_by_none() -> None:
    network = model()
    with torch.no_grad():
        network.items.weight[0] = 5.0
    sequence, length = torch.tensor([[4, 0, 2]]), torch.tensor([3])
    before = network(sequence, length)
    with torch.no_grad():
        network.items.weight[0] = -5.0
    torch.testing.assert_close(network(sequence, length), before)
    assert torch.isfinite(network(torch.tensor([[0, 0, 2]]), length)).all()


def test_augmentations_keep_what_they_promise() -> None:
    items = torch.arange(1, 11)
    draws = torch.rand(11)
    cropped = crop_items(items, draws[0])
    assert len(cropped) == 5
    assert (cropped.diff() == 1).all()
    assert int((mask_items(items, draws[1:]) == 0).sum()) == 5
    shuffled = reorder_items(items, draws)
    assert sorted(shuffled.tolist()) == items.tolist()
    assert int((shuffled == items).sum()) >= 2
    assert len(crop_items(items[:1], draws[0])) == 1


def test_augmenters_give_unit_rows() -> None:
    made = augmenter(8)(torch.randn(3, 8))
    torch.testing.assert_close(made.norm(dim=1), torch.ones(3))


def test_a_long_sequence_gets_one_sentence() -> None:
    with pytest.raises(UserError, match="9 places; expected at most 8"):
        model()(torch.ones(1, 9, dtype=torch.int64), torch.tensor([9]))
