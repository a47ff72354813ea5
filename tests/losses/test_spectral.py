"""The spectral contrastive loss, its linear minimiser, and the gains before and after a projection
head.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nearfar.losses.instance.spectral import feature_gains, linear_minimiser, spectral_contrast
from tests.losses.cases import close, leaves, named


@pytest.mark.parametrize("name", named("b-projhead-spectral-*"))
def test_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    z1, z2 = leaves(case, "z1", "z2")
    loss = spectral_contrast(z1, z2)
    loss.backward()
    close(loss, case["out_loss"])
    close(z1.grad, case["out_grad_z1"])
    close(z2.grad, case["out_grad_z2"])


@pytest.mark.parametrize("name", named("b-projhead-linear-*"))
def test_the_linear_minimiser_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    rank = int(case["hp_k"])
    found, kept = linear_minimiser(case["in_S"], case["in_Sp"], rank)
    close(found, case["out_G"])
    close(-kept.square().sum(), case["out_min_loss"])
    after, before = feature_gains(case["in_phi"], case["in_sigma"], rank)
    close(after, case["out_post_gain_all"])
    close(before, case["out_pre_gain_all"])


def test_equals_its_loop() -> None:
    z1, z2 = torch.randn(2, 5, 3, dtype=torch.float64)
    negatives = [(z1[i] @ z2[j]) ** 2 for i in range(5) for j in range(5) if i != j]
    expected = -2 * sum(z1[i] @ z2[i] for i in range(5)) / 5 + sum(negatives) / 20
    torch.testing.assert_close(spectral_contrast(z1, z2), expected)


def test_the_minimiser_is_a_minimum_of_the_population_loss() -> None:
    mix = torch.randn(4, 4, dtype=torch.float64)
    second = mix @ mix.T + torch.eye(4).double()
    pair = mix @ mix.T
    best, kept = linear_minimiser(second, pair, 2)

    def population(g: torch.Tensor) -> torch.Tensor:
        return -2 * torch.trace(g @ pair) + torch.trace(g @ second @ g @ second)

    torch.testing.assert_close(population(best), -kept.square().sum())
    values, vectors = torch.linalg.eigh(best)
    root = vectors[:, -2:] * values[-2:].sqrt()
    for _ in range(20):
        moved = root + 0.05 * torch.randn(4, 2, dtype=torch.float64)
        assert population(moved @ moved.T) >= population(best)


def test_one_sample_has_no_negatives() -> None:
    with pytest.raises(ValueError, match="at least 2 samples"):
        spectral_contrast(torch.ones(1, 2), torch.ones(1, 2))
