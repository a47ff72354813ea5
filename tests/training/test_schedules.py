"""The learning rate's course."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from nearfar.methods.method import Recipe
from nearfar.training.optimisers.optimisers import build_optimizer
from nearfar.training.optimisers.scheduling import apply_schedule
from nearfar.training.schedules.cosine import factor as learning_rate_factor
from tests.training.toys import Toy, ToyEncoder


def test_warm_up_and_cosine_by_hand() -> None:
    found = [learning_rate_factor(step, 10, 4, final=0.2) for step in range(12)]
    falling = [0.2 + 0.8 * (1 + math.cos(math.pi * share / 6)) / 2 for share in range(6)]
    assert found == pytest.approx([0, 0.25, 0.5, 0.75, *falling, 0.2, 0.2])
    assert found[4] == 1.0


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0), (1, 1), (5, 5), (7, 0)])
def test_edges_stay_between_zero_and_one(steps: int, warmup: int) -> None:
    factors = [learning_rate_factor(step, steps, warmup) for step in range(steps + 1)]
    assert all(0.0 <= factor <= 1.0 for factor in factors)
    assert factors[0] == (0.0 if warmup else 1.0)
    assert sorted(factors[warmup:], reverse=True) == factors[warmup:]


def test_the_cosine_gives_the_reference_values(golden: Callable[[str], dict[str, Tensor]]) -> None:
    """The authors of that schedule reach the peak one step before ours: only the warm-up's slope
    differs.
    """
    case = golden("f-sit-schedules-0")
    rates = case["out_lr"]
    warmup = int(case["hp_iters"])
    peak = float(rates[warmup])
    last = 1e-6
    found = [
        peak * learning_rate_factor(s, len(rates), warmup, final=last / peak)
        for s in range(warmup, len(rates))
    ]
    torch.testing.assert_close(
        torch.tensor(found, dtype=torch.float64), rates[warmup:], rtol=1e-8, atol=0
    )


def test_constant_groups_keep_their_peak() -> None:
    class Constant(Toy):
        def parameter_groups(self) -> list[dict[str, object]]:
            return [
                {"params": list(self.encoder.parameters()), "learning_rate_scale": 0.5},
                {"params": [self.scale], "constant_learning_rate": True},
            ]

    recipe = Recipe(learning_rate=0.1, batch_size=128, warmup=0.5)
    optimizer = build_optimizer(Constant(ToyEncoder()), recipe)
    for step, factor in enumerate((0.0, 0.2, 0.4, 0.6, 0.8, 1.0)):
        apply_schedule(optimizer, recipe, step, 10)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx(
            [0.025 * factor, 0.025 * factor, 0.05]
        )


def test_weight_decay_rises_along_half_a_cosine_where_there_is_any() -> None:
    recipe = Recipe(weight_decay=0.04, final_weight_decay=0.4)
    optimizer = build_optimizer(Toy(ToyEncoder()), recipe)
    decaying = [group["decays"] for group in optimizer.param_groups]
    assert set(decaying) == {True, False}
    for step, expected in ((0, 0.04), (5, 0.22), (10, 0.4)):
        apply_schedule(optimizer, recipe, step, 10)
        assert [group["weight_decay"] for group in optimizer.param_groups] == pytest.approx(
            [expected * decays for decays in decaying]
        )


def test_weight_decay_stays_without_a_final_one() -> None:
    recipe = Recipe(weight_decay=0.04)
    optimizer = build_optimizer(Toy(ToyEncoder()), recipe)
    before = [group["weight_decay"] for group in optimizer.param_groups]
    apply_schedule(optimizer, recipe, 9, 10)
    assert [group["weight_decay"] for group in optimizer.param_groups] == before
