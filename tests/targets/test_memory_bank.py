"""The memory bank changes the rows of the given samples, and those alone."""

from __future__ import annotations

import torch
from torch.nn.functional import normalize

from nearfar.targets.memory_bank import MemoryBank


def test_update_moves_the_named_rows_and_keeps_unit_length() -> None:
    bank = MemoryBank(8, 3).double()
    before = bank.rows.clone()
    index = torch.tensor([6, 1])
    rows = normalize(torch.randn(2, 3, dtype=torch.float64), dim=1)
    bank.update(index, rows, momentum=0.25)
    torch.testing.assert_close(bank(index), normalize(0.25 * before[index] + 0.75 * rows, dim=1))
    untouched = [i for i in range(8) if i not in (1, 6)]
    assert torch.equal(bank.rows[untouched], before[untouched])
    assert torch.equal(bank(torch.tensor([3, 3])), before[[3, 3]])


def test_state_is_in_the_checkpoint() -> None:
    assert set(MemoryBank(4, 2).state_dict()) == {"rows"}
