"""The fixed head: reference values, no head at kappa 1, and the linear theory of what lies before
and after a head.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from nearfar.errors import UserError
from nearfar.losses.instance.contrastive import nt_xent
from nearfar.losses.instance.spectral import feature_gains
from nearfar.losses.supervised.supervised import supcon
from nearfar.methods.instance.fixed_head import FixedHead
from nearfar.networks.reweighting import Reweighting
from nearfar.testing import METHOD_CHECKS, Case
from tests.losses.cases import close, leaves, named

from .toys import Identity, batch_for, build, spec_of


@pytest.mark.parametrize("name", named("b-projhead-fixed-*"))
def test_reference_head(golden: Any, name: str) -> None:
    case = golden(name)
    (h,) = leaves(case, "h")
    head = Reweighting(h.shape[1], case["hp_kappa"].item(), dtype=torch.float64)
    close(head.weight, case["out_weights"])
    close(head(h), case["out_z"])
    unit = normalize(head(h), dim=1)
    close(unit, case["out_z_norm"])
    (unit * case["in_cotangent"]).sum().backward()
    close(h.grad, case["out_grad_h"])


def test_kappa_one_is_no_head_and_the_head_never_learns() -> None:
    method = build(FixedHead, {"kappa": 1.0}).train()
    outputs = method(batch_for(method))
    views = torch.cat(batch_for(method).views)
    assert torch.equal(method.project(views), method.encode(views))
    torch.testing.assert_close(
        method.loss(outputs)["nt_xent"], nt_xent(outputs["z1"], outputs["z2"], temperature=0.5)
    )
    assert not list(method.head.parameters())
    steep = build(FixedHead, {"kappa": 1.5}).eval()
    ratio = steep.project(views) / steep.encode(views)
    torch.testing.assert_close(ratio[:, 3].nanmean(), torch.tensor(1.5**-3))


def test_supervised_losses_see_the_head_and_the_labels() -> None:
    method = FixedHead(
        Identity(12), spec_of(FixedHead), FixedHead.Settings(loss="supcon", kappa=2.0)
    ).train()
    batch = batch_for(build(FixedHead, {}))
    batch.views = [torch.randn(8, 12), torch.randn(8, 12)]
    loss = method.loss(method(batch))["supcon"]
    weighted = normalize(torch.stack(batch.views, dim=1) * 2.0 ** -torch.arange(12), dim=-1)
    torch.testing.assert_close(
        loss, supcon(weighted, batch.label, temperature=0.5, base_temperature=0.5)
    )
    batch.label = torch.arange(8)
    assert method.loss(method(batch))["supcon"] != loss


@pytest.mark.parametrize(
    "settings", [{"loss": "supcon"}, {"loss": "cross-entropy"}, {"head": "mlp"}]
)
@pytest.mark.parametrize(
    "check", ["runs", "gradient_reaches_parameters", "gradient_matches_differences", "resumes"]
)
def test_variants_pass_the_battery(settings: dict[str, str], check: str) -> None:
    METHOD_CHECKS[check](Case(FixedHead, settings=settings))


def test_mistakes_are_named() -> None:
    with pytest.raises(UserError, match=r"Setting kappa is 0\.0; expected a number above 0"):
        build(FixedHead, {"kappa": 0.0})
    unlabelled = dataclasses.replace(spec_of(FixedHead), target="none", classes=())
    with pytest.raises(UserError, match="learns from class labels, but toy has none"):
        FixedHead(Identity(4), unlabelled, FixedHead.Settings(loss="supcon"))


def test_gains_before_a_linear_head_are_the_roots_of_those_after_it() -> None:
    """Gradient descent on the population's spectral loss of two linear layers. The start is
    balanced; from a small random start layers are nearly so, but weak features then need some
    40,000 steps.
    """
    strength = torch.tensor([3.0, 2.0, 1.5, 1.0, 0.7, 0.5], dtype=torch.float64)
    noise = torch.full((6,), 0.8, dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64))[0]
    second = rotation @ torch.diag(strength**2 + noise**2) @ rotation.T
    pair = rotation @ torch.diag(strength**2) @ rotation.T
    first, last = (
        0.3 * torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64))[0] for _ in range(2)
    )
    for _ in range(4000):
        both = last @ first
        slope = 4 * (both @ second @ both.T @ both @ second - both @ pair)
        first, last = first - 0.02 * last.T @ slope, last - 0.02 * slope @ first.T
    after, before = feature_gains(strength, noise, 6)
    torch.testing.assert_close(_gains(last @ first, rotation), after, rtol=0, atol=1e-3)
    torch.testing.assert_close(_gains(first, rotation), before, rtol=0, atol=1e-2)
    torch.testing.assert_close(last.T @ last, first @ first.T, rtol=0, atol=1e-2)


def _gains(weight: Tensor, features: Tensor) -> Tensor:
    """||W v_j|| for the unit columns v_j."""
    return (weight @ features).norm(dim=0)
