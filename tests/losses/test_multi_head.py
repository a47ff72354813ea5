"""AMCL: reference values, loops over pairs, the regulariser, and what a learned temperature settles
at.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import linear

from nearfar.losses.instance.multi_head import (
    amcl,
    amcl_barlow_twins,
    amcl_info_nce,
    amcl_simsiam,
    gaussian_regulariser,
    pair_temperature,
)
from nearfar.losses.kernels.similarity import unit
from tests.losses.cases import close, degenerate, finite_with_gradient, leaves, named
from tests.losses.precision import agrees_in_lower_precision


def omega(tau: Tensor, dimension: int) -> Tensor:
    return dimension / 2 * tau.log() + 1 / tau


def learned(dimension: int) -> Callable[[Tensor, Tensor], Tensor]:
    """A pair temperature made by one random linear map."""
    weight = torch.randn(
        3, dimension, generator=torch.Generator().manual_seed(5), dtype=torch.float64
    )
    return lambda a, b: pair_temperature(
        linear(a, weight.to(a)), linear(b, weight.to(b)), lowest=0.1
    )


@pytest.mark.parametrize("name", named("a-amcl-simclr-case*"))
def test_simclr_form_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    z1, z2, weight, bias = leaves(case, "z1", "z2", "phi_w", "phi_b")
    lowest, highest, beta = (float(case[f"hp_{part}"]) for part in ("tau_min", "tau_max", "beta"))
    hardest = int(case["hp_topk"])

    def temperature(first: Tensor, second: Tensor) -> Tensor:
        outputs = linear(first, weight, bias), linear(second, weight, bias)
        return pair_temperature(*outputs, lowest=lowest, highest=highest)

    loss = amcl(z1, z2, temperature=temperature, beta=beta, hardest=hardest)
    close(loss, case["out_loss"])
    gradients = torch.autograd.grad(loss, (z1, z2, weight, bias))
    for gradient, part in zip(gradients, ("z1", "z2", "phi_w", "phi_b"), strict=True):
        close(gradient, case[f"out_grad_{part}"])
    close(temperature(unit(z1)[:, :, None], unit(z2)[:, None]), case["out_tau"])
    close(amcl(z1, z2, temperature=case["out_tau"], beta=beta, hardest=hardest), case["out_loss"])


@pytest.mark.parametrize("name", named("a-amcl-barlow-case*"))
def test_barlow_form_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    z1, z2, tau = leaves(case, "z1", "z2", "tau")
    loss = amcl_barlow_twins(
        z1, z2, temperature=tau, off_diagonal=float(case["hp_lambda"]), beta=float(case["hp_beta"])
    )
    close(loss, case["out_loss"])
    for gradient, part in zip(
        torch.autograd.grad(loss, (z1, z2, tau)), ("z1", "z2", "tau"), strict=True
    ):
        close(gradient, case[f"out_grad_{part}"])


def looped(
    first: Tensor,
    second: Tensor,
    tau: Callable[[Tensor, Tensor], Tensor],
    beta: float,
    hardest: int,
    queue: Tensor | None,
) -> Tensor:
    heads, samples, dimension = first.shape
    a = unit(first)
    b = unit(second)
    total = []
    for c in range(heads):
        for i in range(samples):
            own = tau(a[c, i], b[c, i])
            loss = -(a[c, i] @ b[c, i]) / own + beta * omega(own, dimension)
            others = (
                [b[c, j] for j in range(samples) if j != i] if queue is None else list(queue[c])
            )
            nearest = sorted(others, key=lambda other: -(a[c, i] @ other).item())[:hardest]
            for other in nearest:
                pair = tau(a[c, i], other)
                loss = loss + ((a[c, i] @ other) / pair - beta * omega(pair, dimension)) / len(
                    nearest
                )
            total.append(loss)
    return torch.stack(total).sum() / samples


@pytest.mark.parametrize("hardest", [1, 2, 10])
@pytest.mark.parametrize("queued", [False, True])
@pytest.mark.parametrize("samples", [2, 5])
def test_equals_its_loop(hardest: int, queued: bool, samples: int) -> None:
    z1, z2 = torch.randn(2, 3, samples, 4, dtype=torch.float64).requires_grad_()
    queue = unit(torch.randn(3, 6, 4, dtype=torch.float64)) if queued else None
    tau = learned(4)
    found = amcl(z1, z2, temperature=tau, queue=queue, beta=0.3, hardest=hardest)
    expected = looped(z1, z2, tau, 0.3, hardest, queue)
    torch.testing.assert_close(found, expected)
    for x, y in zip(
        *(torch.autograd.grad(loss, (z1, z2)) for loss in (found, expected)), strict=True
    ):
        torch.testing.assert_close(x, y)


def test_temperatures_may_be_given_as_values() -> None:
    z1, z2 = torch.randn(2, 2, 5, 4, dtype=torch.float64)
    queue = unit(torch.randn(2, 6, 4, dtype=torch.float64))
    tau = learned(4)
    (a, b) = (unit(z1), unit(z2))
    pairs = tau(a[:, :, None], b[:, None])
    torch.testing.assert_close(
        amcl(z1, z2, temperature=pairs, hardest=2), amcl(z1, z2, temperature=tau, hardest=2)
    )
    columns = torch.cat([tau(a, b)[..., None], tau(a[:, :, None], queue[:, None])], dim=2)
    expected = amcl(z1, z2, temperature=tau, queue=queue, hardest=3)
    torch.testing.assert_close(amcl(z1, z2, temperature=columns, queue=queue, hardest=3), expected)


def test_one_head_constant_temperature_is_the_hardest_triplet() -> None:
    z1, z2 = torch.randn(2, 1, 6, 4, dtype=torch.float64)
    similarity = (unit(z1) @ unit(z2).mT)[0]
    positive = similarity.diagonal()
    hardest = similarity.masked_fill(torch.eye(6, dtype=torch.bool), -math.inf).amax(dim=1)
    expected = ((hardest - positive) / 0.4).mean()
    torch.testing.assert_close(amcl(z1, z2, temperature=0.4, beta=0.0), expected)
    torch.testing.assert_close(
        amcl(z1, z2, temperature=0.4, beta=0.7), expected
    )  # equal temperatures cancel
    either = ((similarity.amax(dim=1) - positive) / 0.4).mean()
    torch.testing.assert_close(amcl_info_nce(z1, z2, temperature=0.4, beta=0.7), either)


def test_heads_add_up() -> None:
    z1, z2 = torch.randn(2, 3, 5, 4, dtype=torch.float64)
    tau = learned(4)
    single = [amcl(z1[c : c + 1], z2[c : c + 1], temperature=tau) for c in range(3)]
    torch.testing.assert_close(amcl(z1, z2, temperature=tau), torch.stack(single).sum())


def test_simsiam_form_equals_its_loop_and_stops_gradients() -> None:
    p1, p2, z1, z2 = (
        torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True) for _ in range(4)
    )
    tau = learned(3)
    terms = []
    for c in range(2):
        for n in range(4):
            for p, z in ((p1, z2), (p2, z1)):
                a = unit(p[c, n])
                b = unit(z[c, n]).detach()
                terms.append(-(a @ b) / (2 * tau(a, b)) + 0.2 * omega(tau(a, b), 3))
    loss = amcl_simsiam(p1, p2, z1, z2, temperature=tau, beta=0.2)
    torch.testing.assert_close(loss, torch.stack(terms).sum() / 4)
    assert torch.autograd.grad(loss, (z1, z2), allow_unused=True, retain_graph=True) == (None, None)
    assert all(g.abs().sum() > 0 for g in torch.autograd.grad(loss, (p1, p2)))


def test_barlow_form_equals_its_loop() -> None:
    z1, z2 = torch.randn(2, 2, 6, 3, dtype=torch.float64)
    tau = torch.rand(2, 3, 3, dtype=torch.float64) + 0.5
    total = 0.0
    for c in range(2):
        a, b = ((z[c] - z[c].mean(0)) / z[c].std(0, correction=0) for z in (z1, z2))
        for i in range(3):
            for j in range(3):
                entry = (a[:, i] * b[:, j]).mean()
                t = tau[c, i, j]
                if i == j:
                    total += (1 - entry / t) ** 2 + 0.1 * omega(t, 3)
                else:
                    total += 0.0051 * entry**2 / t - 0.1 * omega(t, 3)
    torch.testing.assert_close(amcl_barlow_twins(z1, z2, temperature=tau), total)


@pytest.mark.parametrize("dimension", [2, 16])
def test_regulariser_is_least_at_two_over_the_dimension(dimension: int) -> None:
    tau = torch.tensor(2 / dimension, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(gaussian_regulariser(tau, dimension), tau)
    assert gradient.item() == pytest.approx(0.0, abs=1e-12)
    assert gaussian_regulariser(1.1 * tau, dimension) > gaussian_regulariser(tau, dimension)
    assert gaussian_regulariser(0.9 * tau, dimension) > gaussian_regulariser(tau, dimension)


def test_at_full_weight_the_best_temperature_is_the_variance() -> None:
    """beta = 1: the positive part is a Gaussian likelihood, least at tau = 2 (1 - similarity) / d,
    so it falls with similarity.
    """
    similarity = torch.tensor([0.2, 0.6, 0.9], dtype=torch.float64)
    tau = (2 * (1 - similarity) / 8).requires_grad_()
    (gradient,) = torch.autograd.grad((gaussian_regulariser(tau, 8) - similarity / tau).sum(), tau)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-10)


def test_temperatures_stay_in_their_range() -> None:
    a, b = torch.randn(2, 100, 4) * 100
    tau = pair_temperature(a, b, lowest=0.05, highest=2.0)
    assert tau.min() >= 0.05
    assert tau.max() <= 2.0
    assert pair_temperature(torch.zeros(3), torch.ones(3)).item() == pytest.approx((0.05 + 2.0) / 2)


@pytest.mark.parametrize(
    "shapes", [((2, 1, 3), (2, 1, 3)), ((2, 4, 3), (2, 5, 3)), ((4, 3), (4, 3))]
)
def test_impossible_shapes_are_refused(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match=r"needs two tensors \(C, N, D\)"):
        amcl(*(torch.randn(shape) for shape in shapes), temperature=0.1)


def test_queue_gets_no_gradient() -> None:
    z1, z2, queue = (torch.randn(2, 4, 3, requires_grad=True) for _ in range(3))
    loss = amcl(z1, z2, temperature=learned(3), queue=queue)
    assert torch.autograd.grad(loss, queue, allow_unused=True) == (None,)


FORMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "simclr": lambda a, b: amcl(a, b, temperature=learned(a.shape[-1]), hardest=2),
    "info_nce": lambda a, b: amcl_info_nce(a, b, temperature=learned(a.shape[-1])),
    "simsiam": lambda a, b: amcl_simsiam(a, b, b, a, temperature=learned(a.shape[-1])),
    "barlow": lambda a, b: amcl_barlow_twins(
        a, b, temperature=torch.full((a.shape[-1],) * 2, 0.5, dtype=torch.float64).to(a)
    ),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("z", degenerate())
def test_degenerate_embeddings_stay_finite(form: str, z: Tensor) -> None:
    for rows in (z, z[1:3]):
        first = torch.stack([rows, rows.flip(0)]).requires_grad_()
        second = torch.stack([rows, rows]).requires_grad_()
        finite_with_gradient(FORMS[form](first, second), first, second)


@pytest.mark.parametrize("form", FORMS)
def test_lower_precision(form: str) -> None:
    agrees_in_lower_precision(FORMS[form], *torch.randn(2, 3, 24, 8), rtol=3e-4)


@pytest.mark.parametrize("form", ["simclr", "barlow"])
def test_gradcheck(form: str) -> None:
    z1, z2 = torch.randn(2, 2, 4, 3, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(FORMS[form], (z1, z2))
