"""SepCLR's alignment, uniformity and joint entropy: reference values and limits."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import normalize

from nearfar.losses.common_salient import alignment, attribute_alignment, joint_entropy, log_uniformity, sepclr
from tests.losses.cases import close, degenerate, finite_with_gradient, leaves, named


@pytest.mark.parametrize("name", named("b-sepclr-align-*"))
def test_alignment_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    x, y = leaves(case, "x", "y")
    loss = alignment(x, y, temperature=case["hp_tau"].item())
    loss.backward()
    close(loss, case["out_loss"])
    close(x.grad, case["out_grad_x"])
    close(y.grad, case["out_grad_y"])


@pytest.mark.parametrize("name", named("b-sepclr-uniform-*"))
def test_uniformity_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    (x,) = leaves(case, "x")
    loss = log_uniformity(x, temperature=case["hp_tau"].item())
    loss.backward()
    close(loss, case["out_loss"])
    close(x.grad, case["out_grad_x"])


@pytest.mark.parametrize("name", named("b-sepclr-kjem-*"))
def test_joint_entropy_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    c, s = leaves(case, "c", "s")
    loss = joint_entropy(normalize(c, dim=1), s, temperature=case["hp_tau"].item())
    loss.backward()
    close(loss, case["out_loss"])
    close(c.grad, case["out_grad_c"])
    close(s.grad, case["out_grad_s"])


@pytest.mark.parametrize("name", ["b-sepclr-supalign", "b-sepclr-discretealign"])
def test_attribute_alignment_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    (x,) = leaves(case, "x")
    loss = attribute_alignment(x, case["in_y"], bandwidth=case["hp_tau"].item())
    loss.backward()
    close(loss, case["out_loss"])
    close(x.grad, case["out_grad_x"])


@pytest.mark.parametrize("name", named("b-sepclr-total-*"))
def test_all_terms_equal_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    c1, c2, s1, s2 = leaves(case, "c1", "c2", "s1", "s2")
    terms = sepclr((c1, c2), (s1, s2), case["in_labels"].bool(), temperature=case["hp_tau"].item())
    weights = {"common": 1.0, "salient": case["hp_w_salient"], "background": case["hp_w_reg"], "joint_entropy": case["hp_w_jem"]}
    for ours, theirs in (("common", "common"), ("salient", "salient"), ("background", "infoless"), ("joint_entropy", "kjem")):
        close(terms[ours], case[f"out_{theirs}"])
    total = sum(weights[name] * term for name, term in terms.items())
    total.backward()
    close(total, case["out_loss"])
    for leaf, key in ((c1, "c1"), (c2, "c2"), (s1, "s1"), (s2, "s2")):
        close(leaf.grad, case[f"out_grad_{key}"])


def test_limits_and_invariances() -> None:
    z = torch.randn(7, 3, dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0]
    torch.testing.assert_close(log_uniformity(z @ rotation), log_uniformity(z))
    torch.testing.assert_close(log_uniformity(torch.ones(4, 2).double()), torch.zeros(()).double())
    torch.testing.assert_close(joint_entropy(1e3 * z, z), -torch.tensor(7.0).double().log())
    assert alignment(z, z).item() == 0
    assert alignment(z[:0], z[:0]).item() == 0


def test_background_rows_are_told_to_be_zero_in_the_salient_space_only() -> None:
    """With no gradient from elsewhere, a background row's salient projection is pulled to 0 and a target's is not."""
    s1 = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    c, target = torch.randn(4, 3, dtype=torch.float64), torch.tensor([True, True, False, False])
    (gradient,) = torch.autograd.grad(sepclr((c, c), (s1, s1), target)["background"], s1)
    assert (gradient[:2] == 0).all()
    torch.testing.assert_close(gradient[2:], s1.detach()[2:] / 0.5 / 2)


@pytest.mark.parametrize("z", degenerate())
def test_degenerate_embeddings_stay_finite(z: torch.Tensor) -> None:
    z, target = z.clone().requires_grad_(), torch.tensor([True, False, True, False, True, False])
    finite_with_gradient(sum(sepclr((z, z), (z, z), target).values()), z)
