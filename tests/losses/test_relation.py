"""ReSSL's relation loss: a loop, its least value, its gradient, constants, and mistakes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from nearfar.losses.distillation.relation import queue_relation
from nearfar.losses.kernels.similarity import unit


def looped(
    query: Tensor, key: Tensor, queue: Tensor, temperature: float, teacher_temperature: float
) -> Tensor:
    """One sample and one key of the queue at a time, in the paper's form."""
    losses = []
    for q, k in zip(query, key, strict=True):
        near = [float(k @ u / k.norm()) for u in queue]
        shares = [math.exp(s / teacher_temperature) for s in near]
        logits = [q @ u / q.norm() / temperature for u in queue]
        denominator = torch.stack([logit.exp() for logit in logits]).sum().log()
        losses.append(
            sum(
                share / sum(shares) * (denominator - logit)
                for share, logit in zip(shares, logits, strict=True)
            )
        )
    return torch.stack(losses)


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    query, key = torch.randn(2, 5, 4, generator=generator, dtype=torch.float64)
    queue = unit(torch.randn(9, 4, generator=generator, dtype=torch.float64))
    return query.requires_grad_(), key, queue


@pytest.mark.parametrize("temperatures", [(0.1, 0.04), (0.5, 1.0), (0.2, 0.2)])
def test_equals_its_loop(temperatures: tuple[float, float]) -> None:
    query, key, queue = inputs()
    student, teacher = temperatures
    found = queue_relation(
        query, key, queue, temperature=student, teacher_temperature=teacher, reduction="none"
    )
    expected = looped(query, key, queue, student, teacher)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    for got, wanted in zip(
        torch.autograd.grad(found.sum(), query),
        torch.autograd.grad(expected.sum(), query),
        strict=True,
    ):
        torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-11)


def test_a_student_with_the_teachers_shares_is_at_the_least_value_the_entropy() -> None:
    query, _, queue = inputs()
    shares = (unit(query.detach()) @ queue.T / 0.1).softmax(dim=1)
    entropy = -(shares * shares.log()).sum(dim=1)
    how = {"temperature": 0.1, "teacher_temperature": 0.1}
    loss = queue_relation(query, query.detach(), queue, **how, reduction="none")
    torch.testing.assert_close(loss, entropy, rtol=1e-10, atol=1e-12)
    (slope,) = torch.autograd.grad(loss.sum(), query)
    assert float(slope.abs().max()) < 1e-12
    assert (queue_relation(query, -query.detach(), queue, **how, reduction="none") > entropy).all()


def test_a_very_sharp_teacher_names_its_nearest_key_alone() -> None:
    query, key, queue = inputs()
    found = queue_relation(query, key, queue, temperature=0.1, teacher_temperature=1e-6)
    answer = (unit(key) @ queue.T).argmax(dim=1)
    expected = torch.nn.functional.cross_entropy(unit(query) @ queue.T / 0.1, answer)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_teacher_and_queue_receive_no_gradient() -> None:
    query, key, queue = inputs()
    key.requires_grad_()
    queue.requires_grad_()
    loss = queue_relation(query, key, queue)
    assert torch.autograd.grad(loss, (key, queue), allow_unused=True) == (None, None)


def test_mistakes_are_one_sentence() -> None:
    query, key, queue = inputs()
    with pytest.raises(ValueError, match="query, key must be matrices of one shape"):
        queue_relation(query, key[:, :2], queue)
    with pytest.raises(ValueError, match="at least one key of 4 floating-point numbers"):
        queue_relation(query, key, queue[:, :3])
    with pytest.raises(ValueError, match="The teacher_temperature must be above 0"):
        queue_relation(query, key, queue, teacher_temperature=0.0)
