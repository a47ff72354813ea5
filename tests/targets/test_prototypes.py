"""Prototypes stay unit vectors when told to, and learn."""

from __future__ import annotations

import torch

from nearfar.targets.prototypes import Prototypes


def test_scores_are_cosines_of_unit_vectors() -> None:
    prototypes = Prototypes(6, 5).double()
    z = torch.nn.functional.normalize(torch.randn(2, 3, 6, dtype=torch.float64), dim=-1)
    scores = prototypes(z)
    assert scores.shape == (2, 3, 5)
    expected = torch.nn.functional.cosine_similarity(z[1, 2], prototypes.weight[4], dim=0)
    torch.testing.assert_close(scores[1, 2, 4], expected, rtol=1e-6, atol=1e-7)


def test_normalise_keeps_directions() -> None:
    prototypes = Prototypes(6, 5)
    direction = prototypes.weight.detach().clone()
    with torch.no_grad():
        prototypes.weight.mul_(torch.rand(5, 1) + 0.5)
    prototypes.normalise()
    torch.testing.assert_close(prototypes.weight.detach(), direction)
    assert prototypes.weight.requires_grad
