"""WSCoL: golden values and gradient, the loop, errors."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from nearfar.losses.dense.weak_strong import (
    prototype_labels,
    region_certainty,
    weighted_class_contrast,
)
from tests.losses.cases import close, leaves, named
from tests.references import ReferenceCase


@pytest.mark.parametrize("name", named("e-wscol-*"))
def test_reference(golden: Callable[[str], ReferenceCase], name: str) -> None:
    case = golden(name)
    (strong,) = leaves(case, "strong")
    label, prototypes = prototype_labels(
        case["in_weak"],
        case["in_prototypes"],
        rounds=int(case["hp_cluster_iterations"]),
        momentum=case["hp_momentum"].item(),
    )
    close(prototypes, case["out_prototypes"])
    assert torch.equal(label, case["out_labels"])
    weight = region_certainty(case["in_teacher_logits"], label)
    close(weight, case["out_weights"])
    used = torch.bincount(label)[label] > 1
    assert torch.equal(used, case["out_anchor_used"].bool())
    loss = weighted_class_contrast(strong, label, weight, temperature=case["hp_temperature"].item())
    loss.backward()
    close(loss, case["out_loss"])
    close(strong.grad, case["out_grad_strong"])


def test_weights_of_one_give_supervised_contrast() -> None:
    from nearfar.losses.labels.masked_supcon import masked_supcon

    z, label = torch.randn(6, 3, dtype=torch.float64), torch.tensor([0, 0, 1, 1, 1, 2])
    found = weighted_class_contrast(z, label, torch.ones(6), temperature=0.2)
    close(found, masked_supcon(z, label[:, None] == label, temperature=0.2))
    nothing = weighted_class_contrast(z, torch.arange(6), torch.ones(6))
    assert nothing.item() == 0


def test_wrong_inputs_get_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"weight \(N\)"):
        weighted_class_contrast(torch.zeros(2, 2), torch.zeros(2), torch.zeros(3))
    with pytest.raises(ValueError, match="expected 0 to 1"):
        prototype_labels(torch.zeros(2, 2), torch.zeros(2, 2), momentum=2.0)
    with pytest.raises(ValueError, match="least weight"):
        region_certainty(torch.zeros(2, 2), torch.zeros(2), least=0.0)
