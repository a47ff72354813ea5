"""iBOT's loss and KoLeo: loops, what they ignore, errors; and Sinkhorn over some of the rows."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from nearfar.losses import koleo, masked_distillation
from nearfar.losses.kernels.sinkhorn import sinkhorn

F64 = torch.float64


def test_hidden_patches_by_loops() -> None:
    student = torch.randn(4, 3, 5, dtype=F64)
    target = torch.randn(4, 3, 5, dtype=F64).softmax(2)
    counted = torch.tensor([[1, 1, 0], [0, 0, 0], [1, 1, 1], [1, 0, 0]]).bool()
    total = 0.0
    for n in range(4):
        own = [patch for patch in range(3) if counted[n, patch]]
        for patch in own:
            logits = (student[n, patch] / 0.3).tolist()
            normaliser = math.log(sum(math.exp(x) for x in logits))
            shares = target[n, patch].tolist()
            total -= sum(
                share * (x - normaliser) for share, x in zip(shares, logits, strict=True)
            ) / len(own)
    found = masked_distillation(student, target, counted, temperature=0.3)
    assert float(found) == pytest.approx(total / 4, rel=1e-12)


def test_patches_that_are_not_hidden_do_not_count() -> None:
    student = torch.randn(2, 2, 3, dtype=F64, requires_grad=True)
    target = torch.tensor([0.7, 0.2, 0.1], dtype=F64).expand(2, 2, 3)
    counted = torch.tensor([[True, False], [False, False]])
    masked_distillation(student, target, counted).backward()
    assert student.grad is not None
    assert (student.grad[0, 0] != 0).any()
    assert (student.grad[0, 1] == 0).all()
    assert (student.grad[1] == 0).all()


def test_koleo_by_loops() -> None:
    z = torch.randn(7, 4, dtype=F64)
    rows = z / z.norm(dim=1, keepdim=True)
    nearest = [min(float((rows[n] - rows[m]).norm()) for m in range(7) if m != n) for n in range(7)]
    expected = -sum(math.log(distance) for distance in nearest) / 7
    assert float(koleo(z)) == pytest.approx(expected, rel=1e-6)


def test_koleo_falls_as_rows_spread_and_stays_finite_where_they_coincide() -> None:
    angles = torch.linspace(0, 2 * math.pi, 9, dtype=F64)[:-1]
    even = torch.stack([angles.cos(), angles.sin()], dim=1)
    assert koleo(even) < koleo(even[[0, 0, 1, 2, 3, 4, 5, 6]])
    same = torch.ones(3, 2, dtype=F64, requires_grad=True)
    loss = koleo(same)
    loss.backward()
    assert torch.isfinite(loss)
    assert same.grad is not None
    assert torch.isfinite(same.grad).all()


def test_balanced_shares_of_some_rows_are_those_without_the_others() -> None:
    scores = torch.randn(9, 4, dtype=F64)
    counted = torch.tensor([1, 0, 1, 1, 0, 1, 1, 1, 0]).bool()
    found = sinkhorn(scores, epsilon=0.3, counted=counted)
    torch.testing.assert_close(found[counted], sinkhorn(scores[counted], epsilon=0.3))
    assert (found[~counted] == 0).all()
    assert (sinkhorn(scores, counted=torch.zeros(9, dtype=torch.bool)) == 0).all()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: koleo(torch.zeros(1, 3)), "N at least 2"),
        (lambda: koleo(torch.zeros(4)), "N at least 2"),
        (
            lambda: masked_distillation(
                torch.zeros(2, 3, 4), torch.zeros(2, 3, 5), torch.ones(2, 3).bool()
            ),
            "none of them empty; found",
        ),
        (
            lambda: masked_distillation(
                torch.zeros(2, 3, 4), torch.zeros(2, 3, 4), torch.ones(2, 4).bool()
            ),
            "none of them empty; found",
        ),
    ],
)
def test_wrong_shapes(call: Callable[[], Tensor], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        call()
