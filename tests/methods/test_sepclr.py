"""SepCLR: reference values of the whole objective, what background and targets receive, and
attributes.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nearfar.losses.instance.common_salient import sepclr_with_attributes
from nearfar.methods.instance.sepclr import SepCLR
from nearfar.testing import METHOD_CHECKS, Case
from tests.losses.cases import close, leaves, named

from .toys import batch_for, build

SMALL = {"common": 6, "salient": 5, "hidden": 16}


@pytest.mark.parametrize("name", named("b-sepclr-total-*"))
def test_reference_objective(golden: Any, name: str) -> None:
    case = golden(name)
    outputs = dict(zip(("c1", "c2", "s1", "s2"), leaves(case, "c1", "c2", "s1", "s2"), strict=True))
    weights = {
        "salient_weight": "hp_w_salient",
        "background_weight": "hp_w_reg",
        "joint_entropy_weight": "hp_w_jem",
    }
    method = build(
        SepCLR, {**SMALL, **{ours: case[theirs].item() for ours, theirs in weights.items()}}
    )
    total = sum(method.loss({**outputs, "label": case["in_labels"].long()}).values())
    total.backward()
    close(total, case["out_loss"])
    for name_, leaf in outputs.items():
        close(leaf.grad, case[f"out_grad_{name_}"])


def test_two_encoders_are_told_apart_and_side_by_side() -> None:
    method = build(SepCLR, SMALL).eval()
    x = batch_for(method).views[0]
    common, salient = method.separate(x)
    assert (common.shape, salient.shape) == ((8, 6), (8, 5))
    features = method.encode(x)
    torch.testing.assert_close(method.reductions[0](features[:, :12]), common)
    torch.testing.assert_close(method.reductions[1](features[:, 12:]), salient)
    assert not torch.equal(features[:, :12], features[:, 12:])


def test_only_targets_move_the_salient_entropies_and_only_background_is_pulled_to_nothing() -> None:
    method = build(SepCLR, SMALL).double().train()
    sizes = {"c1": 6, "c2": 6, "s1": 5, "s2": 5}
    outputs = {
        name: torch.randn(8, size, dtype=torch.float64, requires_grad=True)
        for name, size in sizes.items()
    }
    label = torch.arange(8) % 2
    terms = method.loss({**outputs, "label": label})
    (pulled,) = torch.autograd.grad(terms["background"], outputs["s1"], retain_graph=True)
    assert (pulled[label == 1] == 0).all()
    torch.testing.assert_close(
        pulled[label == 0], 1000 * 2 * outputs["s1"].detach()[label == 0] / 2 / 4
    )
    for name in ("salient", "joint_entropy"):
        (moved,) = torch.autograd.grad(terms[name], outputs["s1"], retain_graph=True)
        assert (moved[label == 0] == 0).all()
        assert (moved[label == 1] != 0).any()


def test_attributes_order_one_salient_dimension() -> None:
    method = build(SepCLR, {**SMALL, "attributes": "continuous", "salient_weight": 3.0}).train()
    batch = batch_for(method)
    batch.label = torch.tensor([0.0, 0.0, 0.3, 1.2, 2.0, 2.1, 0.0, 0.7])
    outputs = method(batch)
    assert outputs["s1"].shape == (8, 1)
    terms = method.loss(outputs)
    assert set(terms) == {"common", "salient", "joint_entropy"}
    expected = sepclr_with_attributes(
        (outputs["c1"], outputs["c2"]), outputs["s1"], batch.label[:, None], batch.label != 0
    )
    torch.testing.assert_close(terms["salient"], 3 * expected["salient"])
    torch.testing.assert_close(terms["joint_entropy"], 10 * expected["joint_entropy"])


def test_another_label_may_be_the_background() -> None:
    method = build(SepCLR, SMALL).train()
    outputs = method(batch_for(method))
    swapped = build(SepCLR, {**SMALL, "background": 1})
    torch.testing.assert_close(
        method.loss(outputs), swapped.loss({**outputs, "label": 1 - outputs["label"]})
    )


VARIANTS = [{"attributes": "discrete"}, {"attributes": "continuous"}]


@pytest.mark.parametrize("settings", VARIANTS)
@pytest.mark.parametrize(
    "check", ["runs", "gradient_reaches_parameters", "gradient_matches_differences", "resumes"]
)
def test_variants_pass_the_battery(settings: dict[str, str], check: str) -> None:
    without = ("projectors.1.3.bias",) if check == "gradient_reaches_parameters" else ()
    METHOD_CHECKS[check](Case(SepCLR, settings=settings, without_gradient=without))
