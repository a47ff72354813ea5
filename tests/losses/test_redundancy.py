"""Barlow Twins and VICReg: authors' values and gradients, loop twins, both ways to the off-diagonal
sum, errors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from nearfar.losses import barlow_twins, vicreg, vicreg_terms
from tests.losses.cases import close, degenerate, finite_with_gradient, leaves, named

Golden = Callable[[str], dict[str, Tensor]]
F64 = torch.float64
SIZES = [(2, 3), (2, 4), (2, 9), (5, 3), (5, 10), (5, 11), (9, 1)]  # D below, at and above twice N


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=F64).requires_grad_()


@pytest.mark.parametrize("name", named("a-barlow-*"))
def test_barlow_twins_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    z1, z2 = leaves(case, "z1", "z2")
    loss = barlow_twins(z1, z2, off_diagonal=case["hp_lambda"].item())
    loss.backward()
    close(loss, case["out_loss"])
    close(z1.grad, case["out_grad_z1"])
    close(z2.grad, case["out_grad_z2"])


@pytest.mark.parametrize("name", named("a-vicreg-*"))
def test_vicreg_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    x, y = leaves(case, "x", "y")
    weights = (case[f"hp_{name}_coeff"].item() for name in ("sim", "std", "cov"))
    loss = vicreg(x, y, **dict(zip(("invariance", "variance", "covariance"), weights, strict=True)))
    loss.backward()
    for term, value in vicreg_terms(x, y).items():
        close(value, case[f"out_{term[:3]}"])
    close(loss, case["out_loss"])
    close(x.grad, case["out_grad_x"])
    close(y.grad, case["out_grad_y"])


def barlow_loop(z1: Tensor, z2: Tensor, off_diagonal: float) -> Tensor:
    n, dimensions = z1.shape
    x, y = ((z - z.mean(dim=0)) / (z.var(dim=0, unbiased=False) + 1e-5).sqrt() for z in (z1, z2))
    loss = z1.new_zeros(())
    for i in range(dimensions):
        for j in range(dimensions):
            c = sum(x[k, i] * y[k, j] for k in range(n)) / n
            loss = loss + ((c - 1) ** 2 if i == j else off_diagonal * c**2)
    return loss


def vicreg_loop(z1: Tensor, z2: Tensor) -> dict[str, Tensor]:
    n, dimensions = z1.shape
    variance = z1.new_zeros(())
    covariance = z1.new_zeros(())
    for z in (z1, z2):
        x = z - z.mean(dim=0)
        for i in range(dimensions):
            for j in range(dimensions):
                c = (x[:, i] * x[:, j]).sum() / (n - 1)
                if i == j:
                    variance = variance + (1 - (c + 1e-4).sqrt()).clamp(min=0) / dimensions / 2
                else:
                    covariance = covariance + c**2 / dimensions
    return {"invariance": ((z1 - z2) ** 2).mean(), "variance": variance, "covariance": covariance}


def same(found: Tensor, expected: Tensor, z1: Tensor, z2: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    for x, y in zip(
        *(torch.autograd.grad(v, (z1, z2), allow_unused=True) for v in (found, expected)),
        strict=True,
    ):
        torch.testing.assert_close(x, y, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(("n", "dimensions"), SIZES)
def test_loop_twins(n: int, dimensions: int) -> None:
    z1 = random(n, dimensions)
    z2 = random(n, dimensions)
    same(barlow_twins(z1, z2, off_diagonal=0.3), barlow_loop(z1, z2, 0.3), z1, z2)
    terms = vicreg_terms(z1, z2)
    expected = vicreg_loop(z1, z2)
    assert terms.keys() == expected.keys()
    same(
        vicreg(z1, z2),
        sum(weight * expected[name] for name, weight in zip(expected, (25, 25, 1), strict=True)),
        z1,
        z2,
    )
    for name in terms:
        torch.testing.assert_close(terms[name], expected[name])


@pytest.mark.parametrize(("n", "dimensions"), [(4, 3), (3, 7)])
def test_gradcheck(n: int, dimensions: int) -> None:
    for loss in (barlow_twins, vicreg):
        assert torch.autograd.gradcheck(loss, (random(n, dimensions), random(n, dimensions)))


def test_order_exchange_shift_and_scale() -> None:
    z1 = random(9, 4)
    z2 = random(9, 4)
    order = torch.randperm(9)
    for loss in (barlow_twins, vicreg):
        value = loss(z1, z2)
        for equal in (
            loss(z2, z1),
            loss(z1[order], z2[order]),
            loss(z1 + 3, z2 + 3),
            loss(z1.flip(1), z2.flip(1)),
        ):
            torch.testing.assert_close(equal, value)
    # Standardised by each column's own scale; 1e-5 in the variance leaves a trace.
    torch.testing.assert_close(
        barlow_twins(z1 * 5, z2 - 2), barlow_twins(z1, z2), rtol=1e-4, atol=0
    )


def test_the_best_embeddings_cost_nothing() -> None:
    """Both views equal, columns uncorrelated, each of variance 1."""
    z = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]], dtype=F64)
    assert barlow_twins(z, z).item() == pytest.approx(0, abs=1e-9)
    assert vicreg(z, z).item() == pytest.approx(0, abs=1e-30)  # the square of a rounding error


def test_collapse_shows_in_the_variance_term() -> None:
    z = torch.ones(6, 3, dtype=F64)
    assert vicreg_terms(z, z)["variance"].item() == pytest.approx(1 - 0.01)
    assert barlow_twins(z, z).item() == pytest.approx(3)


@pytest.mark.parametrize("z", degenerate())
@pytest.mark.parametrize("loss", [barlow_twins, vicreg])
def test_finite_on_degenerate_rows(loss: Callable[..., Tensor], z: Tensor) -> None:
    for dtype in (torch.float32, F64):
        z1, z2 = (z.to(dtype).clone().requires_grad_() for _ in range(2))
        finite_with_gradient(loss(z1, z2), z1, z2)


@pytest.mark.parametrize(("n", "dimensions"), [(64, 16), (16, 64)])
@pytest.mark.parametrize("loss", [barlow_twins, vicreg])
def test_autocast_agrees_with_float64(loss: Callable[..., Tensor], n: int, dimensions: int) -> None:
    z1 = torch.randn(n, dimensions).bfloat16()
    z2 = torch.randn(n, dimensions).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(z1, z2)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), loss(z1.double(), z2.double()), rtol=1e-5, atol=0)


def test_wide_embeddings_keep_no_matrix_over_dimensions() -> None:
    z1, z2 = (torch.randn(32, 2048, requires_grad=True) for _ in range(2))
    for loss in (barlow_twins, vicreg):
        largest = 0

        def keep(x: Tensor) -> Tensor:
            nonlocal largest
            largest = max(largest, x.numel())
            return x

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
            loss(z1, z2)
        assert 0 < largest <= 32 * 2048


@pytest.mark.parametrize("loss", [barlow_twins, vicreg, vicreg_terms])
def test_errors(loss: Callable[..., Any]) -> None:
    with pytest.raises(
        ValueError, match="z1, z2 need at least 2 rows; found 1: take a larger batch"
    ):
        loss(torch.zeros(1, 4), torch.zeros(1, 4))
    with pytest.raises(ValueError, match=r"one shape \(N, D\); found \(4, 3\), \(4, 2\)"):
        loss(torch.zeros(4, 3), torch.zeros(4, 2))
