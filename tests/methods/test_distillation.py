"""BYOL, SimSiam and DINO: copies, centre, schedules and gradients change as stated."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from nearfar.batch import Batch
from nearfar.losses.kernels.sinkhorn import sinkhorn
from nearfar.methods.distillation.byol import BYOL
from nearfar.methods.distillation.dino import DINO
from nearfar.methods.distillation.simsiam import SimSiam
from nearfar.targets.momentum import MomentumEncoder, cosine_momentum

from .toys import Identity, batch_for, build, spec_of

SMALL_DINO = {
    "prototypes": 6,
    "local": 3,
    "hidden": 16,
    "bottleneck": 8,
    "frozen": 0.1,
    "temperature_warmup": 0.5,
}


class _Columns(nn.Module):
    """Six columns of the input, for a teacher and a student that see different numbers."""

    def __init__(self, start: int) -> None:
        super().__init__()
        self.start = start
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return x[:, self.start : self.start + 6]


def test_byol_moves_its_copy_along_the_cosine() -> None:
    method = build(BYOL, {"hidden": 16, "projection": 8, "momentum": 0.8}).train()
    with torch.no_grad():
        method.encoder.layers[0].weight.add_(1.0)
    before = method.target.module[0].layers[0].weight.clone()
    method.progress = 0.3
    method.after_step({})
    momentum = cosine_momentum(0.8, 0.3)
    expected = momentum * before + (1 - momentum) * method.encoder.layers[0].weight.detach()
    torch.testing.assert_close(method.target.module[0].layers[0].weight, expected)


def test_byol_targets_have_no_predictor_and_no_gradient() -> None:
    method = build(BYOL, {"hidden": 16, "projection": 8}).train()
    outputs = method(batch_for(method))
    assert not outputs["target1"].requires_grad
    torch.testing.assert_close(
        method.predictor(outputs["target1"]), outputs["p1"].detach(), msg="copies start equal"
    )


def test_simsiam_keeps_the_predictors_learning_rate() -> None:
    method = build(SimSiam, {"projection": 16, "bottleneck": 4}).train()
    decaying, constant = method.parameter_groups()
    assert constant["constant_learning_rate"]
    assert {id(p) for p in constant["params"]} == {id(p) for p in method.predictor.parameters()}
    assert "constant_learning_rate" not in decaying
    outputs = method(batch_for(method))
    torch.testing.assert_close(outputs["z1"].mean(0), torch.zeros(16), atol=1e-5, rtol=0)
    assert not outputs["z1"].requires_grad


def test_dino_reference_steps(golden) -> None:
    case = golden("a-dino-case1")
    settings = DINO.Settings(
        prototypes=6,
        local=3,
        temperature_warmup=1.0,
        student_temperature=float(case["hp_student_temp"]),
        first_teacher_temperature=float(case["hp_teacher_temp_epoch0"]),
        teacher_temperature=float(case["hp_teacher_temp_epoch2"]),
        centre_momentum=float(case["hp_center_momentum"]),
        hidden=4,
        bottleneck=4,
    )
    method = DINO(Identity(12), spec_of(DINO), settings).double()
    method.head = _Columns(0).double()
    method.teacher = MomentumEncoder(nn.Sequential(Identity(12), _Columns(6))).double()
    for step, progress in ((0, 0.0), (1, 1.0)):
        student = case[f"in_student{step}"].requires_grad_()
        teacher = case[f"in_teacher{step}"]
        filled = torch.cat([teacher, torch.zeros(9, 6, dtype=torch.float64)])
        views = list(torch.cat([student, filled], dim=1).split(3))
        method.progress = progress
        outputs = method(Batch(views, torch.arange(3)))
        loss = method.loss(outputs)["dino"]
        loss.backward()
        method.after_step(outputs)
        torch.testing.assert_close(
            loss.detach(), case["out_loss" if step == 0 else "out_loss_step1"], rtol=1e-8, atol=0
        )
        torch.testing.assert_close(
            student.grad, case[f"out_grad_student{step}"], rtol=1e-8, atol=1e-12
        )
        torch.testing.assert_close(
            method.centre.value, case[f"out_center{step}"][0], rtol=1e-10, atol=1e-14
        )


def test_dino_centre_takes_the_mean_of_both_whole_crops_after_the_loss() -> None:
    method = build(DINO, SMALL_DINO).train()
    batch = batch_for(method)
    outputs = method(batch)
    method.loss(outputs)
    assert not method.centre.value.any()
    method.after_step(outputs)
    expected = torch.stack([method.teacher(torch.cat(batch.views[:2]))]).mean(dim=(0, 1)) * 0.1
    torch.testing.assert_close(method.centre.value, expected, rtol=1e-4, atol=1e-6)


def test_dino_balanced_is_the_cross_entropy_against_the_teachers_balanced_shares() -> None:
    method = build(DINO, SMALL_DINO | {"sinkhorn": True, "head_norm": True}).train()
    outputs = method(batch_for(method))
    loss = method.loss(outputs)["dino"]
    temperature = method.temperature(method.progress)
    student = (outputs["student"] / 0.1).log_softmax(dim=-1)
    terms = []
    for a in range(2):
        shares = sinkhorn(outputs["teacher"][:, a], epsilon=temperature)
        torch.testing.assert_close(shares.sum(dim=1), torch.ones(len(shares)))
        terms += [
            -(shares * student[:, v]).sum(dim=1).mean() for v in range(student.shape[1]) if v != a
        ]
    torch.testing.assert_close(loss, torch.stack(terms).mean())
    method.after_step(outputs)
    assert not method.centre.value.any(), "nothing is centred"


def test_byols_predictor_learns_at_its_own_rate() -> None:
    method = build(
        BYOL,
        {
            "hidden": 16,
            "projection": 8,
            "predictor_rate": 10.0,
            "predictor_decays": False,
            "last_norm": True,
        },
    ).train()
    others, predictor = method.parameter_groups()
    assert (predictor["learning_rate_scale"], predictor["constant_learning_rate"]) == (10.0, True)
    assert {id(p) for p in predictor["params"]} == {id(p) for p in method.predictor.parameters()}
    assert not {id(p) for p in others["params"]} & {id(p) for p in method.target.parameters()}
    target = method(batch_for(method))["target1"]
    torch.testing.assert_close(target.mean(0), torch.zeros(8), atol=1e-5, rtol=0)


def test_dino_holds_the_last_layer_still_at_first() -> None:
    method = build(DINO, SMALL_DINO | {"clip": 0.0}).train()
    for progress, held in ((0.05, True), (0.1, False)):
        method.zero_grad(set_to_none=True)
        method.loss(method(batch_for(method)))["dino"].backward()
        method.progress = progress
        method.after_backward("all")
        assert (method.head.last.weight.grad is None) == held
        assert method.head.layers[0].weight.grad is not None


@pytest.mark.parametrize("clip", [0.0, 0.5])
def test_dino_clips_each_parameter_by_itself(clip: float) -> None:
    method = build(DINO, SMALL_DINO | {"clip": clip}).train()
    method.progress = 0.5
    learning = [p for p in method.parameters() if p.requires_grad]
    for number, parameter in enumerate(learning):
        parameter.grad = torch.full_like(parameter, 10.0 if number % 2 else 1e-6)
    before = [p.grad.clone() for p in learning]
    method.after_backward("all")
    for parameter, old in zip(learning, before, strict=True):
        limit = min(1.0, clip / (float(old.norm()) + 1e-6)) if clip else 1.0
        torch.testing.assert_close(parameter.grad, limit * old, rtol=1e-5, atol=0)
