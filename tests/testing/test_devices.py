"""The dry run on a pretended device finds waits and tensors that stay behind."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from nearfar.methods.instance.simclr import SimCLR
from nearfar.methods.method import Batch, Outputs
from nearfar.testing.devices import wait_in
from nearfar.testing.methods import METHOD_CHECKS, Case


class Waiting(SimCLR):
    def loss(self, outputs: Outputs, rows: slice | None = None) -> dict[str, Tensor]:
        terms = super().loss(outputs, rows)
        return terms if sum(term.item() for term in terms.values()) > 0 else {}


class Picking(SimCLR):
    def forward(self, batch: Batch) -> Outputs:
        outputs = super().forward(batch)
        first = next(iter(outputs.values()))
        return {**outputs, "picked": first[first.sum(1) > 0]}


class StayingBehind(SimCLR):
    def forward(self, batch: Batch) -> Outputs:
        return {name: value + torch.ones(1) for name, value in super().forward(batch).items()}


class Declared(Picking):
    waits = "It picks rows."


class DeclaredForNothing(SimCLR):
    waits = "It says so."


def test_a_method_that_stays_on_the_device_waits_for_nothing() -> None:
    assert wait_in(*Case(SimCLR).make()) == ""


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Waiting, "waits for the device"),
        (Picking, "waits for the device"),
        (StayingBehind, "two devices"),
        (DeclaredForNothing, "remove waits"),
    ],
)
def test_the_check_names_what_is_wrong(kind: Any, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        METHOD_CHECKS["waits_only_as_declared"](Case(kind))


def test_what_is_declared_may_wait() -> None:
    METHOD_CHECKS["waits_only_as_declared"](Case(Declared))
