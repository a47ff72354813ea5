"""DCL and DCLW: reference values, loops, the gradient on the positive, and what they share with
NT-Xent.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from nearfar.losses.instance.contrastive import nt_xent
from nearfar.losses.instance.decoupled import (
    coupling,
    cross_view_dcl,
    dcl,
    dclw,
    nnclr_dcl,
    positive_weights,
    queue_dcl,
)
from nearfar.losses.kernels.similarity import unit
from tests.losses.cases import close, degenerate, finite_with_gradient, leaves, named
from tests.losses.precision import agrees_in_lower_precision, saved_sizes


@pytest.mark.parametrize("name", named("a-dcl-case*"))
def test_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    z1, z2 = leaves(case, "z1", "z2")
    tau = float(case["hp_temperature"])
    sigma = float(case["hp_sigma"])
    for key, loss in {
        "dcl": dcl(z1, z2, temperature=tau),
        "dclw": dclw(z1, z2, temperature=tau, sigma=sigma),
    }.items():
        close(loss, case[f"out_loss_{key}"])
        for gradient, view in zip(torch.autograd.grad(loss, (z1, z2)), ("z1", "z2"), strict=True):
            close(gradient, case[f"out_grad_{view}_{key}"])
    close(positive_weights(z1, z2, sigma=sigma), case["out_weight_dclw"])


@pytest.mark.parametrize("name", named("a-dcl-case*"))
def test_the_unofficial_code_differs_by_leaky_masks_and_weights_with_gradient(
    golden: Any, name: str
) -> None:
    case = golden(name)
    tau = float(case["hp_temperature"])
    sigma = float(case["hp_sigma"])
    for key in ("dcl", "dclw"):
        z1 = unit(case["in_z1"]).requires_grad_()
        z2 = unit(case["in_z2"])
        hidden = math.log(1e-45) * torch.eye(len(z1), dtype=torch.float64)
        losses = []
        for a, b in ((z1, z2), (z2, z1)):
            cross = a @ b.T / tau
            same = a @ a.T / tau
            negatives = torch.logsumexp(torch.cat([same + hidden, cross + hidden], dim=1), dim=1)
            weight = (
                1.0
                if key == "dcl"
                else 2 - len(a) * torch.softmax(cross.diagonal() * tau / sigma, dim=0)
            )
            losses.append((negatives - weight * cross.diagonal()).mean())
        loss = (losses[0] + losses[1]) / 2
        close(loss, case[f"out_loss_{key}_raminnakhli"])
        close(torch.autograd.grad(loss, z1)[0], case[f"out_grad_unit_z1_{key}_raminnakhli"])


def looped(z1: Tensor, z2: Tensor, temperature: float, sigma: float | None) -> Tensor:
    """One row at a time, both directions."""
    first = unit(z1)
    second = unit(z2)
    positives = (first * second).sum(dim=1).detach()
    total = []
    for n in range(len(z1)):
        weight = (
            1.0
            if sigma is None
            else 2 - (positives[n] / sigma).exp() / (positives / sigma).exp().mean()
        )
        for a, b in ((first, second), (second, first)):
            negatives = [
                a[n] @ x[m] / temperature for x in (a, b) for m in range(len(z1)) if m != n
            ]
            total.append(
                torch.logsumexp(torch.stack(negatives), dim=0)
                - weight * (a[n] @ b[n]) / temperature
            )
    return torch.stack(total).view(len(z1), 2).mean(dim=1)


@pytest.mark.parametrize("samples", [2, 3, 9])
@pytest.mark.parametrize("temperature", [0.07, 1.0])
@pytest.mark.parametrize("sigma", [None, 0.5])
def test_equals_its_loop(samples: int, temperature: float, sigma: float | None) -> None:
    z1, z2 = torch.randn(2, samples, 4, dtype=torch.float64).requires_grad_()
    if sigma is None:
        found = dcl(z1, z2, temperature=temperature, reduction="none")
    else:
        found = dclw(z1, z2, temperature=temperature, sigma=sigma, reduction="none")
    expected = looped(z1, z2, temperature, sigma)
    torch.testing.assert_close(found, expected)
    for x, y in zip(
        *(torch.autograd.grad(loss.sum(), (z1, z2)) for loss in (found, expected)), strict=True
    ):
        torch.testing.assert_close(x, y)


def test_cross_view_and_queue_forms_equal_their_loops() -> None:
    q, k = torch.randn(2, 5, 4, dtype=torch.float64)
    queue = unit(torch.randn(7, 4, dtype=torch.float64))
    uq = unit(q)
    uk = unit(k)
    crossed = []
    queued = []
    for n in range(5):
        own = uq[n] @ uk[n] / 0.3
        crossed.append(
            torch.stack([uq[n] @ uk[m] / 0.3 for m in range(5) if m != n]).logsumexp(0) - own
        )
        queued.append((queue @ uq[n] / 0.3).logsumexp(0) - own)
    torch.testing.assert_close(
        cross_view_dcl(q, k, temperature=0.3, reduction="none"), torch.stack(crossed)
    )
    torch.testing.assert_close(
        queue_dcl(q, k, queue, temperature=0.3, reduction="none"), torch.stack(queued)
    )


def test_nnclr_form_is_the_mean_of_both_directions() -> None:
    nn1, nn2, p1, p2 = (
        torch.randn(5, 4, dtype=torch.float64, requires_grad=True) for _ in range(4)
    )
    loss = nnclr_dcl(nn1, nn2, p1, p2, temperature=0.2)
    torch.testing.assert_close(
        loss,
        (cross_view_dcl(nn1, p2, temperature=0.2) + cross_view_dcl(nn2, p1, temperature=0.2)) / 2,
    )
    gradients = torch.autograd.grad(loss, (nn1, nn2, p1, p2), allow_unused=True)
    assert gradients[0] is None
    assert gradients[1] is None
    assert all(gradient.abs().sum() > 0 for gradient in gradients[2:])


@pytest.mark.parametrize("hardness", [0.0, 0.5, 0.999])
def test_gradient_on_the_positive_similarity(hardness: float) -> None:
    """Along the direction that moves s_ii alone: -1 / tau a row for DCL whatever the data;
    NT-Xent's fades for easy pairs.

    Rows live in orthogonal planes, one a pair, so turning a pair towards each other changes no
    other similarity.
    """
    angle = torch.tensor(math.acos(hardness), dtype=torch.float64)
    plane = torch.eye(8, dtype=torch.float64)
    z1 = plane[::2]
    z2 = angle.cos() * plane[::2] + angle.sin() * plane[1::2]
    turn = (-angle.sin() * plane[::2] + angle.cos() * plane[1::2]) / -angle.sin()
    found = {}
    for loss in (dcl, nt_xent):
        moving = z2.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(z1, moving, temperature=0.1), moving)
        found[loss] = (gradient * turn).sum().item()
    assert found[dcl] == pytest.approx(-10.0)
    assert found[nt_xent] == pytest.approx(-10.0 * coupling(z1, z2, temperature=0.1).mean().item())
    assert hardness < 0.9 or abs(found[nt_xent]) < 0.01


def test_coupling_is_the_negatives_share_of_the_denominator() -> None:
    z1, z2 = torch.randn(2, 6, 4, dtype=torch.float64)
    gap = nt_xent(z1, z2, temperature=0.2) - dcl(z1, z2, temperature=0.2)
    torch.testing.assert_close(gap, -coupling(z1, z2, temperature=0.2).log().mean())


def test_weights_have_mean_one_prefer_far_pairs_and_pass_no_gradient() -> None:
    z1, z2 = torch.randn(2, 50, 6, dtype=torch.float64).requires_grad_()
    weights = positive_weights(z1, z2)
    assert not weights.requires_grad
    assert weights.mean().item() == pytest.approx(1.0)
    similarity = (unit(z1) * unit(z2)).sum(dim=1)
    assert weights.argsort().tolist() == similarity.argsort(descending=True).tolist()
    torch.testing.assert_close(dclw(z1, z2, sigma=1e9), dcl(z1, z2))


def test_the_loss_may_be_negative() -> None:
    z = torch.eye(4, dtype=torch.float64)
    assert dcl(z, z, temperature=0.1).item() == pytest.approx(math.log(6) - 10)


def test_key_and_queue_get_no_gradient() -> None:
    query, key, queue = (torch.randn(4, 3, requires_grad=True) for _ in range(3))
    loss = queue_dcl(query, key, queue)
    assert torch.autograd.grad(loss, (key, queue), allow_unused=True) == (None, None)


def test_keeps_no_similarity_matrix() -> None:
    z1, z2 = torch.randn(2, 300, 2).requires_grad_()
    with saved_sizes() as sizes:
        dclw(z1, z2)
    assert max(sizes) <= 600 * 2


FORMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "dcl": dcl,
    "dclw": dclw,
    "cross": cross_view_dcl,
    "queue": lambda z1, z2: queue_dcl(
        z1, z2, torch.eye(z1.shape[1], dtype=torch.float64).to(z1.dtype)
    ),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("z", degenerate())
def test_degenerate_embeddings_stay_finite(form: str, z: Tensor) -> None:
    for rows in (z, z[1:3]):
        z1 = rows.clone().requires_grad_()
        z2 = rows.flip(0).clone().requires_grad_()
        finite_with_gradient(FORMS[form](z1, z2), z1, z2)


@pytest.mark.parametrize("form", FORMS)
def test_lower_precision(form: str) -> None:
    agrees_in_lower_precision(FORMS[form], *torch.randn(2, 32, 16))


@pytest.mark.parametrize("temperature", [1e-3, 10.0])
def test_extreme_temperatures_stay_finite(temperature: float) -> None:
    z1, z2 = torch.randn(2, 8, 4).requires_grad_()
    finite_with_gradient(dcl(z1, z2, temperature=temperature), z1, z2)


@pytest.mark.parametrize("form", ["dcl", "dclw", "cross"])
def test_one_sample_has_no_negatives(form: str) -> None:
    with pytest.raises(ValueError, match="at least 2 rows"):
        FORMS[form](torch.randn(1, 3), torch.randn(1, 3))


def test_gradcheck() -> None:
    z1, z2 = torch.randn(2, 4, 3, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(dcl, (z1, z2))
    assert torch.autograd.gradcheck(cross_view_dcl, (z1, z2))
