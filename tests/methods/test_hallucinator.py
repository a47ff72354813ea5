"""Hallucinator: reference values, gradients, the host unchanged at weight 0, and what extrapolation
does to a cosine.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import cosine_similarity, normalize

from nearfar.methods.hosted.hallucinator import HOSTS, Hallucinator
from nearfar.testing import METHOD_CHECKS, Case, toy
from nearfar.testing.steps import train
from tests.losses.cases import close, leaves, named

from .toys import batch_for, build

SMALL = {"queue": 20, "hidden": 16, "projection": 8, "bottleneck": 4}


@pytest.mark.parametrize("name", named("b-hallucinator-moco-*"))
def test_reference_step(golden: Any, name: str) -> None:
    case = golden(name)
    (query,) = leaves(case, "q")
    width = query.shape[1]
    key = case["in_k"]
    settings = {
        "host": "moco-v2",
        "queue": case["in_queue"].shape[1],
        "projection": width,
        "temperature": case["hp_temperature"].item(),
    }
    method = build(Hallucinator, settings).double()
    method.host.queue.rows.copy_(case["in_queue"].T)
    for place, weight, bias in (
        (0, case["in_W1"], case["in_b1"]),
        (2, case["in_W2"], case["in_b2"]),
    ):
        method.hallucinate[place].load_state_dict({"weight": weight, "bias": bias})
    method.host.forward = lambda batch: {"query": query, "key": key}
    batch = batch_for(method, samples=len(query))
    batch.extra["share"] = case["in_lambda"]
    outputs = method(batch)
    close(outputs["hallucinated_query"], case["out_hallucinated"])
    terms = method.loss(outputs)
    close(terms["info_nce"], case["out_loss_base"])
    close(terms["hallucinated"], case["out_loss_hallucinated"])
    total = sum(terms.values())
    total.backward()
    close(total, case["out_loss"])
    close(query.grad, case["out_grad_q"])
    close(method.hallucinate[0].weight.grad, case["out_grad_W1"])
    close(method.hallucinate[2].weight.grad, case["out_grad_W2"])


@pytest.mark.parametrize("host", HOSTS)
def test_without_weight_it_is_the_host_to_the_bit(host: str) -> None:
    kind = HOSTS[host]
    own = {name: value for name, value in SMALL.items() if name in vars(kind.Settings())}
    expected_method, batch = toy(kind, settings=own)
    method, _ = toy(
        Hallucinator, settings={**SMALL, "host": host, "weight": 0.0, **_momentum(expected_method)}
    )
    found = train(method, batch)
    expected = train(expected_method, batch)
    assert [t["loss"].item() for t in found["terms"]] == [
        t["loss"].item() for t in expected["terms"]
    ]
    for name, value in expected["state"].items():
        assert torch.equal(found["state"][f"host.{name}"], value), name


def _momentum(method: Any) -> dict[str, float]:
    return {
        name: value
        for name, value in vars(method.settings).items()
        if name in ("momentum", "temperature")
    }


@pytest.mark.parametrize("host", HOSTS)
def test_gradients_reach_encoder_and_both_layers_from_the_hallucinated_term_alone(
    host: str,
) -> None:
    method = build(Hallucinator, {**SMALL, "host": host}).train()
    method.loss(method(batch_for(method)))["hallucinated"].backward()
    for parameter in (
        next(method.encoder.parameters()),
        method.hallucinate[0].weight,
        method.hallucinate[2].weight,
    ):
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0


def test_extrapolation_never_brings_unit_vectors_of_acute_angle_nearer() -> None:
    method = build(Hallucinator, {**SMALL, "form": "identity"}).double()
    batch = batch_for(method, samples=500)
    for dimension in (2, 3, 16):
        query, key = normalize(torch.randn(2, 500, dimension, dtype=torch.float64), dim=2)
        key = torch.where((query * key).sum(1, keepdim=True) < 0, -key, key)
        batch.extra["share"] = 5 * torch.rand(500, 1, dtype=torch.float64)
        harder = method.harder(query, key, batch)
        assert (cosine_similarity(harder, key) <= cosine_similarity(query, key) + 1e-12).all()


def test_shares_are_drawn_for_each_sample_and_pushed_by_the_concentration() -> None:
    generator = torch.Generator().manual_seed(0)
    method = build(Hallucinator, {**SMALL, "form": "identity", "host": "simclr"}).train()
    batch = method.prepare(batch_for(method), generator)
    outputs = method(batch)
    q = outputs["z1"]
    k = outputs["z2"]
    share = ((outputs["hallucinated_z1"] - q) / (q - k)).mean(1)
    torch.testing.assert_close(share, batch.extra["share"][:, 0], rtol=1e-3, atol=1e-3)
    assert not torch.equal(method.prepare(batch, generator).extra["share"], batch.extra["share"])
    many = batch_for(method, samples=2000)
    for concentration in (1.0, 3.0):
        pushed = (
            build(Hallucinator, {**SMALL, "concentration": concentration})
            .prepare(many, generator)
            .extra["share"]
        )
        assert 0 <= pushed.min() <= pushed.max() < 1
        assert pushed.mean().item() == pytest.approx(concentration / (concentration + 1), abs=0.02)


def test_views_have_their_centres_apart_and_are_the_hosts_otherwise() -> None:
    method = build(Hallucinator, {**SMALL, "host": "moco-v2", "centre_distance": 0.15})
    assert method.wanted_views.centre_distance == 0.15
    assert method.wanted_views.whole_scale == (0.2, 1.0)
    series, _ = toy(Hallucinator, "series")
    assert series.wanted_views.centre_distance == 0


VARIANTS: list[dict[str, Any]] = [
    {"host": "moco-v2"},
    {"host": "simsiam", "form": "norm"},
    {"host": "simclr", "form": "identity"},
]


@pytest.mark.parametrize("settings", VARIANTS)
@pytest.mark.parametrize(
    "check", ["runs", "gradient_reaches_parameters", "resumes", "gradient_cache_equals_plain"]
)
def test_hosts_and_forms_pass_the_battery(settings: dict[str, str], check: str) -> None:
    METHOD_CHECKS[check](Case(Hallucinator, settings=settings))
