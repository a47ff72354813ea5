"""SLA: reference values, aggregation by hand, and no gradient into the teacher."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nearfar.losses.supervised.label_augmentation import (
    aggregated,
    joint_labels,
    label_augmentation,
    self_distillation,
    single,
)
from tests.losses.cases import close, leaves, named


@pytest.mark.parametrize("name", named("b-sla-loss-*"))
def test_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    joint, plain = leaves(case, "joint_logits", "single_logits")
    label = case["in_labels"]
    count = int(case["hp_M"])
    assert torch.equal(joint_labels(label, count), case["out_joint_labels"].long())
    loss = label_augmentation(joint, label, count, total=bool(case["hp_sum_over_transforms"]))
    close(loss, case["out_sla_loss"])
    (alone,) = torch.autograd.grad(loss, joint, retain_graph=True)
    close(alone, case["out_grad_joint_sla_only"])
    whole = loss + self_distillation(plain, joint, label, count, temperature=case["hp_T"].item())
    whole.backward()
    close(whole, case["out_total_sd"])
    close(joint.grad, case["out_grad_joint"])
    close(plain.grad, case["out_grad_single"])
    close(aggregated(joint, count), case["out_agg_logits"])
    close(single(joint, count), case["out_single_inference_logits"])


def test_aggregation_equals_its_loop_and_one_transformation_is_plain_classification() -> None:
    joint = torch.randn(6, 8, dtype=torch.float64)
    by_hand = [
        [sum(joint[2 * n + m, 2 * c + m] for m in range(2)) / 2 for c in range(4)] for n in range(3)
    ]
    torch.testing.assert_close(aggregated(joint, 2), torch.tensor(by_hand))
    torch.testing.assert_close(aggregated(joint, 1), joint)
    label = torch.tensor([0, 1, 2, 3, 0, 1])
    torch.testing.assert_close(
        label_augmentation(joint, label, 1), torch.nn.functional.cross_entropy(joint, label)
    )
