"""SupCon: labels decide, real-valued labels are refused."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from nearfar.errors import UserError
from nearfar.methods.supervised.supcon import SupCon

from .toys import ToyEncoder, batch_for, build, spec_of


@pytest.mark.parametrize("name", ["a-supcon-case1-baseT", "a-supcon-case4-singleton"])
def test_reference_loss(golden, name: str) -> None:
    case = golden(name)
    temperatures = {
        "temperature": float(case["hp_temperature"]),
        "base_temperature": float(case["hp_base_temperature"]),
    }
    method = build(SupCon, {"hidden": 4, "projection": 6} | temperatures)
    loss = method.loss({"views": 3 * case["in_features"], "label": case["in_labels"].long()})[
        "supcon"
    ]
    torch.testing.assert_close(loss, case["out_loss"], rtol=1e-8, atol=0)


def test_labels_reach_the_loss() -> None:
    method = build(SupCon, {"hidden": 16, "projection": 8}).train()
    batch = batch_for(method)
    losses = []
    for label in (torch.arange(8), torch.arange(8) % 2):
        batch.label = label
        losses.append(method.loss(method(batch))["supcon"].item())
    assert losses[0] != pytest.approx(losses[1])


def test_real_valued_labels_are_refused() -> None:
    spec = dataclasses.replace(spec_of(SupCon), target="value", classes=())
    with pytest.raises(UserError, match="supcon needs classes; the labels of toy are real numbers"):
        SupCon(ToyEncoder(), spec)
