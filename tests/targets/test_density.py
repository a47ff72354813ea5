"""Density weights: a loop twin, their mean, and what they refuse."""

from __future__ import annotations

import math

import pytest
import torch

from nearfar.errors import UserError
from nearfar.targets.density import density_weights


@pytest.mark.parametrize(("kind", "power"), [("inverse", 1.0), ("inverse-root", 0.5)])
def test_equals_its_loop(kind: str, power: float) -> None:
    label = torch.tensor([1.0, 1.0, 2.5, 1.0, 9.0, 2.5])
    density = [
        sum(math.exp(-((y - other) ** 2) / (2 * 1.5**2)) for other in label.tolist())
        for y in label.tolist()
    ]
    weight = torch.tensor([1 / d**power for d in density])
    torch.testing.assert_close(
        density_weights(label, kind=kind, bandwidth=1.5), weight / weight.mean()
    )


def test_rare_labels_weigh_more_and_the_mean_is_one() -> None:
    label = torch.cat([torch.full((90,), 30.0), torch.full((10,), 80.0)])
    weight = density_weights(label)
    assert weight.mean().item() == pytest.approx(1)
    assert weight[-1] / weight[0] == pytest.approx(3)
    assert torch.equal(density_weights(label, kind="none"), torch.ones(100))


def test_many_distinct_labels_in_blocks_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    label = torch.randn(50, generator=torch.Generator().manual_seed(0))
    whole = density_weights(label)
    monkeypatch.setattr("nearfar.targets.density._BLOCK", 120)
    torch.testing.assert_close(density_weights(label), whole)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(UserError, match="Unknown density weight 'invers': did you mean inverse"):
        density_weights(torch.arange(3.0), kind="invers")
    with pytest.raises(
        UserError, match="The bandwidth of the density of labels is 0; expected a number above 0"
    ):
        density_weights(torch.arange(3.0), bandwidth=0)
