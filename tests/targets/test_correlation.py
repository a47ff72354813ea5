"""The running correlation is the weighted sum of the batches' own, the first of which starts it."""

from __future__ import annotations

import torch

from nearfar.losses.distillation.direct_predictor import update_correlation
from nearfar.targets.correlation import RunningCorrelation


def test_follows_the_batches_and_restores_from_its_state() -> None:
    running = RunningCorrelation(3).double()
    batches = torch.randn(3, 5, 3, dtype=torch.float64)
    expected = None
    for batch in batches:
        running.update(batch, 0.3)
        expected = update_correlation(expected, batch, rho=0.3)
        torch.testing.assert_close(running.matrix, expected)
    mean = 0.09 * batches[0].mean(0) + 0.3 * 0.7 * batches[1].mean(0) + 0.7 * batches[2].mean(0)
    torch.testing.assert_close(running.mean, mean)
    torch.testing.assert_close(running.centred(), expected - torch.outer(mean, mean))
    fresh = RunningCorrelation(3).double()
    fresh.load_state_dict(running.state_dict())
    for one in (running, fresh):
        one.update(batches[0], 0.3)
    assert torch.equal(fresh.matrix, running.matrix)


def test_half_types_are_taken_in_at_the_matrixs_own_precision() -> None:
    running = RunningCorrelation(3)
    rows = torch.randn(8, 3).bfloat16()
    running.update(rows, 0.3)
    assert running.matrix.dtype == torch.float32
    torch.testing.assert_close(running.matrix, update_correlation(None, rows.float()))
