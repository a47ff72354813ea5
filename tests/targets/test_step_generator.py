"""Draws that belong to a step: repeated within it, new in the next, the same after resuming."""

from __future__ import annotations

import torch

from nearfar.targets.step_generator import StepGenerator


def draw(draws: StepGenerator) -> list[float]:
    return torch.rand(4, generator=draws()).tolist()


def test_a_step_has_its_own_draws() -> None:
    draws = StepGenerator()
    first = draw(draws)
    torch.rand(3)
    assert draw(draws) == first, "whatever the global state does"
    draws.advance()
    second = draw(draws)
    assert second != first
    resumed = StepGenerator()
    draw(resumed)
    resumed.load_state_dict(draws.state_dict())
    assert draw(resumed) == second
    resumed.advance()
    draws.advance()
    assert draw(resumed) == draw(draws), "the buffers and what is kept beside them move together"
    assert int(draws.step) == 2


def test_its_seed_comes_from_the_global_state() -> None:
    made = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        made.append(draw(StepGenerator()))
    assert made[0] == made[1] != made[2]
