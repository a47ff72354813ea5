"""Barlow Twins' learning rates, VICReg's weighted terms."""

from __future__ import annotations

import torch

from nearfar.losses.redundancy import vicreg
from nearfar.methods.redundancy.barlow_twins import BarlowTwins
from nearfar.methods.redundancy.vicreg import VICReg

from .toys import batch_for, build


def test_barlow_twins_slows_biases_and_norms() -> None:
    method = build(BarlowTwins, {"projection": 16, "vector_learning_rate": 0.024})
    weights, vectors = method.parameter_groups()
    assert vectors["learning_rate_scale"] == 0.024
    assert all(p.ndim == 1 for p in vectors["params"])
    assert all(p.ndim > 1 for p in weights["params"])
    assert "learning_rate_scale" not in weights


def test_vicreg_terms_sum_to_its_loss() -> None:
    method = build(VICReg, {"projection": 16, "invariance": 3.0, "variance": 5.0, "covariance": 7.0}).train()
    outputs = method(batch_for(method))
    terms = method.loss(outputs)
    assert set(terms) == {"invariance", "variance", "covariance"}
    expected = vicreg(outputs["z1"], outputs["z2"], invariance=3.0, variance=5.0, covariance=7.0)
    torch.testing.assert_close(sum(terms.values()), expected)
