"""Batches are a function of seed, epoch and position, cover each sample once, and are shared among
processes without rest.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nearfar.data.batches.samplers import EpochSampler, Sampler, part, sampler_for
from nearfar.data.batches.wanted import WantedBatches
from nearfar.errors import UserError


def epoch_of(sampler: EpochSampler, epoch: int) -> list[list[int]]:
    return [sampler.batch(epoch, position).tolist() for position in range(len(sampler))]


@settings(deadline=None)
@given(
    length=st.integers(1, 60),
    batch_size=st.integers(1, 60),
    seed=st.integers(0, 9),
    epoch=st.integers(0, 3),
)
def test_an_epoch_holds_each_sample_at_most_once(
    length: int, batch_size: int, seed: int, epoch: int
) -> None:
    batch_size = min(batch_size, length)
    batches = epoch_of(EpochSampler(length, batch_size, seed=seed), epoch)
    flat = [i for batch in batches for i in batch]
    assert all(len(batch) == batch_size for batch in batches)
    assert len(batches) == length // batch_size
    assert len(set(flat)) == len(flat)
    assert set(flat) <= set(range(length))


@settings(deadline=None)
@given(length=st.integers(2, 60), batch_size=st.integers(2, 60), seed=st.integers(0, 9))
def test_without_dropping_every_sample_comes_and_no_batch_has_one(
    length: int, batch_size: int, seed: int
) -> None:
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
    with pytest.raises(
        UserError,
        match=rf"batch size is {batch_size}, but there are 10 .*--batch-size from 2 to 10",
    ):
        EpochSampler(10, batch_size, seed=0)


def test_no_samples_are_refused() -> None:
    with pytest.raises(UserError, match="no samples"):
        EpochSampler(0, 1, seed=0)


def sampler(kind: str, **values: object) -> Sampler:
    given = {"length": 40, "batch_size": 8, "seed": 0, **values}
    wanted = WantedBatches(
        kind, **{k: given.pop(k) for k in ("copies", "way", "shot", "query") if k in given}
    )  # type: ignore[arg-type]
    return sampler_for(wanted, given.pop("length"), given.pop("batch_size"), **given)  # type: ignore[arg-type]


def test_repeated_batches_hold_each_sample_as_often_as_asked_side_by_side() -> None:
    made = sampler("repeated", copies=3, batch_size=9)
    assert len(made) == 40 // 3
    rows = torch.cat([made.batch(0, position) for position in range(len(made))]).view(-1, 3)
    assert (rows == rows[:, :1]).all()
    assert len(rows[:, 0].unique()) == len(rows)


def test_too_many_copies_are_refused() -> None:
    with pytest.raises(UserError, match="A batch of 8 cannot hold each sample 9 times"):
        sampler("repeated", copies=9)


def test_episodes_hold_equally_many_samples_of_some_classes_class_by_class() -> None:
    label = torch.arange(40) % 5
    made = sampler("episodes", way=3, shot=1, query=2, label=label)
    assert len(made) == 40 // 9
    classes = set()
    for position in range(len(made)):
        batch = made.batch(0, position)
        assert len(batch.unique()) == 9
        rows = label[batch].view(3, 3)
        assert (rows == rows[:, :1]).all()
        assert len(rows[:, 0].unique()) == 3
        classes |= set(rows[:, 0].tolist())
    assert len(classes) > 3
    assert (
        made.batch(1, 2).tolist()
        == sampler("episodes", way=3, shot=1, query=2, label=label).batch(1, 2).tolist()
    )
    assert made.batch(1, 2).tolist() != made.batch(2, 2).tolist()


def test_classes_too_small_for_an_episode_are_left_out_or_refused() -> None:
    label = torch.tensor([0] * 10 + [1] * 10 + [2])
    assert set(
        label[
            sampler("episodes", length=21, way=2, shot=1, query=1, label=label).batch(0, 0)
        ].tolist()
    ) == {0, 1}
    with pytest.raises(
        UserError, match="takes 3 classes with 2 samples each, but only 2 classes have as many"
    ):
        sampler("episodes", length=21, way=3, shot=1, query=1, label=label)
    with pytest.raises(UserError, match="Episodes are drawn by class"):
        sampler("episodes", way=3, shot=1, query=1)


def test_grouped_batches_are_pure_and_take_the_groups_in_turn() -> None:
    groups = torch.tensor([0] * 17 + [1] * 20 + [7] * 3)
    made = sampler("grouped", batch_size=4, groups=groups)
    found = [groups[made.batch(0, position)] for position in range(len(made))]
    assert len(found) == 10
    assert all((batch == batch[0]).all() for batch in found)
    assert [int(batch[0]) for batch in found] == [0, 1, 0, 1, 0, 1, 0, 1, 1, 0]
    used = torch.cat([made.batch(0, position) for position in range(9)])
    assert len(used.unique()) == len(used) == 36


def test_groups_are_read_anew_in_each_epoch() -> None:
    groups = torch.zeros(8, dtype=torch.int64)
    made = sampler("grouped", length=8, batch_size=4, groups=groups)
    made.batch(0, 0)
    groups.copy_(torch.arange(8) // 4)
    assert sorted(made.batch(1, 0).tolist()) == [0, 1, 2, 3]


def test_groups_that_fill_no_batch_are_refused() -> None:
    made = sampler("grouped", length=8, batch_size=4, groups=torch.arange(8))
    with pytest.raises(UserError, match="No group of samples fills a batch of 4"):
        made.batch(0, 0)


def test_an_unknown_kind_of_batches_is_named() -> None:
    with pytest.raises(UserError, match="episode"):
        sampler("episode")
