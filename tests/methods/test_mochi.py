"""MoCHi: MoCo v2 during the warm-up, the reference loss after it, draws that are fresh each step
and repeat, a clean queue.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import normalize

from nearfar.losses.instance.hard_negatives import Draws
from nearfar.methods.momentum import mochi as page
from nearfar.methods.momentum.mochi import MoCHi
from nearfar.methods.momentum.moco_v2 import MoCoV2
from tests.losses.cases import close, named

from .toys import batch_for, build

SMALL = {
    "hidden": 16,
    "projection": 8,
    "queue": 20,
    "hardest": 6,
    "pairs": 5,
    "with_query": 3,
    "warmup": 0.0,
}


@pytest.mark.parametrize("name", named("a-mochi-case*"))
def test_reference_loss(golden: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = golden(name)
    draws = Draws(
        int(case["hp_n_hard"]),
        *(case[f"in_{part}"] for part in ("idx1", "idx2", "alpha", "idx_q", "beta")),
    )
    monkeypatch.setattr(page, "draw", lambda *_, **__: draws)
    length, dimension = case["in_queue"].shape
    method = build(
        MoCHi,
        SMALL
        | {"queue": length, "projection": dimension, "temperature": float(case["hp_temperature"])},
    ).double()
    method.queue.rows.copy_(case["in_queue"])
    query = 3 * case["in_q"].requires_grad_()
    terms = method.loss({"query": query, "key": 2 * case["in_k"]})
    close(terms["mochi"], case["out_loss"])
    assert terms["proxy accuracy"] == (case["out_logits"].argmax(dim=1) == 0).double().mean()
    gradient = torch.autograd.grad(terms["mochi"], case["in_q"])[0]
    unit = case["in_q"].detach()
    expected = case["out_grad_q"]
    close(
        gradient, expected - (expected * unit).sum(dim=1, keepdim=True) * unit, rtol=1e-7
    )  # the reference starts from unit rows


def test_is_moco_during_the_warmup() -> None:
    method = build(MoCHi, SMALL | {"warmup": 0.3}).train()
    shared = {name: SMALL[name] for name in ("hidden", "projection", "queue")}
    moco = build(MoCoV2, shared).train()
    outputs = method(batch_for(method))
    moco.queue.rows.copy_(method.queue.rows)
    expected = moco.loss(outputs)["info_nce"]
    for progress, same in ((0.0, True), (0.29, True), (0.3, False)):
        method.progress = progress
        found = method.loss(outputs)["mochi"]
        assert torch.allclose(found, expected) == same
        assert found >= expected - 1e-6, "more negatives never lower the loss"


def test_draws_are_fresh_each_step_and_repeat_after_resuming() -> None:
    method = build(MoCHi, SMALL).train()
    outputs = method(batch_for(method))
    first = method.loss(outputs)["mochi"]
    again = method.loss(outputs)["mochi"]
    assert torch.equal(first, again)
    rows = method.queue.rows.clone()
    state = {name: value.clone() for name, value in method.state_dict().items()}
    method.after_step(outputs)
    method.queue.rows.copy_(rows)
    second = method.loss(outputs)["mochi"]
    assert not torch.equal(first, second)
    torch.manual_seed(99)
    resumed = build(MoCHi, SMALL)
    resumed.load_state_dict(state)
    resumed.draws.advance()
    assert torch.equal(resumed.loss(outputs)["mochi"], second)


def test_only_unit_keys_enter_the_queue_and_the_copy_moves_after_the_step() -> None:
    method = build(MoCHi, SMALL | {"momentum": 0.7}).train()
    outputs = method(batch_for(method))
    method.loss(outputs)["mochi"].backward()
    with torch.no_grad():
        method.projector[0].weight.add_(1.0)
    before = method.target.module[1][0].weight.clone()
    rows = method.queue.rows.clone()
    method.after_step(outputs)
    torch.testing.assert_close(method.queue.rows[:8], normalize(outputs["key"], dim=1))
    assert torch.equal(method.queue.rows[8:], rows[8:])
    expected = 0.7 * before + 0.3 * method.projector[0].weight.detach()
    torch.testing.assert_close(method.target.module[1][0].weight, expected)
    assert not outputs["key"].requires_grad
