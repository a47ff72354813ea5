"""The membership attack: certain, blind, and in between; errors."""

from __future__ import annotations

import pytest
import torch

from nearfar.errors import UserError
from nearfar.evaluation.probes.membership import membership_attack


def answers(sharpness: float, count: int = 200) -> torch.Tensor:
    return (sharpness * torch.randn(count, 5)).softmax(dim=1)


def test_what_is_remembered_is_told_apart_and_what_is_forgotten_is_not() -> None:
    members, strangers, others = answers(6.0), answers(1.0), answers(1.0)
    assert membership_attack(members, strangers, answers(6.0), others) > 0.9
    assert membership_attack(members, strangers, answers(1.0), others) < 0.6


def test_the_same_seed_gives_the_same_share() -> None:
    groups = [answers(2.0, 50), answers(1.5, 90), answers(2.0, 40), answers(1.5, 30)]
    assert membership_attack(*groups, seed=3) == membership_attack(*groups, seed=3)


def test_the_order_of_classes_says_nothing() -> None:
    groups = [answers(2.0, 60), answers(1.0, 60), answers(2.0, 60), answers(1.0, 60)]
    turned = [one.roll(2, dims=1) for one in groups]
    assert membership_attack(*groups) == membership_attack(*turned)


def test_an_empty_group_gets_one_sentence() -> None:
    good = answers(1.0, 4)
    with pytest.raises(UserError, match="none empty"):
        membership_attack(good, good, good[:0], good)
