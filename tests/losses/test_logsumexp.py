"""The blockwise log-sum-exps against the plain matrix: values, gradients, kept bytes, ends of the
number range.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from nearfar.losses.kernels.logsumexp import mutual_logsumexp, row_logsumexp, self_logsumexp
from tests.losses.precision import Work

F64 = torch.float64
BOUNDS = [math.inf, 12.0]  # the second takes the form with one exponential
HEIGHTS = [1, 3, 7, None]


def matrix(query: Tensor, key: Tensor, exclude: tuple[int, ...]) -> Tensor:
    """The similarity matrix, excluded entries -inf, by a loop."""
    s = query @ key.T
    out = torch.zeros_like(s, dtype=torch.bool)
    for i in range(len(query)):
        for j in range(len(key)):
            out[i, j] = j - i in exclude
    return s.masked_fill(out, -math.inf)


def close(found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> None:
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-13)


def rows(count: int, dimension: int = 5, dtype: torch.dtype = F64) -> Tensor:
    return torch.randn(count, dimension, dtype=dtype).requires_grad_()


@pytest.mark.parametrize("height", HEIGHTS)
@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("exclude", [(), (0,), (0, 7, -7), (0, 3, -3, 6, -6)])
def test_self_equals_the_plain_matrix(
    exclude: tuple[int, ...], bound: float, height: int | None
) -> None:
    z = rows(14)
    upstream = torch.randn(14, dtype=F64)
    found = self_logsumexp(z, exclude=exclude, bound=bound, height=height)
    expected = matrix(z, z, exclude).logsumexp(dim=1)
    close(
        (found, *torch.autograd.grad(found, z, upstream)),
        (expected, *torch.autograd.grad(expected, z, upstream)),
    )


@pytest.mark.parametrize("height", HEIGHTS)
@pytest.mark.parametrize(("n", "m"), [(9, 9), (5, 11), (11, 5)])
@pytest.mark.parametrize("exclude", [(), (0,), (-2, 1)])
def test_row_equals_the_plain_matrix(
    exclude: tuple[int, ...], n: int, m: int, height: int | None
) -> None:
    q = rows(n)
    k = rows(m)
    upstream = torch.randn(n, dtype=F64)
    found = row_logsumexp(q, k, exclude=exclude, height=height)
    expected = matrix(q, k, exclude).logsumexp(dim=1)
    close(
        (found, *torch.autograd.grad(found, (q, k), upstream)),
        (expected, *torch.autograd.grad(expected, (q, k), upstream)),
    )


@pytest.mark.parametrize("height", HEIGHTS)
@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize(("n", "m"), [(9, 9), (5, 11), (11, 5)])
def test_mutual_equals_both_directions(n: int, m: int, bound: float, height: int | None) -> None:
    q = rows(n)
    k = rows(m)
    upstream = (torch.randn(n, dtype=F64), torch.randn(m, dtype=F64))
    found = mutual_logsumexp(q, k, exclude=(0, 2), bound=bound, height=height)
    s = matrix(q, k, (0, 2))
    expected = (s.logsumexp(dim=1), s.logsumexp(dim=0))
    close(found, expected)
    close(
        torch.autograd.grad(found, (q, k), upstream),
        torch.autograd.grad(expected, (q, k), upstream),
    )


def test_one_of_two_mutual_results_may_be_left_unused() -> None:
    q = rows(6)
    k = rows(4)
    close(
        torch.autograd.grad(mutual_logsumexp(q, k)[1].sum(), (k, q)),
        torch.autograd.grad(row_logsumexp(k, q).sum(), (k, q)),
    )


def test_only_the_gradients_that_are_needed_are_made() -> None:
    q = rows(4)
    k = rows(6)
    expected = torch.autograd.grad(row_logsumexp(q, k).sum(), (q, k))
    close(torch.autograd.grad(row_logsumexp(q, k.detach()).sum(), q), expected[:1])
    close(torch.autograd.grad(row_logsumexp(q.detach(), k).sum(), k), expected[1:])


@pytest.mark.parametrize("bound", BOUNDS)
def test_first_and_second_derivatives(bound: float) -> None:
    functions: list[tuple[Callable[..., object], tuple[Tensor, ...]]] = [
        (lambda z: self_logsumexp(z, exclude=(0, 3, -3), bound=bound, height=4), (rows(6, 3),)),
        (lambda q, k: row_logsumexp(q, k, exclude=(0,), height=2), (rows(5, 3), rows(4, 3))),
        (
            lambda q, k: mutual_logsumexp(q, k, exclude=(0,), bound=bound, height=2),
            (rows(5, 3), rows(4, 3)),
        ),
    ]
    for function, inputs in functions:
        assert torch.autograd.gradcheck(function, inputs)
        assert torch.autograd.gradgradcheck(function, inputs)


@pytest.mark.parametrize("bound", BOUNDS)
def test_a_row_without_columns_is_minus_infinity_and_has_no_gradient(bound: float) -> None:
    z = rows(2)
    value = self_logsumexp(z, exclude=(0, 1, -1), bound=bound)
    assert (value == -math.inf).all()
    assert (torch.autograd.grad(value, z, torch.zeros(2, dtype=F64))[0] == 0).all()
    q = rows(3)
    value, _ = mutual_logsumexp(
        q, rows(1), exclude=(0,), bound=bound
    )  # the first query has no other key
    assert value.isinf().tolist() == [True, False, False]
    assert torch.autograd.grad(value[1:].sum(), q)[0].isfinite().all()


@pytest.mark.parametrize("temperature", [1e-3, 0.01, 0.02, 0.0251, 0.03, 0.1, 1.0, 10.0])
@pytest.mark.parametrize("kind", ["random", "identical", "orthogonal", "opposite"])
def test_float32_is_right_from_one_end_of_the_temperatures_to_the_other(
    temperature: float, kind: str
) -> None:
    z = {
        "random": torch.randn(40, 8),
        "identical": torch.ones(40, 8),
        "orthogonal": torch.eye(40),
        "opposite": torch.tensor([[1.0, 0.0], [-1.0, 0.0]]).repeat(20, 1),
    }[kind]
    z = torch.nn.functional.normalize(z, dim=1).div(temperature**0.5).requires_grad_()
    exact = z.detach().double().requires_grad_()
    expected = matrix(exact, exact, (0,)).logsumexp(dim=1)
    upstream = torch.rand(40)
    for bound in (math.inf, 1 / temperature):
        found = self_logsumexp(z, bound=bound, height=16)
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
        (gradient,) = torch.autograd.grad(found, z, upstream)
        (right,) = torch.autograd.grad(expected, exact, upstream.double(), retain_graph=True)
        # The exponent's own rounding, about 1e-7 / temperature, is unavoidable; opposite rows
        # cancel in the sum.
        torch.testing.assert_close(
            gradient.double(),
            right,
            rtol=1e-4,
            atol=2e-6 * right.abs().max().item() / min(1, temperature),
        )


def test_a_small_bound_is_not_trusted_beyond_the_number_range() -> None:
    """float32 holds exp(88); a bound of 60 would overflow a product of two, so the maximum must be
    subtracted.
    """
    z = torch.full((4, 1), 60**0.5, requires_grad=True)
    value = self_logsumexp(z, bound=60.0)
    torch.testing.assert_close(value, torch.full((4,), 60 + math.log(3)))
    assert torch.autograd.grad(value.sum(), z)[0].isfinite().all()


@pytest.mark.parametrize("which", ["self", "row", "mutual"])
@pytest.mark.parametrize("bound", BOUNDS)
def test_backward_keeps_the_embeddings_and_two_vectors_only(which: str, bound: float) -> None:
    n = 2048
    dimension = 32
    first = rows(n, dimension, torch.float32)
    second = rows(n, dimension, torch.float32)
    kept: dict[int, int] = {}

    def keep(x: Tensor) -> Tensor:
        kept[x.data_ptr()] = x.numel() * x.element_size()
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        if which == "self":
            self_logsumexp(first, bound=bound)
        elif which == "row":
            row_logsumexp(first, second)
        else:
            mutual_logsumexp(first, second, bound=bound)
    assert (
        0 < sum(kept.values()) <= 4 * (2 * n * dimension + 2 * n)
    )  # the matrix alone would be 64 times as much


def test_autocast_does_not_lower_the_precision_of_forward_or_backward() -> None:
    z = rows(64, 16, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        found = self_logsumexp(z)
        (gradient,) = torch.autograd.grad(found.sum(), z)
    assert found.dtype == torch.float32
    close((found, gradient), (self_logsumexp(z), *torch.autograd.grad(self_logsumexp(z).sum(), z)))


@pytest.mark.filterwarnings("ignore")  # of the compiler's own
def test_compile_traces_forward_and_backward_without_a_break() -> None:
    z = rows(10)
    k = rows(6)

    def total(z: Tensor, k: Tensor) -> Tensor:
        first, second = mutual_logsumexp(z, k)
        return (
            self_logsumexp(z, exclude=(0, 5, -5), bound=12.0, height=5).sum()
            + first.sum()
            + second.sum()
        )

    torch._dynamo.reset()
    compiled = torch.compile(total, backend="aot_eager", fullgraph=True)
    close(torch.autograd.grad(compiled(z, k), (z, k)), torch.autograd.grad(total(z, k), (z, k)))


def test_functional_gradients() -> None:
    z = rows(6)
    (expected,) = torch.autograd.grad(self_logsumexp(z).sum(), z)
    close((torch.func.grad(lambda x: self_logsumexp(x).sum())(z.detach()),), (expected,))


def test_an_asymmetric_exclusion_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"negative of each of its offsets; found \(0, 3\)"):
        self_logsumexp(rows(6), exclude=(0, 3))


def test_a_small_matrix_is_made_once_and_a_large_one_again_for_backward() -> None:
    for rows, products in (
        (512, 2),
        (576, 3),
    ):  # the matrix, its gradient, and the matrix again; blocks of a mirrored one are fewer
        x = torch.randn(rows, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
        with Work() as done:
            mutual_logsumexp(x, x.detach(), bound=10.0)[0].sum().backward()
        assert done.products == products * rows * rows * 8


def test_a_small_matrix_gives_the_same_gradient_twice() -> None:
    x = torch.randn(20, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    value = self_logsumexp(x, bound=10.0).sum()
    first, second = (torch.autograd.grad(value, x, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)
