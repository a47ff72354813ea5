"""Batches are a function of seed, epoch and position, cover each sample once, and are shared among
processes without rest.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nearfar.data.batches.samplers import EpochSampler, Sampler, part
from nearfar.data.batches.wanted import (
    Crossed,
    Episodes,
    Facts,
    Grouped,
    Ordered,
    Repeated,
    Streams,
    WantedBatches,
    Weighted,
    Whole,
)
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


def sampler(
    wanted: WantedBatches, *, length: int = 40, batch_size: int = 8, seed: int = 0, **facts: Any
) -> Sampler:
    groups = facts.pop("groups", None)
    known = Facts(length, buffer=lambda name: {"groups": groups}[name], **facts)
    return wanted.sampler(known, wanted.size(length, batch_size), seed=seed)


def test_repeated_batches_hold_each_sample_as_often_as_asked_side_by_side() -> None:
    made = sampler(Repeated(copies=3), batch_size=9)
    assert len(made) == 40 // 3
    rows = torch.cat([made.batch(0, position) for position in range(len(made))]).view(-1, 3)
    assert (rows == rows[:, :1]).all()
    assert len(rows[:, 0].unique()) == len(rows)


def test_too_many_copies_are_refused() -> None:
    with pytest.raises(UserError, match="A batch of 8 cannot hold each sample 9 times"):
        sampler(Repeated(copies=9))


def test_episodes_hold_equally_many_samples_of_some_classes_class_by_class() -> None:
    label = torch.arange(40) % 5
    made = sampler(Episodes(way=3, shot=1, query=2), label=label)
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
        == sampler(Episodes(way=3, shot=1, query=2), label=label).batch(1, 2).tolist()
    )
    assert made.batch(1, 2).tolist() != made.batch(2, 2).tolist()


def test_classes_too_small_for_an_episode_are_left_out_or_refused() -> None:
    label = torch.tensor([0] * 10 + [1] * 10 + [2])
    assert set(
        label[
            sampler(Episodes(way=2, shot=1, query=1), length=21, label=label).batch(0, 0)
        ].tolist()
    ) == {0, 1}
    with pytest.raises(
        UserError, match="takes 3 classes with 2 samples each, but only 2 classes have as many"
    ):
        sampler(Episodes(way=3, shot=1, query=1), length=21, label=label)
    with pytest.raises(UserError, match="Episodes are drawn by class"):
        sampler(Episodes(way=3, shot=1, query=1))


def test_grouped_batches_are_pure_and_take_the_groups_in_turn() -> None:
    groups = torch.tensor([0] * 17 + [1] * 20 + [7] * 3)
    made = sampler(Grouped(), batch_size=4, groups=groups)
    found = [groups[made.batch(0, position)] for position in range(len(made))]
    assert len(found) == 10
    assert all((batch == batch[0]).all() for batch in found)
    assert [int(batch[0]) for batch in found] == [0, 1, 0, 1, 0, 1, 0, 1, 1, 0]
    used = torch.cat([made.batch(0, position) for position in range(9)])
    assert len(used.unique()) == len(used) == 36


def test_groups_are_read_anew_in_each_epoch() -> None:
    groups = torch.zeros(8, dtype=torch.int64)
    made = sampler(Grouped(), length=8, batch_size=4, groups=groups)
    made.batch(0, 0)
    groups.copy_(torch.arange(8) // 4)
    assert sorted(made.batch(1, 0).tolist()) == [0, 1, 2, 3]


def test_groups_that_fill_no_batch_are_refused() -> None:
    made = sampler(Grouped(), length=8, batch_size=4, groups=torch.arange(8))
    with pytest.raises(UserError, match="No group of samples fills a batch of 4"):
        made.batch(0, 0)


def test_the_whole_set_is_one_batch() -> None:
    made = sampler(Whole(), length=7)
    assert len(made) == 1
    assert made.batch(3, 0).tolist() == list(range(7))


def test_streams_stand_side_by_side_in_proportion() -> None:
    role = torch.tensor([0] * 10 + [1] * 30)
    made = sampler(Streams(sizes=(1, 3), by="role"), group={"role": role})
    seen = []
    for epoch in range(2):
        for position in range(len(made)):
            batch = made.batch(epoch, position)
            stream = made.about(epoch, position)["stream"]
            assert torch.equal(role[batch], stream)
            assert stream.tolist() == [0, 1, 1, 1] * 2
            seen.append(batch)
    assert len(made) == 5
    few = torch.cat(seen)[role[torch.cat(seen)] == 0]
    assert few[:10].unique().tolist() == list(range(10)), "the shorter stream passes, then anew"
    assert few[10:].unique().tolist() == list(range(10))
    again = sampler(Streams(sizes=(1, 3), by="role"), group={"role": role})
    assert torch.equal(again.batch(1, 4), seen[9])


def test_streams_of_all_samples_are_independent_orders() -> None:
    made = sampler(Streams(sizes=(1, 1)))
    batch = made.batch(0, 0)
    stream = made.about(0, 0)["stream"]
    assert len(made) == 10
    assert batch[stream == 0].tolist() != batch[stream == 1].tolist()
    first = torch.cat([made.batch(0, p)[stream == 0] for p in range(10)])
    assert sorted(first.tolist()) == list(range(40))


def test_a_stream_without_samples_or_a_column_is_refused() -> None:
    with pytest.raises(UserError, match=r"needs the group column 'role', but the data have none"):
        sampler(Streams(by="role"))
    with pytest.raises(UserError, match="Stream 1 of the batches has no samples"):
        sampler(Streams(by="role"), group={"role": torch.zeros(40, dtype=torch.int64)})


def test_crossed_batches_hold_one_of_each_cell() -> None:
    volume = torch.arange(40) // 10
    part = torch.arange(40) % 10 // 5
    made = sampler(
        Crossed(by=("volume", "part")), batch_size=6, group={"volume": volume, "part": part}
    )
    batch = made.batch(0, 0)
    cells = list(zip(volume[batch].tolist(), part[batch].tolist(), strict=True))
    assert len(set(cells)) == len(cells) == 6
    assert len(made) == 4 // 3
    assert not torch.equal(made.batch(1, 0), batch)
    with pytest.raises(UserError, match="choose a --batch-size of at least 4"):
        sampler(
            Crossed(by=("volume", "part")), batch_size=3, group={"volume": volume, "part": part}
        )


def test_ordered_batches_go_through_one_member_after_another() -> None:
    trial = torch.arange(40) // 8
    made = sampler(Ordered(by="trial"), group={"trial": trial})
    members = [trial[made.batch(0, position)].unique().tolist() for position in range(len(made))]
    assert sorted(members) == [[0], [1], [2], [3], [4]]
    tasks = sampler(Ordered(by="trial", shuffled=False), group={"trial": trial})
    in_turn = [int(trial[tasks.batch(3, position)][0]) for position in range(len(tasks))]
    assert in_turn == [0, 1, 2, 3, 4]


def test_weighted_batches_draw_in_proportion() -> None:
    weights = torch.tensor([0.0, 1.0, 3.0]).repeat_interleave(400)
    made = sampler_of_weights(weights)
    drawn = torch.cat([made.batch(0, position) for position in range(len(made))])
    counts = torch.bincount(drawn // 400, minlength=3)
    assert counts[0] == 0
    assert 2.4 < counts[2] / counts[1] < 3.7
    weights[:] = 0
    with pytest.raises(UserError, match="weights of the samples are negative, not finite or all 0"):
        made.batch(1, 0)


def sampler_of_weights(weights: torch.Tensor) -> Sampler:
    facts = Facts(len(weights), buffer=lambda _: weights)
    return Weighted().sampler(facts, 8, seed=0)
