"""Sinkhorn codes: the authors' values, the marginals, and the range of float16 scores."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nearfar.targets.sinkhorn import sinkhorn


def _plain(scores: Tensor, epsilon: float, iterations: int) -> Tensor:
    """The iteration as the authors write it: products instead of logarithms."""
    q = (scores / epsilon).exp().T
    prototypes, samples = q.shape
    q = q / q.sum()
    for _ in range(iterations):
        for k in range(prototypes):
            q[k] = q[k] / q[k].sum() / prototypes
        for n in range(samples):
            q[:, n] = q[:, n] / q[:, n].sum() / samples
    return (q * samples).T


@pytest.mark.parametrize(
    ("name", "iterations", "codes"),
    [
        ("a-swav-sinkhorn-case1", "hp_iterations", "out_codes"),
        ("a-swav-sinkhorn-case2", "hp_iterations", "out_codes"),
        ("c-cliprocket-sinkhorn-7x4", "hp_iters", "out_assign"),
    ],
)
def test_reference_codes(golden, name: str, iterations: str, codes: str) -> None:
    case = golden(name)
    found = sinkhorn(
        case["in_scores"], epsilon=float(case["hp_epsilon"]), iterations=int(case[iterations])
    )
    torch.testing.assert_close(found, case[codes], rtol=1e-8, atol=1e-14)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (6, 1), (12, 5), (5, 12)])
@pytest.mark.parametrize("iterations", [0, 1, 4])
def test_equals_the_plain_loop(shape: tuple[int, int], iterations: int) -> None:
    scores = torch.randn(shape, dtype=torch.float64)
    found = sinkhorn(scores, epsilon=0.4, iterations=iterations)
    torch.testing.assert_close(found, _plain(scores, 0.4, iterations), rtol=1e-10, atol=1e-14)


def test_every_prototype_gets_its_share() -> None:
    scores = torch.nn.functional.normalize(torch.randn(64, 16, dtype=torch.float64), dim=1)
    codes = sinkhorn(scores, epsilon=0.1, iterations=50)
    torch.testing.assert_close(
        codes.sum(1), torch.ones(64, dtype=torch.float64), rtol=1e-12, atol=0
    )
    torch.testing.assert_close(
        codes.sum(0), torch.full((16,), 4.0, dtype=torch.float64), rtol=0.01, atol=0
    )


def test_without_iterations_only_the_total_changes() -> None:
    scores = torch.randn(6, 4, dtype=torch.float64)
    ratio = sinkhorn(scores, epsilon=0.3, iterations=0) / (scores / 0.3).exp()
    torch.testing.assert_close(ratio, ratio[0, 0].expand_as(ratio))
    assert sinkhorn(scores, epsilon=0.3, iterations=0).sum() == pytest.approx(6.0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_scores_neither_overflow_nor_lose_the_codes(dtype: torch.dtype) -> None:
    scores = (20 * torch.nn.functional.normalize(torch.randn(32, 8), dim=1)).to(dtype)
    codes = sinkhorn(scores, epsilon=0.05)
    assert codes.dtype == torch.float32
    assert codes.isfinite().all()
    torch.testing.assert_close(
        codes, sinkhorn(scores.double(), epsilon=0.05).float(), rtol=1e-3, atol=1e-5
    )


def test_codes_carry_no_gradient_and_do_not_depend_on_the_order() -> None:
    scores = torch.randn(9, 4, dtype=torch.float64, requires_grad=True)
    codes = sinkhorn(scores)
    order = torch.randperm(9)
    assert not codes.requires_grad
    torch.testing.assert_close(sinkhorn(scores[order]), codes[order])
