"""Diffusion, editing without pairs, test-time blurring: reference values and behaviour."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from nearfar.data.degradations.sharp_regions import blur_condition, network_condition, sharp_boxes
from nearfar.errors import UserError
from nearfar.losses.restoration.diffusion import (
    ddim_sample,
    flow_matching,
    linear_shares,
    noise_prediction,
    noised,
)
from nearfar.losses.restoration.editing import (
    answer_loss,
    distribution_matching,
    two_step_edit,
)
from tests.losses.cases import close, leaves, named


@pytest.mark.parametrize("name", named("g-dadeblur-ddim-*"))
def test_sampling_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    shares = linear_shares(int(case["hp_T"]))
    close(shares[[0, -1]], case["out_alpha_bar_first_last"])

    def predict(x: Tensor, step: Tensor) -> Tensor:
        stacked = torch.cat([x, case["in_condition"]], 1)
        mixed = torch.einsum("oc,nchw->nohw", case["in_A"], stacked)
        return mixed + 0.1 * step.view(-1, 1, 1, 1) / len(shares)

    steps = int(case["hp_steps"])
    found = ddim_sample(predict, case["in_noise"], shares, steps=steps, limit=None)
    close(found, case["out_sample"])


@pytest.mark.parametrize("name", named("g-dadeblur-condition-*"))
def test_blur_conditions_equal_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    found = blur_condition(case["in_magnitude"], case["in_flow_fwd"], case["in_flow_bwd"])
    close(found, case["out_condition"])
    close(network_condition(found), case["out_condition_net"])


@pytest.mark.parametrize("name", named("g-dadeblur-region-*"))
def test_sharp_boxes_equal_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    boxes, trimmed = sharp_boxes(case["in_sharp_mask"].bool(), int(case["hp_min_side"]))
    assert torch.equal(boxes, case["out_initial_boxes"])
    assert torch.equal(trimmed, case["out_boxes"])


@pytest.mark.parametrize("name", named("g-npedit-vlm-*"))
def test_answers_equal_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    (logits,) = leaves(case, "logits")
    given = case["in_answer_is_yes"], int(case["hp_yes_id"]), int(case["hp_no_id"])
    each = [
        answer_loss(logits[:, q : q + 1], given[0][:, q : q + 1], *given[1:], reduction="none")
        for q in range(logits.shape[1])
    ]
    close(torch.stack(each, 1), case["out_per_question"])
    loss = answer_loss(logits, *given)
    loss.backward()
    close(loss, case["out_loss"])
    close(logits.grad, case["out_grad_logits"])
    close(answer_loss(logits, *given, form="vocabulary"), case["out_full_ce"])


@pytest.mark.parametrize("name", named("g-npedit-dmd-*"))
def test_distribution_matching_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    (x,) = leaves(case, "x")
    t = case["in_t"]
    mixed = (1 - t) * x.detach() + t * case["in_noise"]
    close(mixed, case["out_xt"])
    close(mixed - t * case["in_v_real"], case["out_x0_real"])
    close(mixed - t * case["in_v_gen"], case["out_x0_gen"])
    loss = distribution_matching(
        x,
        mixed,
        t.flatten(),
        case["in_v_real"],
        case["in_v_gen"],
        normalise=bool(case["hp_normalise"]),
    )
    loss.backward()
    close(loss, case["out_loss"])
    close(x.grad, case["out_grad_x"])
    close(x.grad * x.numel(), case["out_g"])


@pytest.mark.parametrize("name", named("g-npedit-unroll-*"))
def test_two_steps_equal_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    noise, time = case["in_noise"], case["hp_t"].double().expand(len(case["in_noise"]))
    for through, word in ((True, "out_grad_A"), (False, "out_grad_A_detached")):
        (a,) = leaves(case, "A")

        def velocity(x: Tensor, t: Tensor, a: Tensor = a) -> Tensor:
            return x @ a.T + case["in_reference"] @ case["in_B"].T + t[:, None] * case["in_c"]

        first, mixed, edit = two_step_edit(velocity, noise, time, through=through)
        close(first, case["out_x0_first"])
        close(mixed, case["out_xt"])
        close(edit, case["out_x0"])
        edit.square().sum().backward()
        close(a.grad, case[word])


def test_a_perfect_predictor_brings_the_image_back() -> None:
    shares = linear_shares(200, 1e-6, 2e-2)
    image = torch.rand(2, 1, 4, 4, dtype=torch.float64) - 0.5
    noise = torch.randn(2, 1, 4, 4, dtype=torch.float64)
    last = [i + 1 for i in range(0, 200, 10)][-1]
    start = noised(image, noise, shares[last].expand(2))

    def predict(x: Tensor, step: Tensor) -> Tensor:
        left = shares[step].view(-1, 1, 1, 1)
        return (x - left.sqrt() * image) / (1 - left).sqrt()

    made = ddim_sample(predict, start, shares, steps=20)
    torch.testing.assert_close(made, image, rtol=0, atol=0.02)
    assert noise_prediction(noise, noise, offset=0.0) == 0
    assert flow_matching(noise - image, image, noise) == 0


def test_the_gradient_moves_edits_to_the_teacher() -> None:
    """Teacher and auxiliary know the mean of their data: one is 2 away from the other."""
    x = torch.zeros(64, 1, requires_grad=True)
    s = torch.full((64,), 0.5)
    mixed = 0.5 * x.detach() + 0.5 * torch.randn(64, 1)
    teacher, own = ((mixed - mean) / 0.5 for mean in (2.0, 0.0))
    distribution_matching(x, mixed, s, teacher, own).backward()
    assert float(x.grad.max()) < 0


def test_boxes_keep_nothing_small_and_nothing_of_an_empty_image() -> None:
    assert sharp_boxes(torch.zeros(8, 8, dtype=torch.bool), 2)[0].shape == (0, 4)
    sharp = torch.zeros(20, 20, dtype=torch.bool)
    sharp[2:12, 2:12] = True
    sharp[7, 12:18] = True
    boxes, trimmed = sharp_boxes(sharp, 8)
    assert boxes.tolist() == [[2, 2, 12, 18]]
    assert trimmed.tolist() == [[2, 2, 12, 13]]


def test_wrong_inputs_are_refused_in_a_sentence() -> None:
    x = torch.rand(2, 1, 4, 4)
    with pytest.raises(UserError, match="steps is 0"):
        ddim_sample(lambda x, t: x, x, linear_shares(10), steps=0)
    with pytest.raises(UserError, match="one time for each of 2 samples"):
        two_step_edit(lambda x, t: x, x, torch.ones(3))
    with pytest.raises(UserError, match="two tokens below 4"):
        answer_loss(x[:, 0], torch.ones(2, 4), 3, 9)
    with pytest.raises(ValueError, match="Expected edit"):
        distribution_matching(x, x, torch.ones(2), x, x[:1])
    with pytest.raises(UserError, match=r"Expected sharp \(H, W\) of bool"):
        sharp_boxes(x[0, 0])
    with pytest.raises(UserError, match=r"Expected magnitude \(T, H, W\)"):
        blur_condition(x, x, x)
    with pytest.raises(UserError, match=r"Expected conditions \(T, 3, H, W\)"):
        network_condition(x)
