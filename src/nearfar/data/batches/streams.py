"""Batches in which samples of different roles stand side by side."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nearfar.data.batches.labelled import members_of
from nearfar.data.batches.samplers import EpochSampler, Sampler
from nearfar.errors import UserError


class StreamSampler(Sampler):
    """Several streams in each batch, interleaved in a fixed pattern.

    An epoch lets the stream that lasts longest pass once; the others begin anew, in a new order,
    when they end.

    Args:
        length: Number of samples.
        batch_size: Samples of a batch; a multiple of the sum of ``sizes``.
        sizes: How many samples of each stream stand side by side.
        column: (N,) int64, which stream each sample belongs to; None: every stream is an order of
            all samples, of its own.
        seed: Of the orders.

    Raises:
        UserError: If a stream has no samples, or no more than the batch needs.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        sizes: Sequence[int],
        column: Tensor | None,
        *,
        seed: int,
    ) -> None:
        units = max(1, batch_size // sum(sizes))
        self.seed = seed
        pattern = [number for number, size in enumerate(sizes) for _ in range(size)]
        self.pattern = torch.tensor(pattern).repeat(units)
        self.members: list[Tensor] = []
        for number in range(len(sizes)):
            rows = torch.arange(length)
            if column is not None:
                rows = (column.cpu() == number).nonzero().flatten()
            if not len(rows):
                raise UserError(
                    f"Stream {number} of the batches has no samples; expected at least 1: add or "
                    "mend the preparation that gives samples their roles."
                )
            self.members.append(rows)
        self.counts = [units * size for size in sizes]
        self._steps = max(
            max(1, len(rows) // count)
            for rows, count in zip(self.members, self.counts, strict=True)
            if count
        )

    def __len__(self) -> int:
        return self._steps

    def batch(self, epoch: int, position: int) -> Tensor:
        """(batch_size,) int64, by the pattern."""
        found = torch.empty(len(self.pattern), dtype=torch.int64)
        for number, (rows, count) in enumerate(zip(self.members, self.counts, strict=True)):
            place = (epoch * self._steps + position) * count + torch.arange(count)
            rounds = place // len(rows)
            taken = torch.empty(count, dtype=torch.int64)
            for one in sorted(set(rounds.tolist())):
                seed = ((self.seed * 1_000_003 + one) * 101 + number) % (1 << 63)
                order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
                here = rounds == one
                taken[here] = rows[order[place[here] % len(rows)]]
            found[self.pattern == number] = taken
        return found

    def about(self, epoch: int, position: int) -> dict[str, Tensor]:
        """The stream of each row, under "stream"."""
        return {"stream": self.pattern}


class CrossedSampler(Sampler):
    """Some members of one column in each batch, and of each one sample of every member of another
    that it has.

    Args:
        first: (N,) int64, the member (volume) of each sample.
        second: (N,) int64, its other member (partition).
        batch_size: Samples of a batch at most; it holds ``batch_size // members of second``
            members of ``first``.
        seed: Of the draws.

    Raises:
        UserError: If a batch does not hold two members of ``first``.
    """

    def __init__(self, first: Tensor, second: Tensor, batch_size: int, *, seed: int) -> None:
        self.seed = seed
        parts = int(second.max()) + 1
        self.each = batch_size // parts
        of_first = members_of(first.cpu())
        if self.each < 2 or len(of_first) < 2:
            raise UserError(
                f"A batch of {batch_size} holds {self.each} of {len(of_first)} members with "
                f"{parts} parts each; expected at least 2: choose a --batch-size of at least "
                f"{2 * parts}."
            )
        numbers = second.cpu()
        self.cells = [
            [rows[numbers[rows] == part] for part in range(parts) if (numbers[rows] == part).any()]
            for rows in of_first
        ]
        self._orders = EpochSampler(len(of_first), min(self.each, len(of_first)), seed=seed)

    def __len__(self) -> int:
        return len(self._orders)

    def batch(self, epoch: int, position: int) -> Tensor:
        """Int64 sample numbers, part by part of each member in turn."""
        seed = ((self.seed * 1_000_003 + epoch) * 100_003 + position) % (1 << 63)
        generator = torch.Generator().manual_seed(seed)
        chosen = self._orders.batch(epoch, position).tolist()
        picked = []
        for member in chosen:
            for cell in self.cells[member]:
                place = torch.randint(len(cell), (), generator=generator)
                picked.append(int(cell[place]))
        return torch.tensor(picked)


class OrderedSampler(Sampler):
    """The samples of one member of a column after another, in random order within it.

    Args:
        column: (N,) int64, the member of each sample.
        batch_size: Samples of a batch.
        shuffled: Whether the members come in random order, or in their own.
        seed: Of the orders.

    Raises:
        UserError: As ``EpochSampler``.
    """

    def __init__(self, column: Tensor, batch_size: int, *, shuffled: bool, seed: int) -> None:
        EpochSampler(len(column), batch_size, seed=seed)
        self.members = members_of(column.cpu())
        self.batch_size = batch_size
        self.shuffled = shuffled
        self.seed = seed
        self._order: tuple[int, Tensor] | None = None

    def __len__(self) -> int:
        return sum(map(len, self.members)) // self.batch_size

    def batch(self, epoch: int, position: int) -> Tensor:
        """(batch_size,) int64."""
        if self._order is None or self._order[0] != epoch:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            count = len(self.members)
            turn = torch.randperm(count, generator=generator) if self.shuffled else range(count)
            rows = [self.members[int(member)] for member in turn]
            mixed = [one[torch.randperm(len(one), generator=generator)] for one in rows]
            self._order = epoch, torch.cat(mixed)
        start = position * self.batch_size
        return self._order[1][start : start + self.batch_size]
