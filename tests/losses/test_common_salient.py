"""SepCLR's alignment, uniformity and joint entropy: reference values and limits."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import normalize

from nearfar.losses.instance.common_salient import (
    alignment,
    attribute_alignment,
    joint_entropy,
    log_uniformity,
    sepclr,
    sepclr_with_attributes,
)
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
    weights = {
        "common": 1.0,
        "salient": case["hp_w_salient"],
        "background": case["hp_w_reg"],
        "joint_entropy": case["hp_w_jem"],
    }
    for ours, theirs in (
        ("common", "common"),
        ("salient", "salient"),
        ("background", "infoless"),
        ("joint_entropy", "kjem"),
    ):
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
    """With no gradient from elsewhere, a background row's salient projection is pulled to 0 and a
    target's is not.
    """
    s1 = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    c = torch.randn(4, 3, dtype=torch.float64)
    target = torch.tensor([True, True, False, False])
    (gradient,) = torch.autograd.grad(sepclr((c, c), (s1, s1), target)["background"], s1)
    assert (gradient[:2] == 0).all()
    torch.testing.assert_close(gradient[2:], s1.detach()[2:] / 0.5 / 2)


@pytest.mark.parametrize("z", degenerate())
def test_degenerate_embeddings_stay_finite(z: torch.Tensor) -> None:
    z = z.clone().requires_grad_()
    target = torch.tensor([True, False, True, False, True, False])
    finite_with_gradient(sum(sepclr((z, z), (z, z), target).values()), z)


@pytest.mark.parametrize("discrete", [False, True])
def test_terms_with_attributes_equal_their_loop(discrete: bool) -> None:
    c1, c2 = torch.randn(2, 6, 3, dtype=torch.float64)
    x = torch.randn(6, 2, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([1, 0, 1, 1, 0, 1]).bool()
    attributes = torch.tensor(
        [[0, 1], [9, 9], [1, 1], [0, 0], [9, 9], [1, 2]], dtype=torch.float64
    ) / (1 if discrete else 10)
    found = sepclr_with_attributes((c1, c2), x, attributes, target, discrete=discrete)
    u1 = normalize(c1, dim=1)
    u2 = normalize(c2, dim=1)
    chosen = target.nonzero().flatten().tolist()
    pairs = [(i, j) for i in range(6) for j in range(i + 1, 6)]
    spread = [sum((-((u[i] - u[j]) ** 2).sum()).exp() for i, j in pairs) / 15 for u in (u1, u2)]
    torch.testing.assert_close(
        found["common"], ((u1 - u2) ** 2).sum(1).mean() + (spread[0].log() + spread[1].log()) / 2
    )
    salient = []
    for a in range(2):
        y = [x[i, a] if target[i] else torch.zeros(()).double() for i in range(6)]
        uniform = (sum((-((y[i] - y[j]) ** 2)).exp() for i, j in pairs) / 15).log()
        alike = [
            ((attributes[i, a] - attributes[j, a]) ** 2 / (1e-5 if discrete else 0.05), i, j)
            for i in chosen
            for j in chosen
            if i < j
        ]
        aligned = sum((-d).exp() * (x[i, a] - x[j, a]) ** 2 for d, i, j in alike) / len(alike)
        still = sum(x[i, a] ** 2 for i in (1, 4)) / 2 / (1.0 if discrete else 0.05)
        salient.append(uniform + (aligned + still) / 2)
    torch.testing.assert_close(found["salient"], sum(salient) / 2)
    torch.testing.assert_close(found["joint_entropy"], joint_entropy(u1, x * target[:, None]))
    (gradient,) = torch.autograd.grad(found["joint_entropy"], x)
    assert (gradient[~target] == 0).all(), "background rows are constants in the joint entropy"


@pytest.mark.parametrize("distance", [10.0, 1e3, 1e4])
def test_rows_far_apart_lose_nothing_in_float32(distance: float) -> None:
    """Clusters far from one another: what counts are the small distances within them."""
    place = distance * torch.randn(4, 3).repeat_interleave(6, dim=0)
    far = (place + torch.randn(24, 3)).requires_grad_()
    exact = far.detach().double().requires_grad_()
    losses = [
        log_uniformity,
        lambda z: joint_entropy(z, z[:, :2]),
        lambda z: joint_entropy(z[:, :1], z),
    ]
    for loss in losses:
        found = loss(far)
        expected = loss(exact)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-6)
        (gradient,) = torch.autograd.grad(found, far)
        (wanted,) = torch.autograd.grad(expected, exact)
        torch.testing.assert_close(
            gradient.double(), wanted, rtol=0, atol=2e-6 * wanted.abs().max().item()
        )


@pytest.mark.parametrize(
    "shapes", [((4, 3), (5, 2)), ((4,), (4, 2)), ((4, 3), (4, 2, 1)), ((0, 3), (0, 2))]
)
def test_joint_entropy_names_wrong_shapes(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match=r"common \(N, D\) and salient \(N, E\) must be matrices"):
        joint_entropy(torch.randn(shapes[0]), torch.randn(shapes[1]))
