"""BYOL, SimSiam and DINO: authors' values and gradients, loop twins, limits, constants, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from nearfar.losses import byol, dino, simsiam
from tests.losses.cases import close, degenerate, finite_with_gradient, leaves, named

Golden = Callable[[str], dict[str, Tensor]]
F64 = torch.float64


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=F64).requires_grad_()


@pytest.mark.parametrize("name", [*named("a-byol-case*"), *named("a-simsiam-*")])
def test_byol_and_simsiam_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    p1, p2 = leaves(case, "p1", "p2")
    loss = (byol if "byol" in name else simsiam)(p1, p2, case["in_z1"], case["in_z2"])
    loss.backward()
    close(loss, case["out_loss"])
    close(p1.grad, case["out_grad_p1"])
    close(p2.grad, case["out_grad_p2"])


@pytest.mark.parametrize("name", named("b-genview-simsiam-*"))
def test_simsiam_with_a_weight_for_each_pair_equals_the_reference(
    golden: Golden, name: str
) -> None:
    """GenView weighs SimSiam's pairs by the quality of their views."""
    case = golden(name)
    p1, p2 = leaves(case, "p1", "p2")
    loss = (
        case["in_weight"] * simsiam(p1, p2, case["in_z1"], case["in_z2"], reduction="none")
    ).mean()
    loss.backward()
    close(loss, case["out_loss"])
    close(p1.grad, case["out_grad_p1"])
    close(p2.grad, case["out_grad_p2"])


@pytest.mark.parametrize("name", named("a-dino-*"))
def test_dino_reference(golden: Golden, name: str) -> None:
    """Two steps of the authors' loss; between them the centre moves."""
    case = golden(name)
    crops = int(case["hp_ncrops"])
    centre = torch.zeros_like(case["out_center0"])
    for step, epoch, out in ((0, 0, "out_loss"), (1, 2, "out_loss_step1")):
        (student,) = leaves(case, f"student{step}")
        loss = dino(
            student.unflatten(0, (crops, -1)),
            case[f"in_teacher{step}"].unflatten(0, (2, -1)),
            centre,
            student_temperature=case["hp_student_temp"].item(),
            teacher_temperature=case[f"hp_teacher_temp_epoch{epoch}"].item(),
        )
        loss.backward()
        close(loss, case[out])
        close(student.grad, case[f"out_grad_student{step}"])
        centre = case[f"out_center{step}"]


def dino_loop(
    student: Tensor,
    teacher: Tensor,
    centre: Tensor,
    student_temperature: float,
    teacher_temperature: float,
) -> Tensor:
    losses = []
    for n in range(student.shape[1]):
        terms = []
        for a in range(len(teacher)):
            shares = ((teacher[a, n] - centre) / teacher_temperature).softmax(dim=0)
            for v in range(len(student)):
                if v != a:
                    terms.append(
                        -(shares * (student[v, n] / student_temperature).log_softmax(dim=0)).sum()
                    )
        losses.append(torch.stack(terms).mean())
    return torch.stack(losses)


@pytest.mark.parametrize(("views", "whole"), [(2, 2), (2, 1), (5, 2), (3, 3)])
def test_dino_loop_twin(views: int, whole: int) -> None:
    student = random(views, 4, 6)
    teacher = random(whole, 4, 6)
    centre = torch.randn(6, dtype=F64)
    found = dino(
        student, teacher, centre, student_temperature=0.2, teacher_temperature=0.3, reduction="none"
    )
    expected = dino_loop(student, teacher, centre, 0.2, 0.3)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        torch.autograd.grad(found.sum(), student), torch.autograd.grad(expected.sum(), student)
    )
    mean = dino(student, teacher, centre[None], student_temperature=0.2, teacher_temperature=0.3)
    torch.testing.assert_close(mean, found.mean())


def test_dino_is_the_entropy_of_a_teacher_that_the_student_repeats() -> None:
    logits = torch.randn(1, 4, 6, dtype=F64).repeat(2, 1, 1)
    shares = (logits[0] / 0.5).softmax(dim=1)
    expected = -(shares * shares.log()).sum(dim=1).mean()
    torch.testing.assert_close(
        dino(logits, logits, torch.zeros(6), student_temperature=0.5, teacher_temperature=0.5),
        expected,
    )


@pytest.mark.parametrize("temperature", [1e-3, 10.0])
def test_dino_is_finite_at_the_ends(temperature: float) -> None:
    student = torch.randn(4, 3, 8, requires_grad=True)
    teacher = torch.randn(2, 3, 8)
    loss = dino(
        student,
        teacher,
        torch.zeros(8),
        student_temperature=temperature,
        teacher_temperature=temperature,
    )
    finite_with_gradient(loss, student)


