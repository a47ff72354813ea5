"""Contrastive UCB: golden values and gradients, plain forms, errors."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from nearfar.losses.control.transitions import (
    bonus_return,
    elliptical_bonus,
    latent_prediction,
    projected_distribution,
    transition_contrast,
)
from tests.losses.cases import close, leaves, named
from tests.references import ReferenceCase

Golden = Callable[[str], ReferenceCase]
F64 = torch.float64


@pytest.mark.parametrize("name", named("d-cucb-loss-*"))
def test_loss_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    phi, psi = leaves(case, "phi", "psi")
    loss = transition_contrast(phi, psi, case["in_y"])
    loss.backward()
    close(loss, case["out_loss"])
    close(phi.grad, case["out_grad_phi"])
    close(psi.grad, case["out_grad_psi"])


@pytest.mark.parametrize("name", named("d-cucb-bonus-*"))
def test_bonus_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    phi = case["in_phi"]
    how = {"ridge": case["hp_lambda"].item(), "scale": case["hp_factor"].item()}
    bonus, covariance = elliptical_bonus(phi, **how)
    close(covariance, case["out_Lambda"])
    close(bonus, case["out_bonus"])
    _, half = elliptical_bonus(phi[:4], **how)
    _, whole = elliptical_bonus(phi[4:], half, **how)
    close(whole, case["out_Lambda"])


@pytest.mark.parametrize("name", named("d-cucb-c51-*"))
def test_returns_and_projection_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    steps, gamma = int(case["hp_n_step"]), case["hp_gamma"].item()
    bonus = bonus_return(case["in_bonus"], case["in_done"], steps=steps, discount=gamma)
    close(bonus, case["out_bonus_return"])
    found = projected_distribution(
        case["in_target_probs"],
        case["in_return"] + bonus[0],
        case["in_done_n"],
        case["hp_atoms"],
        discount=gamma**steps,
    )
    close(found, case["out_projected"])


def test_the_minimum_is_the_ratio_of_densities() -> None:
    """With three transitions for each pair that was not seen, f = 3."""
    f = torch.full((4, 1), 3.0, dtype=F64, requires_grad=True)
    loss = transition_contrast(f, torch.ones(4, 1, dtype=F64), torch.tensor([1, 1, 1, 0]))
    (slope,) = torch.autograd.grad(loss, f)
    assert abs(float(slope.sum())) < 1e-12


def test_a_projection_keeps_its_mass_and_mean_inside_the_atoms() -> None:
    atoms = torch.linspace(-5, 5, 11, dtype=F64)
    p = torch.rand(4, 11, dtype=F64).softmax(1)
    returns = 0.1 * torch.randn(4, dtype=F64)
    found = projected_distribution(p, returns, torch.zeros(4), atoms, discount=0.5)
    close(found.sum(1), torch.ones(4, dtype=F64))
    close(found @ atoms, returns + 0.5 * p @ atoms)


def test_latents_are_compared_after_the_first_step_and_before_the_end() -> None:
    p = torch.randn(3, 2, 4, dtype=F64, requires_grad=True)
    q = torch.randn(3, 2, 4, dtype=F64)
    there = torch.tensor([[1, 1], [1, 1], [1, 0]])
    cosine = torch.cosine_similarity(p, q, dim=2)
    expected = 5 * ((2 - 2 * cosine) * there)[1:].mean()
    close(latent_prediction(p, q, there), expected, 1e-6)
    (slope,) = torch.autograd.grad(latent_prediction(p, q, there), p)
    assert slope[0].abs().sum() == 0
    assert slope[2, 1].abs().sum() == 0


def test_wrong_inputs_get_one_sentence() -> None:
    z = torch.ones(2, 3)
    with pytest.raises(ValueError, match=r"label \(N\)"):
        transition_contrast(z, z, torch.ones(3))
    with pytest.raises(ValueError, match="ridge above 0"):
        elliptical_bonus(z, ridge=0.0)
    with pytest.raises(ValueError, match="an end for each sum"):
        bonus_return(torch.ones(3), torch.ones(3), steps=4)
    with pytest.raises(ValueError, match=r"atoms \(A\)"):
        projected_distribution(z, torch.ones(2), torch.ones(2), torch.ones(2), discount=1.0)
    with pytest.raises(ValueError, match="at least 2 along K"):
        latent_prediction(z[:1, None], z[:1, None], torch.ones(1, 1))
