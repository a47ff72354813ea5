"""Which samples form which batch: a function of seed, epoch and position alone, so that a resumed run sees the same batches."""

from __future__ import annotations

import torch
from torch import Tensor

from nearfar.errors import UserError


class EpochSampler:
    """Batches of a fresh random order in each epoch; ``len`` is the number of steps of an epoch.

    Args:
        length: number of samples.
        batch_size: samples in a batch, over all processes; at least 1, at most ``length``.
        seed: of the orders.
        drop_last: leave out what does not fill the last batch (other samples each epoch). Otherwise the last batch is shorter;
            a single left-over sample joins the batch before it, because losses compare samples and need two.

    Raises:
        UserError: if there are no samples, or the batch is larger than the data.
    """

    def __init__(self, length: int, batch_size: int, *, seed: int, drop_last: bool = True) -> None:
        if length < 1:
            raise UserError("There are no samples to make batches of; expected at least 1.")
        if not 1 <= batch_size <= length:
            raise UserError(
                f"The batch size is {batch_size}, but there are {length} training samples; choose a --batch-size from 2 to {length}."
            )
        self.length, self.batch_size, self.seed = length, batch_size, seed
        steps, left = divmod(length, batch_size)
        self._steps = steps if drop_last or left <= 1 else steps + 1
        self._last_end = steps * batch_size if drop_last else length
        self._order: tuple[int, Tensor] | None = None

    def __len__(self) -> int:
        return self._steps

    def batch(self, epoch: int, position: int) -> Tensor:
        """Sample numbers of one batch, (batch_size,) int64 on the CPU.

        Args:
            epoch: from 0.
            position: from 0, below ``len(self)``.

        Raises:
            IndexError: if there is no such position.
        """
        if not 0 <= position < len(self):
            raise IndexError(f"position {position} of {len(self)} batches")
        if self._order is None or self._order[0] != epoch:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            self._order = epoch, torch.randperm(self.length, generator=generator)
        end = self._last_end if position == len(self) - 1 else (position + 1) * self.batch_size
        return self._order[1][position * self.batch_size : end]


def part(index: Tensor, rank: int, world: int) -> Tensor:
    """The contiguous part of a joined batch that one of ``world`` processes takes; parts differ in length by at most 1.

    Args:
        index: (N,).
        rank: of the process, in [0, world).
        world: number of processes, at least 1.
    """
    return torch.tensor_split(index, world)[rank]
