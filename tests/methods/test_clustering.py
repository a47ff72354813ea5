"""SwAV: the authors' loss and codes, unit prototypes, the queue's start, frozen prototypes."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from nearfar.methods.clustering.swav import SwAV

from .toys import batch_for, build

SMALL = {"prototypes": 7, "local": 2, "hidden": 16, "projection": 6, "frozen": 0.0}


@pytest.mark.parametrize("name", ["a-swav-loss-case0", "a-swav-loss-case2"])
def test_reference_loss_and_codes(golden, name: str) -> None:
    case = golden(name)
    count, length = len(case["in_prototypes"]), int(case["hp_queue"])
    settings = {"prototypes": count, "queue": length, "projection": 6, "hidden": 4, "iterations": int(case["hp_iterations"])}
    method = build(SwAV, settings | {"temperature": float(case["hp_temperature"]), "epsilon": float(case["hp_epsilon"])}).double()
    with torch.no_grad():
        method.prototypes.weight.copy_(case["in_prototypes"])
    if length:
        method.queue.push(case["in_queue"].transpose(0, 1).flatten(1))
    crops = case["in_crops"].transpose(0, 1).clone().requires_grad_()
    loss = method.loss({"crops": crops})["swav"]
    loss.backward()
    torch.testing.assert_close(loss.detach(), case["out_loss"], rtol=1e-8, atol=0)
    torch.testing.assert_close(method.prototypes.weight.grad, case["out_grad_prototypes"], rtol=1e-8, atol=1e-12)
    unit, gradient = case["in_crops"], case["out_grad_crops"]
    tangential = gradient - (gradient * unit).sum(-1, keepdim=True) * unit  # the reference starts from unit crops
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
        method.after_backward()
        assert (method.prototypes.weight.grad is None) == held
