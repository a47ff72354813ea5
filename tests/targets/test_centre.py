"""The centre is the moving average of joined teacher rows."""

from __future__ import annotations

import pytest
import torch

from nearfar.targets.centre import Centre


def test_reference_centres_of_two_steps(golden) -> None:
    case = golden("a-dino-case1")
    centre = Centre(6, momentum=float(case["hp_center_momentum"])).double()
    assert torch.equal(centre.value, torch.zeros(6, dtype=torch.float64))
    for step in "01":
        rows = case[f"in_teacher{step}"]
        centre.update(rows.sum(0), len(rows))
        torch.testing.assert_close(
            centre.value, case[f"out_center{step}"][0], rtol=1e-10, atol=1e-14
        )


@pytest.mark.parametrize("momentum", [0.0, 0.9, 1.0])
def test_update_by_parts_is_update_by_the_whole(momentum: float) -> None:
    rows = torch.randn(10, 3)
    whole = Centre(3, momentum)
    joined = Centre(3, momentum)
    whole.update(rows.sum(0), len(rows))
    joined.update(rows[:3].sum(0) + rows[3:].sum(0), torch.tensor(10))
    torch.testing.assert_close(whole.value, joined.value)
    torch.testing.assert_close(whole.value, (1 - momentum) * rows.mean(0))
