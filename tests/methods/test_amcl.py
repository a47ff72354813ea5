"""AMCL's four forms: what each compares, at which temperature, and what its queue and copy hold
after a step.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from nearfar.losses.instance.multi_head import (
    amcl,
    amcl_barlow_twins,
    amcl_simsiam,
    gaussian_regulariser,
)
from nearfar.methods.distillation.amcl_simsiam import AMCLSimSiam
from nearfar.methods.instance.amcl import AMCL
from nearfar.methods.momentum.amcl_moco import AMCLMoCo
from nearfar.methods.redundancy.amcl_barlow_twins import AMCLBarlowTwins
from tests.losses.cases import close, named

from .toys import batch_for, build

SMALL: dict[str, Any] = {"heads": 2, "hidden": 16, "projection": 6}
OMEGA = gaussian_regulariser


def looped(
    method: AMCL | AMCLMoCo, first: Tensor, second: Tensor, others: list[Tensor] | None, beta: float
) -> Tensor:
    """One anchor and head at a time; ``others`` are a head's negatives, or the other rows of
    ``second``.
    """
    terms = []
    for c in range(first.shape[1]):
        anchors = normalize(first[:, c], dim=1)
        partners = normalize(second[:, c], dim=1)
        for n, (anchor, partner) in enumerate(zip(anchors, partners, strict=True)):
            rest = (
                [row for m, row in enumerate(partners) if m != n]
                if others is None
                else list(others[c])
            )
            hardest = max(rest, key=lambda row: float(anchor @ row))
            near, far = (
                method.temperature(anchor[None], other[None])[0] for other in (partner, hardest)
            )
            value = -(anchor @ partner) / near + (anchor @ hardest) / far
            terms.append(value + beta * OMEGA(near, 6) - beta * OMEGA(far, 6))
    return torch.stack(terms).sum() / len(first)


def test_simclr_form_has_anchors_in_both_views() -> None:
    method = build(AMCL, SMALL | {"beta": 0.3}).double()
    z1, z2 = torch.randn(2, 5, 2, 6, dtype=torch.float64)
    expected = (looped(method, z1, z2, None, 0.3) + looped(method, z2, z1, None, 0.3)) / 2
    torch.testing.assert_close(method.loss({"z1": z1, "z2": z2})["amcl"], expected)
    torch.testing.assert_close(method.loss({"z1": z2, "z2": z1})["amcl"], expected)


@pytest.mark.parametrize("name", named("a-amcl-simclr-case*"))
def test_simclr_form_reference_loss(golden: Any, name: str) -> None:
    """The reference takes anchors from one view and has a linear network for phi."""
    case = golden(name)
    heads, _, width = case["in_z1"].shape
    settings = {
        "heads": heads,
        "projection": width,
        "hidden": 8,
        "beta": float(case["hp_beta"]),
        "hardest": int(case["hp_topk"]),
        "lowest": float(case["hp_tau_min"]),
        "highest": float(case["hp_tau_max"]),
    }
    method = build(AMCL, settings).double()
    phi = torch.nn.Linear(width, width).double()
    with torch.no_grad():
        phi.weight.copy_(case["in_phi_w"])
        phi.bias.copy_(case["in_phi_b"])
    method.temperature.networks[0] = phi
    outputs = {"z1": case["in_z1"].transpose(0, 1), "z2": case["in_z2"].transpose(0, 1)}
    swapped = {"z1": outputs["z2"], "z2": outputs["z1"]}
    torch.testing.assert_close(method.loss(outputs), method.loss(swapped))
    options = {
        "temperature": method.temperature,
        "beta": method.settings.beta,
        "hardest": method.settings.hardest,
    }
    forth = amcl(case["in_z1"], case["in_z2"], **options)
    back = amcl(case["in_z2"], case["in_z1"], **options)
    close(forth, case["out_loss"])
    torch.testing.assert_close(method.loss(outputs)["amcl"], (forth + back) / 2)


def test_moco_form_meets_each_heads_own_past_keys() -> None:
    method = build(AMCLMoCo, SMALL | {"queue": 7, "beta": 0.3}).double()
    query, key = torch.randn(2, 5, 2, 6, dtype=torch.float64)
    past = [normalize(method.queue.rows[:, start : start + 6], dim=1) for start in (0, 6)]
    torch.testing.assert_close(
        method.loss({"query": query, "key": key})["amcl"], looped(method, query, key, past, 0.3)
    )


def test_moco_form_enqueues_unit_keys_of_every_head_and_moves_its_copy() -> None:
    method = build(AMCLMoCo, SMALL | {"queue": 20, "momentum": 0.7}).train()
    outputs = method(batch_for(method))
    assert outputs["key"].shape == (8, 2, 6)
    with torch.no_grad():
        method.projectors.heads[1][0].weight.add_(1.0)
    copied = method.target.module[1].heads[1][0]
    before = copied.weight.clone()
    method.after_step(outputs)
    torch.testing.assert_close(
        copied.weight, 0.7 * before + 0.3 * method.projectors.heads[1][0].weight.detach()
    )
    for head, start in enumerate((0, 6)):
        torch.testing.assert_close(
            method.queue.rows[:8, start : start + 6], normalize(outputs["key"][:, head], dim=1)
        )


def test_simsiam_form_compares_each_heads_prediction_with_its_projection() -> None:
    method = build(AMCLSimSiam, {"heads": 3, "projection": 16, "bottleneck": 8}).train()
    outputs = method(batch_for(method))
    assert {value.shape for value in outputs.values()} == {(8, 3, 16)}
    assert not outputs["z1"].requires_grad
    by_head = {name: value.transpose(0, 1) for name, value in outputs.items()}
    expected = amcl_simsiam(**by_head, temperature=method.temperature, beta=0.1)
    torch.testing.assert_close(method.loss(outputs)["amcl"], expected)
    single = method.predictors.heads[1](outputs["z1"][:, 1])
    torch.testing.assert_close(single, outputs["p1"][:, 1], msg="head 1 predicts from projection 1")


def test_barlow_form_learns_a_temperature_for_every_entry() -> None:
    method = build(AMCLBarlowTwins, {"heads": 2, "projection": 6, "beta": 0.3}).double()
    z1, z2 = torch.randn(2, 7, 2, 6, dtype=torch.float64)
    half = torch.full((2, 6, 6), (0.05 + 2.0) / 2, dtype=torch.float64)
    value = method.loss({"z1": z1, "z2": z2})["amcl"]
    expected = amcl_barlow_twins(
        z1.transpose(0, 1), z2.transpose(0, 1), temperature=half, off_diagonal=0.0051, beta=0.3
    )
    torch.testing.assert_close(value, expected)
    value.backward()
    assert (method.logits.grad != 0).all()
    decayed = [
        p
        for group in method.parameter_groups()
        if group.get("decay", True)
        for p in group["params"]
    ]
    assert not any(p is method.logits for p in decayed)
    with torch.no_grad():
        method.logits.fill_(100.0)
    hot = amcl_barlow_twins(
        z1.transpose(0, 1), z2.transpose(0, 1), temperature=torch.full_like(half, 2.0), beta=0.3
    )
    torch.testing.assert_close(method.loss({"z1": z1, "z2": z2})["amcl"], hot)


@pytest.mark.parametrize("kind", [AMCL, AMCLMoCo, AMCLSimSiam])
def test_temperature_is_shared_by_heads_or_joint_in_each(kind: type[AMCL]) -> None:
    sizes = {"projection": 6, "heads": 3}
    assert len(build(kind, sizes).temperature.networks) == 1
    joint = build(kind, sizes | {"joint": True}).temperature
    assert len(joint.networks) == 3
    assert joint.networks[0][0].in_features == 12
