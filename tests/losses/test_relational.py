"""RKD against its loop over pairs and triples, what it does not see, and wrong inputs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nearfar.losses.distillation.hints import hint
from nearfar.losses.distillation.relation import queue_relation
from nearfar.losses.distillation.relational import rkd_angle, rkd_distance
from nearfar.losses.kernels.similarity import unit
from tests.losses.test_relation import inputs, looped


def rows(count: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    student = torch.randn(count, 4, generator=generator, dtype=torch.float64)
    return student.requires_grad_(), torch.randn(count, 3, generator=generator).double()


def huber(gap: Tensor) -> Tensor:
    return gap.square() / 2 if abs(float(gap.detach())) < 1 else gap.abs() - 0.5


def looped_distance(student: Tensor, teacher: Tensor) -> Tensor:
    n = len(student)
    pairs = [(i, j) for i in range(n) for j in range(n) if i != j]
    lengths = [[(x[i] - x[j]).norm() for i, j in pairs] for x in (student, teacher)]
    means = [sum(each) / len(pairs) for each in lengths]
    gaps = [s / means[0] - t / means[1] for s, t in zip(*lengths, strict=True)]
    return torch.stack([huber(gap) for gap in gaps]).mean()


def looped_angle(student: Tensor, teacher: Tensor) -> Tensor:
    found = []
    for i in range(len(student)):
        for j in range(len(student)):
            for k in range(len(student)):
                if len({i, j, k}) == 3:
                    cosines = [
                        (x[i] - x[j]) @ (x[k] - x[j]) / (x[i] - x[j]).norm() / (x[k] - x[j]).norm()
                        for x in (student, teacher)
                    ]
                    found.append(huber(cosines[0] - cosines[1]))
    return torch.stack(found).mean()


@pytest.mark.parametrize(
    ("loss", "loop"), [(rkd_distance, looped_distance), (rkd_angle, looped_angle)]
)
def test_equals_its_loop(loss: object, loop: object) -> None:
    student, teacher = rows()
    found, expected = loss(student, teacher), loop(student, teacher)  # type: ignore[operator]
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    (got,) = torch.autograd.grad(found, student)
    (wanted,) = torch.autograd.grad(expected, student)
    torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("loss", [rkd_distance, rkd_angle])
def test_turns_shifts_and_scales_are_not_seen(loss: object) -> None:
    student = rows()[0].detach()
    turn = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64))[0]
    moved = 3 * student @ turn + 5
    assert float(loss(student, moved)) < 1e-20  # type: ignore[operator]


def test_equal_rows_have_finite_gradients() -> None:
    student = torch.ones(4, 3, dtype=torch.float64, requires_grad=True)
    teacher = torch.eye(4, dtype=torch.float64)
    value = rkd_distance(student, teacher) + rkd_angle(student, teacher)
    (gradient,) = torch.autograd.grad(value, student)
    assert bool(gradient.isfinite().all())
    assert bool(rkd_distance(teacher, student.detach()).isfinite())


def test_with_its_own_key_the_queue_has_one_row_more() -> None:
    query, key, queue = inputs()
    found = queue_relation(query, key, queue, own_key=True, reduction="none")
    expected = [
        looped(query[[n]], key[[n]], torch.cat([unit(key[[n]]), queue]), 0.1, 0.04)
        for n in range(len(query))
    ]
    torch.testing.assert_close(found, torch.cat(expected), rtol=1e-10, atol=1e-12)


def test_hints_are_means_over_dimensions_and_places() -> None:
    student = torch.tensor([[[1.0, 0.0], [2.0, 2.0]]])
    teacher = torch.tensor([[[0.0, 1.0], [4.0, 4.0]]])
    assert float(hint(student, teacher)) == pytest.approx((1 + 4) / 2)
    assert float(hint(student, teacher, form="cosine")) == pytest.approx(0.5)


def test_what_does_not_fit_is_refused() -> None:
    student, teacher = rows()
    with pytest.raises(ValueError, match="of the same N >= 2 samples"):
        rkd_distance(student, teacher[:3])
    with pytest.raises(ValueError, match="of the same N >= 2 samples"):
        rkd_angle(student[:1], teacher[:1])
    with pytest.raises(ValueError, match="of one shape"):
        hint(student, teacher)
    with pytest.raises(ValueError, match="Unknown form 'l1'"):
        hint(student, student, form="l1")
