"""Batches of a run that goes once through the members of a group column, one after another."""

from __future__ import annotations

from bisect import bisect_right

import torch
from torch import Tensor

from nearfar.data.batches.labelled import members_of
from nearfar.data.batches.samplers import EpochSampler, Sampler
from nearfar.errors import UserError


class OnceSampler(Sampler):
    """The whole run is divided among the members in their order, in proportion to their samples;
    each member's samples pass again and again, in fresh random orders, until its steps are over.

    Attributes:
        ends: After how many steps of the run each member is over; the last is ``steps``.
        members: The rows of each member.

    Args:
        column: (N,) int64, the member of each sample.
        batch_size: Samples of a batch.
        steps: Of the whole run.
        seed: Of the orders.

    Raises:
        UserError: If a member has fewer samples than a batch, or no step.
    """

    def __init__(self, column: Tensor, batch_size: int, *, steps: int, seed: int) -> None:
        self.members = members_of(column.cpu())
        smallest = min(map(len, self.members))
        if batch_size > smallest:
            raise UserError(
                f"A batch of {batch_size} is larger than the smallest member of the column that "
                f"orders the run, which has {smallest} samples; choose a --batch-size of at most "
                f"{smallest}."
            )
        if steps < len(self.members):
            raise UserError(
                f"A run of {steps} steps cannot go through {len(self.members)} members; expected "
                "at least a step for each: choose more --steps or --epochs."
            )
        self.steps = steps
        sizes = torch.tensor([len(rows) for rows in self.members]).cumsum(0)
        self.ends = [max(1, round(steps * int(size) / int(sizes[-1]))) for size in sizes]
        seeds = [(seed * 1_000_003 + number) % (1 << 31) for number in range(len(self.members))]
        self._orders = [
            EpochSampler(len(rows), batch_size, seed=one)
            for rows, one in zip(self.members, seeds, strict=True)
        ]
        self._length = len(column) // batch_size

    def __len__(self) -> int:
        return self._length

    def batch(self, epoch: int, position: int) -> Tensor:
        """(batch_size,) int64."""
        step = epoch * self._length + position
        member = min(bisect_right(self.ends, step), len(self.members) - 1)
        inside = step - (self.ends[member - 1] if member else 0)
        order = self._orders[member]
        return self.members[member][order.batch(*divmod(inside, len(order)))]


class RowsSampler(Sampler):
    """Batches of some rows alone, in fresh random orders.

    Args:
        rows: (M,) int64, numbers of samples.
        batch_size: Samples of a batch, at most M.
        seed: Of the orders.
    """

    def __init__(self, rows: Tensor, batch_size: int, *, seed: int) -> None:
        self.rows = rows
        self._order = EpochSampler(len(rows), batch_size, seed=seed)

    def __len__(self) -> int:
        return len(self._order)

    def batch(self, epoch: int, position: int) -> Tensor:
        """(batch_size,) int64."""
        return self.rows[self._order.batch(epoch, position)]
