"""Mixed Barlow Twins: reference values, the paper's correlation matrices, and when the regulariser
vanishes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from nearfar.losses.kernels.similarity import unit
from nearfar.losses.redundancy.mixed_redundancy import (
    Mix,
    draw_mix,
    mixed_barlow_twins,
    mixed_barlow_twins_terms,
    mixing_regulariser,
    standardise_exactly,
)
from nearfar.losses.redundancy.redundancy import barlow_twins
from tests.losses.cases import close, degenerate, finite_with_gradient, leaves, named
from tests.losses.precision import agrees_in_lower_precision


@pytest.mark.parametrize("name", named("a-mixbt-case*"))
def test_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    z = leaves(case, "z1", "z2", "zm")
    mix = Mix(float(case["hp_mix"]), case["in_perm"])
    off = float(case["hp_lambda"])
    regularisation = float(case["hp_lambda_reg"])
    terms = mixed_barlow_twins_terms(*z, mix, off_diagonal=off)
    close(terms["barlow_twins"], case["out_loss_bt"])
    close(regularisation * terms["mixing"], case["out_loss_mix"])
    loss = mixed_barlow_twins(*z, mix, off_diagonal=off, regularisation=regularisation)
    close(loss, case["out_loss"])
    for gradient, part in zip(torch.autograd.grad(loss, z), ("z1", "z2", "zm"), strict=True):
        close(gradient, case[f"out_grad_{part}"])


@pytest.mark.parametrize("name", named("a-mixbt-case*"))
def test_equals_the_reference_through_a_network(golden: Any, name: str) -> None:
    case = golden(name)
    (weight,) = leaves(case, "net_w")
    mix = Mix(float(case["hp_mix"]), case["in_perm"])
    x1 = case["in_x1"]
    x2 = case["in_x2"]
    z = [unit(torch.tanh(x @ weight.T)) for x in (x1, x2, mix(x1, x2))]
    for found, part in zip(z, ("z1", "z2", "zm"), strict=True):
        close(found, case[f"in_{part}"])
    loss = mixed_barlow_twins(
        *z, mix, off_diagonal=float(case["hp_lambda"]), regularisation=float(case["hp_lambda_reg"])
    )
    close(torch.autograd.grad(loss, weight)[0], case["out_grad_net_w"])


@pytest.mark.parametrize("name", named("a-mixbt-imagenet-case*"))
def test_the_imagenet_script_has_another_second_target(golden: Any, name: str) -> None:
    case = golden(name)
    y1, y2 = leaves(case, "y1", "y2")
    mix = Mix(float(case["hp_mix"]), case["in_perm"])
    z = [torch.tanh(y) for y in (y1, y2, mix(y1, y2))]
    off = float(case["hp_lambda"])
    coded, paper = (
        mixed_barlow_twins_terms(*z, mix, off_diagonal=off, as_coded=flag) for flag in (True, False)
    )
    close(paper["barlow_twins"], case["out_loss_bt"])
    close(0.5 * paper["mixing"], case["out_loss_mix_paper"])
    close(0.5 * coded["mixing"], case["out_loss_mix"])
    gradients = torch.autograd.grad(coded["barlow_twins"] + 0.5 * coded["mixing"], (y1, y2))
    for gradient, part in zip(gradients, ("y1", "y2"), strict=True):
        close(gradient, case[f"out_grad_{part}"])


@pytest.mark.parametrize("samples", [2, 6])
def test_equals_the_papers_correlation_matrices(samples: int) -> None:
    z1, z2, mixed = torch.randn(3, samples, 4, dtype=torch.float64)
    a = 0.3
    permutation = torch.randperm(samples)
    h1, h2, hm = ((z - z.mean(dim=0)) / z.std(dim=0) for z in (z1, z2, mixed))
    targets = [(a * h1.T @ h + (1 - a) * h2[permutation].T @ h) / samples for h in (h1, h2)]
    expected = sum(
        (hm.T @ h / samples - target).square().sum()
        for h, target in zip((h1, h2), targets, strict=True)
    )
    found = mixed_barlow_twins_terms(z1, z2, mixed, Mix(a, permutation), off_diagonal=0.01)
    torch.testing.assert_close(found["mixing"], 0.01 * expected)
    correlation = h1.T @ h2 / samples
    plain = sum(
        (correlation[i, j] - 1) ** 2 if i == j else 0.01 * correlation[i, j] ** 2
        for i in range(4)
        for j in range(4)
    )
    torch.testing.assert_close(found["barlow_twins"], plain)


@pytest.mark.parametrize("share", [0.0, 0.37, 1.0])
def test_vanishes_exactly_for_direct_mixes(share: float) -> None:
    z1, z2 = (
        standardise_exactly(z, correction=1) for z in torch.randn(2, 9, 5, dtype=torch.float64)
    )
    mix = Mix(share, torch.randperm(9))
    assert mixing_regulariser(z1, z2, mix(z1, z2), mix).item() == 0.0
    assert mixing_regulariser(z1, z2, z2, mix).item() > 0.0


def test_barlow_term_differs_from_barlow_twins_by_the_variance_alone() -> None:
    z1, z2 = torch.randn(2, 4000, 4, dtype=torch.float64)
    term = mixed_barlow_twins_terms(z1, z2, z1, Mix(1.0, torch.arange(4000)), off_diagonal=0.0051)[
        "barlow_twins"
    ]
    torch.testing.assert_close(term, barlow_twins(z1, z2), rtol=1e-3, atol=1e-3)


def test_targets_pass_gradients() -> None:
    z1, z2, mixed = torch.randn(3, 6, 3, dtype=torch.float64).requires_grad_()
    terms = mixed_barlow_twins_terms(z1, z2, mixed, Mix(0.5, torch.randperm(6)))
    for gradient in torch.autograd.grad(terms["mixing"], (z1, z2, mixed)):
        assert gradient.abs().sum() > 0


@pytest.mark.parametrize("correction", [0, 1])
def test_standardised_columns(correction: int) -> None:
    z = torch.randn(2, 7, 3, dtype=torch.float64) * 5 + 2
    z[..., 1] = 4.0
    found = standardise_exactly(z, correction=correction)
    torch.testing.assert_close(found.mean(dim=1), torch.zeros(2, 3, dtype=torch.float64))
    expected = torch.tensor([[1.0, 0.0, 1.0]] * 2, dtype=torch.float64)
    torch.testing.assert_close(found.var(dim=1, correction=correction), expected)


def test_draws_repeat_and_mix_whole_batches() -> None:
    first, second = (draw_mix(20, generator=torch.Generator().manual_seed(4)) for _ in range(2))
    assert first.share == second.share
    assert 0 <= first.share <= 1
    assert sorted(first.partner.tolist()) == list(range(20))
    x1, x2 = torch.randn(2, 20, 3, 4)
    torch.testing.assert_close(
        first(x1, x2)[3], first.share * x1[3] + (1 - first.share) * x2[first.partner[3]]
    )


@pytest.mark.parametrize("z", degenerate())
def test_degenerate_embeddings_stay_finite(z: Tensor) -> None:
    for rows in (z, z[1:3]):
        z1, z2, mixed = (x.clone().requires_grad_() for x in (rows, rows.flip(0), rows))
        finite_with_gradient(
            mixed_barlow_twins(z1, z2, mixed, Mix(0.4, torch.arange(len(rows)))), z1, z2, mixed
        )


def test_lower_precision() -> None:
    mix = Mix(0.25, torch.randperm(32))
    loss: Callable[..., Tensor] = partial(mixed_barlow_twins, mix=mix)
    agrees_in_lower_precision(loss, *torch.randn(3, 32, 8))


def test_gradcheck() -> None:
    z = torch.randn(3, 5, 3, dtype=torch.float64).requires_grad_().unbind(0)
    assert torch.autograd.gradcheck(
        lambda *z: mixed_barlow_twins(*z, Mix(0.3, torch.arange(4, -1, -1))), z
    )


def test_one_sample_has_no_variance() -> None:
    with pytest.raises(ValueError, match="at least 2 rows"):
        mixed_barlow_twins(*torch.randn(3, 1, 4), Mix(0.5, torch.zeros(1, dtype=torch.int64)))
