"""Hydra's gate: reference values, symmetry, and what each kind multiplies."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nearfar.errors import UserError
from nearfar.networks.gate import ClassPairGate
from tests.losses.cases import close, named


def from_case(case: Any, kind: str) -> ClassPairGate:
    table = case["in_label_embedding_weight"]
    gate = ClassPairGate(
        len(table),
        len(case["in_mlp_5_bias"]),
        embedding=table.shape[1],
        hidden=len(case["in_mlp_2_bias"]),
        kind=kind,
    )
    state = {
        f"layers.{key[7]}.{key[9:]}": value
        for key, value in case.items()
        if key.startswith("in_mlp_")
    }
    gate.double().load_state_dict({"table.weight": table, **state})
    return gate.train()


@pytest.mark.parametrize("name", named("b-hydra-gate-*"))
def test_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    gate = from_case(case, "fused" if name.endswith("fuse") else "product")
    close(gate(case["in_y1"], case["in_y2"]), case["out_gate"])


def test_the_order_of_a_pair_does_not_matter_and_gates_lie_between_0_and_1() -> None:
    first = torch.tensor([0, 1, 2, 3])
    second = torch.tensor([3, 2, 0, 3])
    for kind in ("fused", "product"):
        gate = ClassPairGate(4, 5, embedding=6, hidden=7, kind=kind).double()
        opened = gate(first, second)
        torch.testing.assert_close(gate(second, first), opened)
        assert opened.shape == (4, 5)
        assert bool(((opened > 0) & (opened < 1)).all())


def test_a_product_multiplies_the_gates_of_both_classes() -> None:
    gate = ClassPairGate(4, 5, embedding=6, hidden=7, kind="product").double()
    alone = ClassPairGate(4, 5, embedding=6, hidden=7).double()
    alone.load_state_dict(gate.state_dict())
    first = torch.arange(4)
    second = torch.tensor([3, 2, 1, 0])
    torch.testing.assert_close(gate(first, second), alone(first, first) * alone(second, second))


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(UserError, match="Unknown gate 'fuse': did you mean fused"):
        ClassPairGate(4, 5, kind="fuse")
