"""Shapes of the learning rate: reference values, what all share, and wrong settings."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nearfar.errors import UserError
from nearfar.training.schedules import (
    constant,
    cosine,
    exponential,
    infinite,
    linear,
    ratios,
    restarts,
    schedule_of,
    steps,
    wsd,
)
from tests.losses.cases import close

SHAPES = (constant, cosine, exponential, infinite, linear, restarts, steps, wsd)
PEAK = 1e-3


def curve(module: Any, length: int, **given: Any) -> torch.Tensor:
    return torch.tensor(
        [module.factor(step, length, **given) for step in range(length + 1)], dtype=torch.float64
    )


def compared(case: Any, **given: Any) -> None:
    peak = float(case["hp_start_lr"])
    found = peak * curve(
        infinite,
        int(case["hp_total_iters"]),
        warmup=int(case["hp_warmup_iter"]),
        cooldown=int(case["hp_cooldown_iters"]),
        hold=int(case["hp_constant_iters"]),
        constant=float(case["hp_constant_lr"]) / peak,
        final=float(case["hp_min_lr"]) / peak,
        **given,
    )
    close(found, case["out_lr"])


def test_the_infinite_cosine_equals_the_reference(golden: Any) -> None:
    compared(golden("f-lr-infinitecosine-3"))


def test_the_infinite_inverse_root_equals_the_reference(golden: Any) -> None:
    case = golden("f-lr-infiniteinvsqrt-1")
    compared(case, shape="inverse-root", timescale=float(case["hp_timescale"]))


def test_the_cosine_equals_the_reference(golden: Any) -> None:
    case = golden("f-lr-cosine-2")
    peak = float(case["hp_start_lr"])
    found = peak * curve(
        cosine,
        int(case["hp_total_iters"]),
        warmup=int(case["hp_warmup_iter"]),
        final=float(case["hp_min_lr"]) / peak,
    )
    close(found, case["out_lr"])


def test_a_stream_of_tasks_equals_the_reference(golden: Any) -> None:
    case = golden("f-lr-continual-0")
    repeated = [PEAK * cosine.factor(step % 20, 20, 2, final=0.01) for step in range(60)]
    close(torch.tensor(repeated, dtype=torch.float64), case["out_repeated_cosine"])
    held = [PEAK * infinite.backbone(step, 2, 6, constant=0.3) for step in range(60)]
    close(torch.tensor(held, dtype=torch.float64), case["out_infinite_backbone"])
    branches = [
        [
            PEAK * infinite.annealing(end - 4 + step, end - 4, 4, constant=0.3, final=0.01)
            for step in range(5)
        ]
        for end in (20, 40, 60)
    ]
    close(torch.tensor(branches, dtype=torch.float64), case["out_branches"])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("warmup", [0, 1, 7, 30])
def test_every_shape_rises_in_a_line_stays_in_its_range_and_ends(shape: Any, warmup: int) -> None:
    found = curve(shape, 30, warmup=warmup)
    if shape is not restarts:
        torch.testing.assert_close(
            found[:warmup], torch.arange(warmup, dtype=torch.float64) / max(warmup, 1)
        )
        assert found[warmup:].diff().max() <= 1e-12 if warmup < 30 else True
    assert found.min() >= 0
    assert found.max() <= 1
    assert shape.factor(99, 30, warmup=warmup) == found[-1]


@pytest.mark.parametrize("shape", wsd.SHAPES)
def test_what_falls_at_the_end_ends_where_it_should(shape: str) -> None:
    found = curve(wsd, 20, warmup=2, decay=0.5, final=0.1, shape=shape)
    assert found[2:11].eq(1).all()
    assert found[-1].item() == pytest.approx(0.1)
    assert found[10:].diff().max() < 0


def test_restarts_begin_again_with_their_weights() -> None:
    found = curve(restarts, 30, cycles=3, weights=(1.0, 0.5, 0.5), final=0.1)
    assert found[[0, 10, 20]].tolist() == pytest.approx([1.0, 0.5, 0.5])
    assert found[-1].item() == pytest.approx(0.1)
    warmed = curve(restarts, 30, cycles=3, warmup=2)
    assert warmed[[0, 10, 20, 2, 12]].tolist() == pytest.approx([0, 0, 0, 1, 1])


def test_the_printed_exponent_ends_above_the_rate_that_it_names() -> None:
    given = {"warmup": 2, "cooldown": 3, "hold": 5, "final": 0.01}
    assert curve(infinite, 20, **given)[-1].item() == pytest.approx(0.01)
    printed = curve(infinite, 20, printed=True, **given)[-1].item()
    assert printed == pytest.approx(0.25 * (0.01 / 0.25) ** (10 / 20))


def test_later_tasks_neither_rise_nor_cool_down() -> None:
    given = {"warm": 0.1, "cool": 0.4, "keep": 0.8, "constant": 0.25, "final": 0.01}
    first = [ratios.task_factor(step, 20, 0, **given) for step in range(21)]
    later = [ratios.task_factor(step, 20, 1, **given) for step in range(21)]
    assert first[2] == 1
    assert first[8:17] == pytest.approx([0.25] * 9)
    assert later[:17] == pytest.approx([0.25] * 17)
    assert first[16:] == later[16:]
    assert first[-1] == pytest.approx(0.01)
    whole = [
        infinite.factor(step, 20, 2, cooldown=6, hold=8, constant=0.25, final=0.01)
        for step in range(21)
    ]
    assert first == pytest.approx(whole)
    uneven = [ratios.task_factor(step, 10, warm=0.25, cool=0.55, keep=0.85) for step in range(11)]
    assert uneven[2] == pytest.approx(0.8)
    assert uneven[10] == pytest.approx(0.01)


def test_wrong_settings_are_refused_in_a_sentence() -> None:
    with pytest.raises(UserError, match="A warm-up of 9 steps is longer than the run of 8"):
        cosine.factor(0, 8, 9)
    with pytest.raises(UserError, match="step is -1"):
        linear.factor(-1, 8)
    with pytest.raises(UserError, match="final is 2"):
        cosine.factor(1, 8, final=2)
    with pytest.raises(UserError, match="ascending order"):
        steps.factor(1, 8, milestones=(0.5, 0.2))
    with pytest.raises(UserError, match="3 cycles need as many weights; found 2"):
        restarts.factor(1, 8, weights=(1.0, 0.5))
    with pytest.raises(UserError, match="do not fit into 8 steps"):
        infinite.factor(1, 8, 4, cooldown=4, hold=4)
    with pytest.raises(UserError, match="shape is 'root'; valid are"):
        infinite.backbone(1, 0, 4, shape="root")
    with pytest.raises(UserError, match="A branch has at least 1 step"):
        infinite.annealing(3, 4, 2)
    with pytest.raises(UserError, match="shape is 'exponential' with final 0"):
        wsd.factor(1, 8, shape="exponential")
    with pytest.raises(UserError, match="expected ascending"):
        ratios.task_factor(1, 8, warm=0.5, cool=0.2)


@pytest.mark.parametrize(
    "text", ["cosine:final=7", "steps:drop=0", "wsd:decay=2", "restarts:final=2"]
)
def test_a_value_out_of_its_range_is_told_before_a_run(text: str) -> None:
    with pytest.raises(UserError, match=rf"The schedule '{text}': .* expected"):
        schedule_of(text)
