"""Batches are a function of seed, epoch and position, cover each sample once, and are shared among processes without rest."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nearfar.data.batches import EpochSampler, part
from nearfar.errors import UserError


def epoch_of(sampler: EpochSampler, epoch: int) -> list[list[int]]:
    return [sampler.batch(epoch, position).tolist() for position in range(len(sampler))]


@settings(deadline=None)
@given(length=st.integers(1, 60), batch_size=st.integers(1, 60), seed=st.integers(0, 9), epoch=st.integers(0, 3))
def test_an_epoch_holds_each_sample_at_most_once(length: int, batch_size: int, seed: int, epoch: int) -> None:
    batch_size = min(batch_size, length)
    batches = epoch_of(EpochSampler(length, batch_size, seed=seed), epoch)
    flat = [i for batch in batches for i in batch]
    assert all(len(batch) == batch_size for batch in batches)
    assert len(batches) == length // batch_size
    assert len(set(flat)) == len(flat)
    assert set(flat) <= set(range(length))


@settings(deadline=None)
@given(length=st.integers(2, 60), batch_size=st.integers(2, 60), seed=st.integers(0, 9))
def test_without_dropping_every_sample_comes_and_no_batch_has_one(length: int, batch_size: int, seed: int) -> None:
    batches = epoch_of(EpochSampler(length, min(batch_size, length), seed=seed, drop_last=False), 0)
    assert sorted(i for batch in batches for i in batch) == list(range(length))
    assert min(map(len, batches)) >= 2


def test_orders_differ_between_epochs_and_seeds_only() -> None:
    first = EpochSampler(40, 8, seed=1)
    assert epoch_of(first, 0) != epoch_of(first, 1)
    assert epoch_of(first, 0) != epoch_of(EpochSampler(40, 8, seed=2), 0)
    assert epoch_of(first, 1) == epoch_of(EpochSampler(40, 8, seed=1), 1)


def test_a_batch_can_be_asked_for_out_of_order() -> None:
    whole = epoch_of(EpochSampler(30, 7, seed=0), 5)
    resumed = EpochSampler(30, 7, seed=0)
    assert resumed.batch(5, 2).tolist() == whole[2]
    assert resumed.batch(4, 0).tolist() != whole[0]
    assert resumed.batch(5, 0).tolist() == whole[0]


def test_index_is_int64_on_the_cpu() -> None:
    batch = EpochSampler(5, 2, seed=0).batch(0, 0)
    assert batch.dtype == torch.int64
    assert batch.device.type == "cpu"


def test_a_position_beyond_the_epoch_is_refused() -> None:
    with pytest.raises(IndexError, match="position 2 of 2"):
        EpochSampler(5, 2, seed=0).batch(0, 2)


@settings(deadline=None)
@given(length=st.integers(0, 40), world=st.integers(1, 7))
def test_parts_join_to_the_batch_in_order(length: int, world: int) -> None:
    index = torch.arange(length)
    parts = [part(index, rank, world) for rank in range(world)]
    assert torch.equal(torch.cat(parts), index)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("batch_size", [0, 11])
def test_a_batch_that_does_not_fit_names_both_numbers(batch_size: int) -> None:
    with pytest.raises(UserError, match=rf"batch size is {batch_size}, but there are 10 .*--batch-size from 2 to 10"):
        EpochSampler(10, batch_size, seed=0)


def test_no_samples_are_refused() -> None:
    with pytest.raises(UserError, match="no samples"):
        EpochSampler(0, 1, seed=0)