def test_dino_keeps_no_log_softmax() -> None:
    """Kept for backward: the scaled student logits, and what its views face: three tables of shares
    at most.
    """
    student = torch.randn(10, 32, 512, requires_grad=True)
    teacher = torch.randn(2, 32, 512)
    kept = {}

    def keep(x: Tensor) -> Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        loss = dino(student, teacher, torch.zeros(512))
    assert loss.requires_grad
    assert sum(kept.values()) < (10 + 3.5) * 32 * 512 * 4


def test_byol_and_simsiam_are_one_cosine() -> None:
    p1, p2, z1, z2 = (random(5, 4) for _ in range(4))
    torch.testing.assert_close(byol(p1, p2, z1, z2), 4 + 4 * simsiam(p1, p2, z1, z2))
    expected = -(torch.cosine_similarity(p1, z2) + torch.cosine_similarity(p2, z1)) / 2
    torch.testing.assert_close(simsiam(p1, p2, z1, z2, reduction="none"), expected)
    torch.testing.assert_close(byol(p1, p2, z1, z2, reduction="none"), 4 + 4 * expected)


@pytest.mark.parametrize(("loss", "best", "worst"), [(byol, 0.0, 8.0), (simsiam, -1.0, 1.0)])
def test_ends_of_the_range_and_invariances(
    loss: Callable[..., Tensor], best: float, worst: float
) -> None:
    p1, p2, z1, z2 = (random(6, 4) for _ in range(4))
    assert loss(p1, p2, 3 * p2, 0.5 * p1).item() == pytest.approx(best, abs=1e-12)
    assert loss(p1, p2, -p2, -p1).item() == pytest.approx(worst)
    turn = torch.linalg.qr(torch.randn(4, 4, dtype=F64)).Q
    order = torch.randperm(6)
    value = loss(p1, p2, z1, z2)
    for same in (
        loss(p2, p1, z2, z1),
        loss(*(x[order] for x in (p1, p2, z1, z2))),
        loss(*(x @ turn for x in (p1, p2, z1, z2))),
        loss(2 * p1, p2, z1, 7 * z2),
    ):
        torch.testing.assert_close(same, value)
    assert torch.autograd.gradcheck(lambda a, b: loss(a, b, z1, z2), (p1, p2))
    assert loss(p1[:1], p2[:1], z1[:1], z2[:1]).isfinite()


def test_targets_receive_no_gradient() -> None:
    p1, p2, z1, z2 = (random(3, 4) for _ in range(4))
    for loss in (byol, simsiam):
        assert torch.autograd.grad(loss(p1, p2, z1, z2), (z1, z2), allow_unused=True) == (
            None,
            None,
        )
    student = random(3, 2, 5)
    teacher = random(2, 2, 5)
    assert torch.autograd.grad(
        dino(student, teacher, torch.zeros(5)), teacher, allow_unused=True
    ) == (None,)


@pytest.mark.parametrize("z", degenerate())
@pytest.mark.parametrize("loss", [byol, simsiam])
def test_finite_on_degenerate_rows(loss: Callable[..., Tensor], z: Tensor) -> None:
    p1, p2 = (z.clone().requires_grad_() for _ in range(2))
    finite_with_gradient(loss(p1, p2, z, z), p1, p2)


def test_autocast_agrees_with_float64() -> None:
    rows = [torch.randn(16, 8).bfloat16() for _ in range(4)]
    logits = [torch.randn(*shape).bfloat16() for shape in ((5, 4, 32), (2, 4, 32), (32,))]
    for loss, inputs in ((byol, rows), (simsiam, rows), (dino, logits)):
        with torch.autocast("cpu", torch.bfloat16):
            found = loss(*inputs)
        assert found.dtype == torch.float32
        torch.testing.assert_close(
            found.double(), loss(*(x.double() for x in inputs)), rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: byol(*(torch.zeros(3, 4),) * 3, torch.zeros(2, 4)),
            r"p1, p2, target1, target2 must be matrices of one shape",
        ),
        (lambda: simsiam(*(torch.zeros(0, 4),) * 4), "need at least 1 rows; found 0"),
        (
            lambda: dino(torch.zeros(3, 4, 5), torch.zeros(2, 4, 6), torch.zeros(6)),
            r"found \(3, 4, 5\) and \(2, 4, 6\)",
        ),
        (lambda: dino(torch.zeros(1, 4, 5), torch.zeros(2, 4, 5), torch.zeros(5)), "1 <= A <= V"),
        (
            lambda: dino(torch.zeros(1, 4, 5), torch.zeros(1, 4, 5), torch.zeros(5)),
            "at least 2 views are needed, found 1",
        ),
        (
            lambda: dino(*(torch.zeros(2, 4, 5),) * 2, torch.zeros(5), teacher_temperature=0.0),
            "temperature must be above 0",
        ),
        (
            lambda: dino(*(torch.zeros(2, 4, 5),) * 2, torch.zeros(5), reduction="sum"),
            "Unknown reduction 'sum'",
        ),
    ],
)
def test_errors(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
