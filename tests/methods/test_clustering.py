"""SwAV: the authors' loss and codes, unit prototypes, the queue's start, frozen prototypes."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import normalize

from nearfar.losses.kernels.sinkhorn import sinkhorn
from nearfar.methods.clustering.swav import SwAV
from nearfar.training.optimisers.optimisers import build_optimizer

from .toys import batch_for, build

SMALL = {"prototypes": 7, "local": 2, "hidden": 16, "projection": 6, "frozen": 0.0}


@pytest.mark.parametrize("name", ["a-swav-loss-case0", "a-swav-loss-case2"])
def test_reference_loss_and_codes(golden, name: str) -> None:
    case = golden(name)
    count = len(case["in_prototypes"])
    length = int(case["hp_queue"])
    settings = {
        "prototypes": count,
        "queue": length,
        "projection": 6,
        "hidden": 4,
        "iterations": int(case["hp_iterations"]),
    }
    method = build(
        SwAV,
        settings
        | {"temperature": float(case["hp_temperature"]), "epsilon": float(case["hp_epsilon"])},
    ).double()
    with torch.no_grad():
        method.prototypes.weight.copy_(case["in_prototypes"])
    if length:
        method.queue.push(case["in_queue"].transpose(0, 1).flatten(1))
    crops = case["in_crops"].transpose(0, 1).clone().requires_grad_()
    loss = method.loss({"crops": crops})["swav"]
    loss.backward()
    torch.testing.assert_close(loss.detach(), case["out_loss"], rtol=1e-8, atol=0)
    torch.testing.assert_close(
        method.prototypes.weight.grad, case["out_grad_prototypes"], rtol=1e-8, atol=1e-12
    )
    unit = case["in_crops"]
    gradient = case["out_grad_crops"]
    tangential = (
        gradient - (gradient * unit).sum(-1, keepdim=True) * unit
    )  # the reference starts from unit crops
    torch.testing.assert_close(crops.grad.transpose(0, 1), tangential, rtol=1e-7, atol=1e-12)
    scores = method.prototypes(case["in_crops"][:2])
    torch.testing.assert_close(method.codes(scores), case["out_codes"], rtol=1e-8, atol=1e-14)


def test_prototypes_are_unit_vectors_before_and_after_each_step() -> None:
    method = build(SwAV, SMALL).train()
    outputs = method(batch_for(method))
    torch.testing.assert_close(method.prototypes.weight.norm(dim=1), torch.ones(7))
    with torch.no_grad():
        method.prototypes.weight.mul_(3.0)
        method.after_step(outputs)
    torch.testing.assert_close(method.prototypes.weight.norm(dim=1), torch.ones(7))


def test_queue_fills_from_its_start_on_and_counts_only_once_full() -> None:
    method = build(SwAV, SMALL | {"queue": 16, "queue_start": 0.5}).train()
    outputs = method(batch_for(method))
    alone = method.loss(outputs)["swav"]
    for progress, full in ((0.4, False), (0.5, False), (0.6, True)):
        method.progress = progress
        torch.testing.assert_close(method.loss(outputs)["swav"], alone)
        method.after_step(outputs)
        assert bool(method.queue.full) == full
    assert int(method.queue.pointer) == 0
    expected = normalize(outputs["crops"][:, :2], dim=-1)
    torch.testing.assert_close(method.queue.rows[:8].reshape(8, 2, 6), expected.detach())
    method.queue.push(torch.randn(16, 12))
    assert not torch.isclose(method.loss(outputs)["swav"], alone)


def test_prototypes_do_not_learn_while_frozen() -> None:
    method = build(SwAV, SMALL | {"frozen": 0.1}).train()
    for progress, held in ((0.0, True), (0.1, False)):
        method.zero_grad(set_to_none=True)
        method.loss(method(batch_for(method)))["swav"].backward()
        method.progress = progress
        method.after_backward("all")
        assert (method.prototypes.weight.grad is None) == held


def test_alarm_tells_of_codes_that_are_too_soft() -> None:
    method = build(SwAV, SMALL | {"frozen": 0.2, "epsilon": 500.0}).train()
    outputs = method(batch_for(method))
    with torch.no_grad():
        scores = method.prototypes(normalize(outputs["crops"], dim=-1)).transpose(0, 1)
    torch.testing.assert_close(
        method.codes(scores[:2]), torch.full((2, 8, 7), 1 / 7), rtol=1e-2, atol=1e-3
    )
    for progress, loss, told in (
        (0.1, math.log(7), False),
        (0.5, math.log(7) + 1e-3, True),
        (0.5, math.log(7) - 0.1, False),
    ):
        method.progress = progress
        alarm = method.alarm({"swav": loss, "loss": loss})
        assert (alarm is not None) == told
    method.progress = 0.5
    assert method.alarm({"swav": math.log(7)}) == (
        "The loss stays at log K = 1.95: codes are too soft. Lower epsilon (now 500.0) or take "
        "more prototypes."
    )


def test_larc_decays_biases_and_norms_too() -> None:
    method = build(SwAV, SMALL)
    recipe = SwAV.recipes["paper"]
    (group,) = build_optimizer(method, recipe).param_groups
    assert group["weight_decay"] == recipe.weight_decay == 1e-6
    assert {id(p) for p in group["params"]} == {id(p) for p in method.parameters()}


def test_crops_pass_the_encoder_by_resolution_and_the_head_at_once() -> None:
    """Rows come out crop by crop, and batch norm sees whole crops together, small ones together,
    and all of them in the head.
    """
    method = build(SwAV, SMALL).train()
    batch = batch_for(method)
    outputs = method(batch)
    seen = [method.encoder(torch.cat(batch.views[:2])), method.encoder(torch.cat(batch.views[2:]))]
    expected = method.projector(torch.cat(seen)).reshape(4, 8, 6).transpose(0, 1)
    torch.testing.assert_close(outputs["crops"], expected)


def test_each_crop_has_its_own_queue_scored_by_todays_prototypes() -> None:
    method = build(SwAV, SMALL | {"queue": 16}).double()
    rows = torch.nn.functional.normalize(torch.randn(16, 2, 6, dtype=torch.float64), dim=-1)
    method.queue.push(rows.flatten(1))
    with torch.no_grad():
        method.prototypes.weight.copy_(normalize(torch.randn(7, 6, dtype=torch.float64), dim=1))
    scores = torch.rand(2, 8, 7, dtype=torch.float64)
    codes = method.codes(scores)
    for crop in range(2):
        past = rows[:, crop] @ method.prototypes.weight.detach().T
        expected = sinkhorn(torch.cat([past, scores[crop]]), epsilon=0.05, iterations=3)[-8:]
        torch.testing.assert_close(codes[crop], expected)
