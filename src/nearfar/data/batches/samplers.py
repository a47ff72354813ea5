"""Which samples form which batch: a function of seed, epoch and position alone, so that a resumed
run sees the same batches.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor

from nearfar.batch import Batch, Place
from nearfar.errors import UserError


class Sampler:
    """Batches of sample numbers; ``len`` is the number of steps of an epoch."""

    def __len__(self) -> int:
        raise NotImplementedError

    def batch(self, epoch: int, position: int) -> Tensor:
        """Sample numbers of one batch, int64 on the CPU; a function of its arguments and the
        sampler's alone.
        """
        raise NotImplementedError

    def about(self, epoch: int, position: int) -> dict[str, Tensor]:
        """What is known of each row of that batch, by name; a method finds it in
        ``Batch.extra``.
        """
        return {}


class EpochSampler(Sampler):
    """Batches of a fresh random order in each epoch; ``len`` is the number of steps of an epoch.

    Args:
        length: number of samples.
        batch_size: samples in a batch, over all processes; at least 1, at most ``length``.
        seed: of the orders.
        drop_last: leave out what does not fill the last batch (other samples each epoch). Otherwise
            the last batch is shorter; a single left-over sample joins the batch before it, because
            losses compare samples and need two.

    Raises:
        UserError: if there are no samples, or the batch is larger than the data.
    """

    def __init__(self, length: int, batch_size: int, *, seed: int, drop_last: bool = True) -> None:
        if length < 1:
            raise UserError("There are no samples to make batches of; expected at least 1.")
        if not 1 <= batch_size <= length:
            raise UserError(
                f"The batch size is {batch_size}, but there are {length} training samples; choose "
                f"a --batch-size from 2 to {length}."
            )
        self.length = length
        self.batch_size = batch_size
        self.seed = seed
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


class RepeatedSampler(Sampler):
    """Batches in which each of ``batch_size // copies`` samples occurs ``copies`` times in a row.

    Raises:
        UserError: if a batch does not hold a sample ``copies`` times, or is larger than the data.

    Source: Hoffer et al. 2020, "Augment your batch", section 3.
    """

    def __init__(self, length: int, batch_size: int, *, copies: int, seed: int) -> None:
        if not 1 <= copies <= batch_size:
            raise UserError(
                f"A batch of {batch_size} cannot hold each sample {copies} times; choose a "
                f"--batch-size of at least {copies}."
            )
        self.copies = copies
        self._each = EpochSampler(length, min(length, batch_size // copies), seed=seed)

    def __len__(self) -> int:
        return len(self._each)

    def batch(self, epoch: int, position: int) -> Tensor:
        """(samples * copies,) int64."""
        return self._each.batch(epoch, position).repeat_interleave(self.copies)


class WholeSampler(Sampler):
    """All samples in every batch, in their order; one step an epoch."""

    def __init__(self, length: int) -> None:
        EpochSampler(length, length, seed=0)
        self.length = length

    def __len__(self) -> int:
        return 1

    def batch(self, epoch: int, position: int) -> Tensor:
        """(N,) int64."""
        return torch.arange(self.length)


def part(index: Tensor, rank: int, world: int) -> Tensor:
    """The contiguous part of a joined batch that one of ``world`` processes takes; parts differ in
    length by at most 1.

    Args:
        index: (N,).
        rank: of the process, in [0, world).
        world: number of processes, at least 1.
    """
    return torch.tensor_split(index, world)[rank]


def place_of(total: int, parts: int, rank: int, world: int) -> Place | None:
    """Where one of ``world`` processes has its samples in a batch of ``total`` that is worked
    through in ``parts``.

    A process takes its share of each part, so that a part holds the same samples however many
    processes share it. None with one process.
    """
    if world == 1:
        return None
    numbers = torch.arange(total)
    ends = [total * number // parts for number in range(parts + 1)]
    return Place(
        torch.cat([part(numbers[start:stop], rank, world) for start, stop in pairwise(ends)]), total
    )


def parts_of(batch: Batch, count: int) -> list[Batch]:
    """This process's rows of each of the parts of a batch, each with its place in its part."""
    if count == 1:
        return [batch]
    place = batch.place
    total = len(batch) if place is None else place.total
    ends = torch.tensor([total * number // count for number in range(count + 1)])
    if place is None:
        return [batch[start:stop] for start, stop in pairwise(ends.tolist())]
    starts = torch.searchsorted(place.rows, ends)
    bounds = zip(pairwise(starts.tolist()), pairwise(ends.tolist()), strict=True)
    return [
        replace(batch[start:stop], place=Place(place.rows[start:stop] - first, last - first))
        for (start, stop), (first, last) in bounds
    ]
