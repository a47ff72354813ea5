"""Gradient matching: golden values and gradients, the loop, errors."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import cross_entropy

from nearfar.errors import UserError
from nearfar.losses.curation.condensation import (
    condensation_loss,
    condensation_mode,
    gradient_distance,
)
from tests.losses.cases import close, leaves, named
from tests.references import ReferenceCase

Golden = Callable[[str], ReferenceCase]
KINDS = {"ours": "rows", "mse": "squared", "cos": "cosine"}


@pytest.mark.parametrize("name", named("e-dcc-match-*"))
def test_distances_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    count = sum(key.startswith("in_grad_real") for key in case)
    real = [case[f"in_grad_real_{n}"] for n in range(count)]
    for theirs, kind in KINDS.items():
        made = leaves(case, *(f"grad_syn_{n}" for n in range(count)))
        distance = gradient_distance(made, real, kind=kind)
        slopes = torch.autograd.grad(distance, made, allow_unused=True)
        close(distance, case[f"out_dist_{theirs}"])
        for n, slope in enumerate(slopes):
            expected = case[f"out_grad_{theirs}_{n}"]
            close(torch.zeros_like(expected) if slope is None else slope, expected)


@pytest.mark.parametrize("name", named("e-dcc-loss-*"))
def test_losses_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    weight, bias, made = leaves(case, "W", "b", "x_syn")
    kind = "squared" if int(case["hp_metric_is_mse"]) else "rows"

    def losses(x: torch.Tensor) -> list[torch.Tensor]:
        return [
            cross_entropy(part @ weight.T + bias, torch.full((len(part),), c))
            for c, part in enumerate(x)
        ]

    for mode, key in (("by-class", "dc"), ("collective", "dcc")):
        loss = condensation_loss(
            losses(made), losses(case["in_x_real"]), [weight, bias], mode=mode, kind=kind
        )
        close(loss, case[f"out_loss_{key}"])
        (slope,) = torch.autograd.grad(loss, made)
        close(slope, case[f"out_grad_syn_{key}"])


def test_what_classes_have_in_common_cancels_in_the_collective_form_alone() -> None:
    weight = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    common = (weight @ torch.ones(3, dtype=torch.float64)).sum()
    own = [(weight[c] ** 2).sum() for c in range(2)]
    plain = [own[0], own[1]]
    shifted = [own[0] + 5 * common, own[1] - 5 * common]
    assert condensation_loss(shifted, plain, [weight], kind="squared").item() < 1e-20
    assert condensation_loss(shifted, plain, [weight], mode="by-class", kind="squared").item() > 1


def test_the_warm_ups_join_by_or() -> None:
    assert condensation_mode(3, 2, outer_warmup=4, inner_warmup=3) == "by-class"
    assert condensation_mode(4, 2, outer_warmup=4, inner_warmup=3) == "collective"
    assert condensation_mode(3, 3, outer_warmup=4, inner_warmup=3) == "collective"


def test_one_dimensional_parameters_count_nothing_by_rows() -> None:
    made = torch.ones(3, requires_grad=True)
    distance = gradient_distance([made], [torch.zeros(3)])
    distance.backward()
    assert distance.item() == 0
    assert gradient_distance([made], [torch.zeros(3)], kind="squared").item() == 3


def test_wrong_inputs_get_one_sentence() -> None:
    with pytest.raises(UserError, match="kind of gradient distance"):
        gradient_distance([torch.ones(2, 2)], [torch.ones(2, 2)], kind="l1")
    with pytest.raises(ValueError, match="the same parameters"):
        gradient_distance([torch.ones(2, 2)], [torch.ones(2, 3)])
    with pytest.raises(UserError, match="mode of condensation"):
        condensation_loss([], [], [], mode="none")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="the same classes"):
        condensation_loss([], [], [])
