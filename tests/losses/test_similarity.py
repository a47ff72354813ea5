"""What the losses share: precision, unit rows, reductions, checks."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from nearfar.losses.kernels.similarity import (
    expect_rows,
    expect_temperature,
    full_precision,
    reduce,
    unit,
)


@full_precision
def product(x: Tensor, *, other: Tensor, factor: float = 1.0) -> Tensor:
    """x other^T."""
    return factor * (x @ other.T)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_full_precision_promotes_half_types_and_switches_autocast_off(dtype: torch.dtype) -> None:
    x = torch.randn(4, 3).to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        found = product(x, other=x, factor=2.0)
    wide = x if dtype == torch.float64 else x.float()
    assert found.dtype == wide.dtype
    torch.testing.assert_close(found, 2.0 * (wide @ wide.T), rtol=0, atol=0)


def test_full_precision_keeps_name_and_docstring_and_the_gradient_type() -> None:
    assert (product.__name__, product.__doc__) == ("product", "x other^T.")
    x = torch.randn(2, 3, dtype=torch.bfloat16, requires_grad=True)
    product(x, other=x).sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == torch.bfloat16


def test_unit_rows_and_the_zero_vector() -> None:
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0], [1e-13, 0.0]], requires_grad=True)
    torch.testing.assert_close(unit(x), torch.tensor([[0.6, 0.8], [0.0, 0.0], [0.1, 0.0]]))
    unit(x).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_unit_rows_have_the_derivatives_of_the_plain_form() -> None:
    x = torch.randn(4, 3, dtype=torch.float64)
    x[1] = 0
    x[2] *= 1e-13  # below the least length, where only a constant divides
    upstream = torch.randn(4, 3, dtype=torch.float64)
    found, expected = (
        torch.func.grad(lambda x, f=f: (f(x) * upstream).sum())(x)
        for f in (unit, partial(normalize, dim=-1))
    )
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(torch.func.vmap(unit)(x), unit(x), rtol=0, atol=0)
    long = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(unit, long)
    assert torch.autograd.gradgradcheck(unit, long)


def test_reductions() -> None:
    values = torch.tensor([1.0, 3.0])
    assert reduce(values, "mean") == 2
    assert reduce(values, "none") is values
    with pytest.raises(ValueError, match="Unknown reduction 'sum': valid are 'mean' and 'none'"):
        reduce(values, "sum")


def test_checks_say_what_was_found() -> None:
    expect_rows(z1=torch.zeros(2, 3), z2=torch.zeros(2, 3))
    with pytest.raises(
        ValueError, match=r"z1, z2 must be matrices of one shape \(N, D\); found \(2, 3\), \(3, 3\)"
    ):
        expect_rows(z1=torch.zeros(2, 3), z2=torch.zeros(3, 3))
    with pytest.raises(ValueError, match=r"z must be matrices of one shape \(N, D\); found \(2,\)"):
        expect_rows(z=torch.zeros(2))
    with pytest.raises(ValueError, match="z need at least 2 rows; found 1: take a larger batch"):
        expect_rows(least=2, z=torch.zeros(1, 3))
    for wrong in (0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="The temperature must be above 0; found"):
            expect_temperature(wrong)
