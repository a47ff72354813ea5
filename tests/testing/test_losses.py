"""The battery finds each kind of defect in a loss, and says what it found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from nearfar.errors import UserError
from nearfar.losses.contrastive import nt_xent
from nearfar.testing import LOSS_CHECKS, LossCase, check_loss


def make(rows: int, generator: torch.Generator) -> dict[str, Any]:
    z1, z2 = torch.randn(2, rows, 5, generator=generator, dtype=torch.float64).unbind()
    return {"z1": z1.requires_grad_(), "z2": z2.requires_grad_()}


def all_pairs(z1: Tensor, z2: Tensor, *, temperature: float = 0.1) -> Tensor:
    scores = (z1 @ z2.T / temperature).exp()
    return -(scores.diagonal() / scores.sum(1)).log().mean()


def in_order(z1: Tensor, z2: Tensor) -> Tensor:
    return (z1 * z2.roll(1, 0)).sum()


def one_sided(z1: Tensor, z2: Tensor) -> Tensor:
    return (z1 * z2.detach()).square().mean()


def constant_weights(z1: Tensor, z2: Tensor) -> Tensor:
    return ((z1 - z2).square() * (z1 * z2).detach().exp()).mean()


def rows(z1: Tensor, z2: Tensor) -> Tensor:
    return (z1 * z2).sum(1)


def deviation(z1: Tensor, z2: Tensor) -> Tensor:
    return z1.std(0).mean() + z2.std(0).mean()


def in_place(z1: Tensor, z2: Tensor) -> Tensor:
    with torch.no_grad():
        z2.div_(2)
    return (z1 * z2).mean()


DEFECTS: list[tuple[Callable[..., Tensor], str, str]] = [
    (rows, "finite_with_gradient", r"the loss has the shape \(7,\); expected a scalar"),
    (one_sided, "finite_with_gradient", "no gradient reaches the input z2"),
    (in_place, "finite_with_gradient", "the input z2 is changed in place"),
    (constant_weights, "gradient_matches_differences", "Jacobian mismatch"),
    (in_order, "order_does_not_matter", "the order of samples matters"),
    (all_pairs, "half_types_compute_in_float32", "bfloat16 inputs give a torch.bfloat16"),
    (all_pairs, "finite_at_any_temperature", "the loss is (nan|inf) at temperature 0.001"),
    (deviation, "few_samples_are_right_or_refused", "the loss is nan for one sample"),
    (all_pairs, "memory_is_linear", r"64 samples keep \d+ bytes for backward, 256 samples \d+"),
]


@pytest.mark.filterwarnings("ignore:std():UserWarning")
@pytest.mark.parametrize(("loss", "check", "message"), DEFECTS)
def test_a_defect_is_found(loss: Callable[..., Tensor], check: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        LOSS_CHECKS[check](LossCase(loss, make))


def test_every_check_can_fail() -> None:
    assert {check for _, check, _ in DEFECTS} == set(LOSS_CHECKS)


def test_check_loss_names_the_loss_and_the_check() -> None:
    check_loss(nt_xent, make)
    check_loss(in_order, make, skip=["order_does_not_matter", "half_types_compute_in_float32"])
    with pytest.raises(AssertionError, match=r"in_order fails order_does_not_matter: the order of samples matters"):
        check_loss(in_order, make)
    with pytest.raises(UserError, match=r"Unknown check 'memory': did you mean memory_is_linear"):
        check_loss(nt_xent, make, skip=["memory"])


def test_terms_in_a_dict_are_added() -> None:
    def terms(z1: Tensor, z2: Tensor) -> dict[str, Tensor]:
        return {"a": (z1 * z2).mean(), "b": z1.square().mean()}

    check_loss(terms, make, skip=["half_types_compute_in_float32"])
