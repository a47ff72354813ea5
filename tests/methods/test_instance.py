"""MoCo v2 and v3, NNCLR: queue and momentum copy change as stated, and one step gives the authors'
numbers.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from nearfar import networks
from nearfar.errors import UserError
from nearfar.methods.momentum.moco_v2 import MoCoV2
from nearfar.methods.momentum.moco_v3 import MoCoV3
from nearfar.methods.momentum.nnclr import NNCLR
from nearfar.targets.momentum import cosine_momentum

from .toys import Identity, batch_for, build, spec_of


def test_moco_v2_reference_step(golden) -> None:
    """The authors move the copy before the key's forward: the end of the step before in nearfar."""
    case = golden("a-moco-queue-case0")
    settings = MoCoV2.Settings(
        temperature=float(case["hp_temperature"]),
        momentum=float(case["hp_momentum"]),
        queue=16,
        hidden=4,
        projection=8,
    )
    method = MoCoV2(Identity(5), spec_of(MoCoV2), settings)
    method.projector = nn.Linear(5, 8)
    method.target.module[1] = nn.Linear(5, 8).requires_grad_(False)
    method = method.double()
    with torch.no_grad():
        for network, name in ((method.projector, "q"), (method.target.module[1], "k")):
            network.weight.copy_(case[f"in_w_{name}"])
            network.bias.copy_(case[f"in_b_{name}"])
    method.target.update(nn.Sequential(method.encoder, method.projector), method.settings.momentum)
    method.queue.rows.copy_(case["in_queue"].T)
    query = case["in_x_q"].requires_grad_()
    batch = batch_for(build(MoCoV2, {"queue": 16, "hidden": 4, "projection": 8}), samples=4)
    batch.views = [query, case["in_x_k"]]
    outputs = method(batch)
    loss = method.loss(outputs)["info_nce"]
    loss.backward()
    copied = method.target.module[1]
    torch.testing.assert_close(loss.detach(), case["out_loss"], rtol=1e-8, atol=0)
    torch.testing.assert_close(query.grad, case["out_grad_x_q"], rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(
        method.projector.weight.grad, case["out_grad_w_q"], rtol=1e-8, atol=1e-12
    )
    torch.testing.assert_close(copied.weight, case["out_w_k_after"], rtol=1e-10, atol=0)
    torch.testing.assert_close(copied.bias, case["out_b_k_after"], rtol=1e-10, atol=0)
    method.queue.push(normalize(outputs["key"], dim=1))
    torch.testing.assert_close(method.queue.rows, case["out_queue_after"].T, rtol=1e-8, atol=1e-12)
    assert int(method.queue.pointer) == int(case["out_ptr_after"])


def test_moco_v2_queues_unit_keys_and_moves_its_copy() -> None:
    method = build(MoCoV2, {"queue": 20, "hidden": 16, "projection": 8, "momentum": 0.7}).train()
    outputs = method(batch_for(method))
    with torch.no_grad():
        method.projector[0].weight.add_(1.0)
    before = method.target.module[1][0].weight.clone()
    old_rows = method.queue.rows.clone()
    method.after_step(outputs)
    expected = 0.7 * before + 0.3 * method.projector[0].weight.detach()
    torch.testing.assert_close(method.target.module[1][0].weight, expected)
    torch.testing.assert_close(method.queue.rows[:8], normalize(outputs["key"], dim=1))
    assert torch.equal(method.queue.rows[8:], old_rows[8:])
    assert len(MoCoV2(Identity(4), spec_of(MoCoV2, length=50)).queue) == 50, (
        "never longer than the data"
    )


def test_moco_v2_keys_see_the_second_view_only() -> None:
    method = build(MoCoV2, {"queue": 20, "hidden": 16, "projection": 8}).train()
    batch = batch_for(method)
    key = method(batch)["key"]
    batch.views[0] = torch.zeros_like(batch.views[0])
    assert torch.equal(method(batch)["key"], key)


def test_moco_v3_momentum_rises_along_the_run() -> None:
    method = build(MoCoV3, {"hidden": 16, "projection": 8, "momentum": 0.6}).train()
    with torch.no_grad():
        method.projector[0].weight.add_(1.0)
    for progress in (0.25, 1.0):
        method.progress = progress
        before = method.target.module[1][0].weight.clone()
        method.after_step({})
        momentum = cosine_momentum(0.6, progress)
        expected = momentum * before + (1 - momentum) * method.projector[0].weight.detach()
        torch.testing.assert_close(method.target.module[1][0].weight, expected)
    assert torch.equal(method.target.module[1][0].weight, before), (
        "a momentum of 1 at the end of the run"
    )


def test_moco_v3_swaps_the_views_of_queries_and_keys() -> None:
    method = build(MoCoV3, {"hidden": 16, "projection": 8}).train()
    batch = batch_for(method)
    outputs = method(batch)
    batch.views.reverse()
    swapped = method(batch)
    torch.testing.assert_close(swapped["q1"], outputs["q2"])
    torch.testing.assert_close(swapped["k1"], outputs["k2"])
    torch.testing.assert_close(method.loss(swapped), method.loss(outputs))


def test_nnclr_reference_loss(golden) -> None:
    case = golden("a-nnclr-case1")
    settings = {"queue": 3, "projector_hidden": 4, "predictor_hidden": 4, "projection": 4}
    method = build(NNCLR, settings | {"temperature": float(case["hp_temperature"])}).double()
    method.queue.rows.copy_(case["in_queue"])
    outputs = {
        name: case[f"in_{name}"].requires_grad_(name.startswith("p"))
        for name in ("z1", "z2", "p1", "p2")
    }
    loss = method.loss(outputs)["nnclr"]
    loss.backward()
    torch.testing.assert_close(loss.detach(), case["out_loss"], rtol=1e-8, atol=0)
    for name in ("p1", "p2"):
        torch.testing.assert_close(
            outputs[name].grad, case[f"out_grad_{name}"], rtol=1e-8, atol=1e-12
        )


def test_decoupled_moco_v2_drops_the_positive_from_the_denominator() -> None:
    sizes = {"queue": 20, "hidden": 16, "projection": 8, "temperature": 0.3}
    method = build(MoCoV2, sizes | {"decoupled": True}).train()
    outputs = method(batch_for(method))
    ((name, loss),) = method.loss(outputs).items()
    query, key = (normalize(outputs[part], dim=1) for part in ("query", "key"))
    expected = (query @ method.queue.rows.T / 0.3).logsumexp(1) - (query * key).sum(1) / 0.3
    assert name == "dcl"
    torch.testing.assert_close(loss, expected.mean())
    coupled = build(MoCoV2, sizes)
    coupled.queue.rows.copy_(method.queue.rows)
    joint = torch.logaddexp(
        expected, torch.zeros(8)
    )  # -log of the positive's share is log(1 + exp(n - p))
    torch.testing.assert_close(coupled.loss(outputs)["info_nce"], joint.mean())


def test_decoupled_nnclr_drops_the_diagonal_from_the_denominator() -> None:
    sizes = {
        "queue": 30,
        "projector_hidden": 16,
        "predictor_hidden": 16,
        "projection": 8,
        "temperature": 0.3,
    }
    method = build(NNCLR, sizes | {"decoupled": True}).train()
    outputs = method(batch_for(method))
    loss = method.loss(outputs)["dcl"]
    expected = []
    for z, p in (("z1", "p2"), ("z2", "p1")):
        logits = method.queue.nearest(outputs[z]) @ normalize(outputs[p], dim=1).T / 0.3
        others = logits.masked_fill(torch.eye(8, dtype=torch.bool), -torch.inf)
        expected.append((others.logsumexp(1) - logits.diagonal()).mean())
    torch.testing.assert_close(loss, torch.stack(expected).mean())
    loss.backward()
    assert method.predictor[0].weight.grad.abs().sum() > 0


def test_moco_v2_without_a_hidden_layer_is_moco_v1() -> None:
    method = build(MoCoV2, {"queue": 20, "hidden": 0, "projection": 8})
    (layer,) = method.projector
    assert isinstance(layer, nn.Linear)
    assert layer.out_features == 8


def test_moco_v3_for_transformers_has_their_heads_and_fixed_patches() -> None:
    spec = spec_of(MoCoV3)
    encoder = networks.build("vit-tiny", spec)
    method = MoCoV3(
        encoder, spec, MoCoV3.Settings(hidden=16, projection=8, transformer=True)
    ).train()
    assert [type(layer).__name__ for layer in method.projector].count("Linear") == 3
    assert isinstance(method.predictor[-1], nn.BatchNorm1d)
    assert not encoder.embedding.weight.requires_grad
    learning = {id(p) for group in method.parameter_groups() for p in group["params"]}
    assert id(encoder.embedding.weight) not in learning
    torch.stack(list(method.loss(method(batch_for(method))).values())).sum().backward()
    assert encoder.class_token.grad.abs().sum() > 0
    with pytest.raises(
        UserError,
        match="has no projection of patches; choose a transformer encoder such as vit-tiny",
    ):
        MoCoV3(Identity(4), spec, MoCoV3.Settings(transformer=True))


def test_nnclr_enqueues_unit_rows_of_the_first_view_after_the_lookup() -> None:
    method = build(
        NNCLR, {"queue": 30, "projector_hidden": 16, "predictor_hidden": 16, "projection": 8}
    ).train()
    outputs = method(batch_for(method))
    start = method.queue.rows.clone()
    method.loss(outputs)
    assert torch.equal(method.queue.rows, start)
    method.after_step(outputs)
    torch.testing.assert_close(method.queue.rows[:8], normalize(outputs["z1"], dim=1))
    assert torch.equal(method.queue.rows[8:], start[8:])
