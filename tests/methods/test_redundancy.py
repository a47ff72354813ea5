"""Barlow Twins' networks and learning rates, VICReg's weighted terms, Mixed Barlow Twins' third
batch.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from nearfar.batch import Batch
from nearfar.errors import UserError
from nearfar.losses.redundancy.redundancy import vicreg
from nearfar.methods.redundancy.barlow_twins import BarlowTwins
from nearfar.methods.redundancy.mixed_barlow_twins import MixedBarlowTwins
from nearfar.methods.redundancy.vicreg import VICReg
from tests.losses.cases import close, named

from .toys import Identity, batch_for, build, spec_of


def test_barlow_twins_slows_biases_and_norms() -> None:
    method = build(BarlowTwins, {"projection": 16, "vector_learning_rate": 0.024})
    weights, vectors = method.parameter_groups()
    assert vectors["learning_rate_scale"] == 0.024
    assert all(p.ndim == 1 for p in vectors["params"])
    assert all(p.ndim > 1 for p in weights["params"])
    assert "learning_rate_scale" not in weights


def test_vicreg_terms_sum_to_its_loss() -> None:
    method = build(
        VICReg, {"projection": 16, "invariance": 3.0, "variance": 5.0, "covariance": 7.0}
    ).train()
    outputs = method(batch_for(method))
    terms = method.loss(outputs)
    assert set(terms) == {"invariance", "variance", "covariance"}
    expected = vicreg(outputs["z1"], outputs["z2"], invariance=3.0, variance=5.0, covariance=7.0)
    torch.testing.assert_close(sum(terms.values()), expected)


def mixed_twins(settings: dict[str, Any]) -> MixedBarlowTwins:
    return build(MixedBarlowTwins, {"hidden": 16, "projection": 6} | settings).train()


@pytest.mark.parametrize("name", named("a-mixbt-case*"))
def test_mixed_barlow_twins_reference_step(golden: Any, name: str) -> None:
    case = golden(name)
    width, dimension = case["in_net_w"].shape
    network = nn.Sequential(nn.Linear(dimension, width, bias=False), nn.Tanh()).double()
    method = MixedBarlowTwins(
        Identity(dimension),
        spec_of(MixedBarlowTwins),
        MixedBarlowTwins.Settings(
            off_diagonal=float(case["hp_lambda"]),
            regularisation=float(case["hp_lambda_reg"]),
            projection=4,
        ),
    ).double()
    method.projector = network
    with torch.no_grad():
        network[0].weight.copy_(case["in_net_w"])
    x1 = case["in_x1"]
    x2 = case["in_x2"]
    index = 10 * torch.arange(len(case["in_x1"])).flip(0)
    share = case["hp_mix"].double().expand(len(x1))
    mixed = share[:, None] * x1 + (1 - share[:, None]) * x2[case["in_perm"]]
    batch = Batch([x1, x2, mixed], index, extra={"share": share, "partner": index[case["in_perm"]]})
    terms = method.loss(method(batch))
    close(terms["barlow_twins"], case["out_loss_bt"])
    close(terms["mixing"], case["out_loss_mix"])
    sum(terms.values()).backward()
    close(network[0].weight.grad, case["out_grad_net_w"])


def test_mixed_barlow_twins_mixes_first_views_with_second_views_of_other_samples() -> None:
    method = mixed_twins({})
    batch = Batch([torch.randn(8, 3, 4, 4) for _ in range(2)], 3 * torch.arange(8))
    prepared = method.prepare(batch, torch.Generator().manual_seed(5))
    first, second, mixed = prepared.views
    share = prepared.extra["share"]
    rows = prepared.extra["partner"] // 3
    assert len(share.unique()) == 1
    assert 0 <= share[0] <= 1
    assert sorted(rows.tolist()) == list(range(8))
    torch.testing.assert_close(mixed, share[0] * first + (1 - share[0]) * second[rows])
    again = method.prepare(batch, torch.Generator().manual_seed(5))
    assert torch.equal(again.views[2], mixed)
    assert len(batch.views) == 2, "the batch itself stays as it is"


def test_mixed_barlow_twins_weight_rises_along_the_ramp() -> None:
    plain = mixed_twins({"regularisation": 3.0})
    ramped = mixed_twins({"regularisation": 3.0, "ramp": 0.5})
    outputs = plain(batch_for(plain))
    full = plain.loss(outputs)["mixing"]
    for progress, share in ((0.0, 0.0), (0.2, 0.4), (0.9, 1.0)):
        ramped.progress = progress
        torch.testing.assert_close(ramped.loss(outputs)["mixing"], share * full)


@pytest.mark.parametrize("unit", [False, True])
def test_mixed_barlow_twins_brings_rows_to_unit_length_when_asked(unit: bool) -> None:
    method = mixed_twins({"unit_rows": unit})
    outputs = method(batch_for(method))
    lengths = torch.stack([outputs[name].norm(dim=1) for name in ("z1", "z2", "mixed")])
    assert torch.allclose(lengths, torch.ones(3, 8)) == unit


def test_mixed_barlow_twins_refuses_a_batch_whose_partners_are_missing() -> None:
    method = mixed_twins({})
    outputs = method(batch_for(method)[:3])
    with pytest.raises(UserError, match=r"relates samples to one another, but [1-3] of them"):
        method.loss(outputs)


def test_barlow_twins_reference_loss(golden: Any) -> None:
    case = golden("a-barlow-case2")
    method = build(BarlowTwins, {"projection": 16, "off_diagonal": float(case["hp_lambda"])})
    loss = method.loss({"z1": case["in_z1"].requires_grad_(), "z2": case["in_z2"]})["barlow_twins"]
    close(loss, case["out_loss"])
    close(torch.autograd.grad(loss, case["in_z1"])[0], case["out_grad_z1"])


def test_barlow_twins_networks_are_the_papers() -> None:
    method = build(BarlowTwins, {"projection": 16})
    kinds = [type(layer).__name__ for layer in method.projector]
    assert kinds == ["Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d", "ReLU", "Linear"]
    assert all(layer.bias is None for layer in method.projector if isinstance(layer, nn.Linear))
