"""The table of per-sample numbers."""

from __future__ import annotations

import torch

from nearfar.targets.sample_table import SampleTable


def test_rows_are_read_and_overwritten_by_sample_number() -> None:
    table = SampleTable(5, temperature=0.5, seen=False)
    index = torch.tensor([3, 0])
    table.update(
        index,
        {
            "temperature": torch.tensor([1.0, 2.0], dtype=torch.float64),
            "seen": torch.tensor([True, False]),
        },
    )
    torch.testing.assert_close(table.temperature, torch.tensor([2.0, 0.5, 0.5, 1.0, 0.5]))
    assert table.seen.tolist() == [False, False, False, True, False]
    rows = table(torch.tensor([0, 3, 4]))
    assert rows["temperature"].tolist() == [2.0, 1.0, 0.5]
    assert rows["seen"].tolist() == [False, True, False]
    assert rows["seen"].dtype == torch.bool


def test_columns_not_named_stay() -> None:
    table = SampleTable(3, one=1.0, two=2.0)
    table.update(torch.tensor([1]), {"two": torch.tensor([5.0])})
    assert table.one.tolist() == [1.0] * 3
    assert table.two.tolist() == [2.0, 5.0, 2.0]


def test_rows_are_copies_and_updates_need_no_gradient() -> None:
    table = SampleTable(3, one=1.0)
    rows = table(torch.arange(3))
    table.update(torch.tensor([0]), {"one": torch.tensor([9.0], requires_grad=True)})
    assert rows["one"].tolist() == [1.0] * 3
    assert not table.one.requires_grad


def test_checkpoints_carry_it() -> None:
    table = SampleTable(4, one=1.0, seen=False)
    other = SampleTable(4, one=0.0, seen=True)
    table.update(torch.tensor([2]), {"one": torch.tensor([7.0])})
    other.load_state_dict(table.state_dict())
    assert other.one.tolist() == [1.0, 1.0, 7.0, 1.0]
    assert other.seen.tolist() == [False] * 4
    assert list(table.parameters()) == []
