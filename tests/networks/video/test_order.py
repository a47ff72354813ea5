"""The head of clip order, and one student of several teachers."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import kl_div

from nearfar.errors import UserError
from nearfar.losses.video.teachers import teachers_divergence
from nearfar.networks.video.order import ClipOrder
from tests.losses.cases import close


def test_pairs_are_compared_by_one_layer() -> None:
    head = ClipOrder(4, 3, hidden=5).eval()
    features = torch.randn(2, 3, 4)
    pairs = [(0, 1), (0, 2), (1, 2)]
    compared = [
        head.compare(torch.cat([features[:, i], features[:, j]], 1)).relu() for i, j in pairs
    ]
    torch.testing.assert_close(head(features), head.answer(torch.cat(compared, 1)))
    assert head(features).shape == (2, 6)


def test_the_divergence_is_the_mean_over_teachers() -> None:
    student = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    teachers = [torch.randn(3, 5, dtype=torch.float64) for _ in range(2)]
    logs = (student / 2).log_softmax(1)
    parts = [4 * kl_div(logs, (t / 2).softmax(1), reduction="batchmean") for t in teachers]
    close(teachers_divergence(student, teachers, temperature=2.0), torch.stack(parts).mean())
    assert teachers_divergence(student, [student]).item() == pytest.approx(0, abs=1e-12)


def test_wrong_inputs_get_one_sentence() -> None:
    with pytest.raises(UserError, match="expected 2 to 6"):
        ClipOrder(4, 7)
    with pytest.raises(UserError, match=r"\(N, 3, D\)"):
        ClipOrder(4, 3)(torch.zeros(1, 2, 4))
    with pytest.raises(ValueError, match="at least one teacher"):
        teachers_divergence(torch.zeros(1, 2), [])
    with pytest.raises(ValueError, match=r"teacher \(N, K\)"):
        teachers_divergence(torch.zeros(1, 2), [torch.zeros(1, 3)])
