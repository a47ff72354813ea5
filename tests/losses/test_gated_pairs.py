"""Hydra's gated contrast: reference values, the loop with every gate applied by hand, and the open
gate.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import normalize

from nearfar.losses.supervised.gated_pairs import gated_contrast, gated_cosines
from tests.losses.cases import close, degenerate, finite_with_gradient, leaves, named


@pytest.mark.parametrize("name", named("b-hydra-loss-*"))
def test_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    z, gate = leaves(case, "z", "gate")
    temperature = case["hp_temperature"].item()
    loss = gated_contrast(z, gate, case["in_y1"], case["in_y2"], temperature=temperature)
    loss.backward()
    close(loss, case["out_loss"])
    close(z.grad, case["out_grad_z"])
    close(gate.grad, case["out_grad_gate"])


def test_cosines_equal_gating_each_pair_by_hand() -> None:
    z = torch.randn(5, 3, dtype=torch.float64)
    gate = torch.rand(5, 3, dtype=torch.float64)
    gated = [[normalize(gate[i] * z[j], dim=0) for j in range(5)] for i in range(5)]
    by_hand = torch.stack(
        [torch.stack([gated[i][i] @ gated[i][j] for j in range(5)]) for i in range(5)]
    )
    torch.testing.assert_close(gated_cosines(z, gate), by_hand)


def test_an_open_gate_is_no_gate_and_a_batch_without_positives_is_zero() -> None:
    z = torch.randn(6, 4, dtype=torch.float64)
    unit = normalize(z, dim=1)
    torch.testing.assert_close(gated_cosines(z, torch.full((6, 4), 0.7).double()), unit @ unit.T)
    assert gated_contrast(z, torch.ones_like(z), torch.arange(6), torch.full((6,), 9)).item() == 0


@pytest.mark.parametrize("z", degenerate())
def test_degenerate_embeddings_stay_finite(z: torch.Tensor) -> None:
    z = z.clone().requires_grad_()
    gate = torch.rand(6, 4).double().requires_grad_()
    label = torch.tensor([0, 0, 1, 1, 2, 2])
    finite_with_gradient(gated_contrast(z, gate, label, label.roll(2), temperature=1e-2), z, gate)
