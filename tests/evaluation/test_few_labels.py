"""Few labels and the stratified draws under them."""

from __future__ import annotations

import pytest
import torch

from nearfar.errors import UserError
from nearfar.evaluation.probes.few_labels import few_labels
from nearfar.evaluation.splits import held_out, per_class, stratified

from .toys import blobs, image_source


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 1.0])
def test_each_class_gives_its_share_and_at_least_one(share: float) -> None:
    labels = torch.tensor([0] * 200 + [1] * 50 + [4] * 3)[torch.randperm(253)]
    chosen = labels[stratified(labels, share, seed=3)]
    assert chosen.bincount(minlength=5).tolist() == [
        max(1, round(share * n)) if n else 0 for n in (200, 50, 0, 0, 3)
    ]


def test_samples_can_be_left_in_each_class() -> None:
    labels = torch.tensor([0, 1, 1, 2, 2, 2])
    assert labels[stratified(labels, 0.9, seed=0, leave=1)].bincount(minlength=3).tolist() == [
        0,
        1,
        2,
    ]


def test_draws_depend_on_the_seed_alone_and_reach_every_sample() -> None:
    labels = torch.arange(40) % 4
    before = torch.get_rng_state()
    draws = torch.stack([stratified(labels, 0.2, seed=seed) for seed in range(60)])
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(draws[7], stratified(labels, 0.2, seed=7))
    assert draws.any(dim=0).all()
    assert draws.sum(dim=1).unique().tolist() == [8]


def test_more_labels_help_and_seeds_shift_the_draws() -> None:
    train = blobs(800, spread=2.5)
    test = blobs(400, spread=2.5, seed=1)
    one, ten = (
        few_labels(train, test, [stratified(train.labels, part, seed=seed) for seed in range(4)])
        for part in (0.01, 0.1)
    )
    assert len(one) == 4
    assert sum(ten) > sum(one)
    assert (
        few_labels(train, test, [stratified(train.labels, 0.1, seed=seed) for seed in range(2)])
        == ten[:2]
    )


@pytest.mark.parametrize("count", [1, 5, 100])
def test_so_many_of_each_class_are_drawn(count: int) -> None:
    labels = torch.tensor([0] * 200 + [1] * 50 + [4] * 3)[torch.randperm(253)]
    chosen = per_class(labels, count, seed=2)
    assert labels[chosen].bincount(minlength=5).tolist() == [
        min(count, n) for n in (200, 50, 0, 0, 3)
    ]
    assert not torch.equal(chosen, per_class(labels, count, seed=3)) or count == 100


def test_one_class_only_is_an_error() -> None:
    train = blobs(50)
    with pytest.raises(UserError, match="needs two classes or more"):
        few_labels(
            train[train.labels == 0], train, [torch.arange(int((train.labels == 0).sum())) < 5]
        )


def test_a_fifth_is_held_out_where_there_is_no_test_set() -> None:
    source = image_source(train=50, test=None)
    train, test = held_out(source)
    assert (len(train), len(test)) == (41, 9)  # a fifth of the classes of 17, 17 and 16
    assert not set(train.ids) & set(test.ids)
    assert held_out(source)[1].ids == test.ids
    with pytest.raises(
        UserError, match="bars has 4 samples and no test set; an evaluation needs at least 5"
    ):
        held_out(image_source(train=4, test=None))
