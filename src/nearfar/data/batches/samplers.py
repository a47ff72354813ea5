"""Which samples form which batch: a function of seed, epoch and position alone, so that a resumed
run sees the same batches.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor

from nearfar.batch import Batch, Place
from nearfar.data.batches.wanted import KINDS, WantedBatches
from nearfar.errors import UserError, unknown_name


class Sampler(Protocol):
    """Batches of sample numbers; ``len`` is the number of steps of an epoch."""

    def __len__(self) -> int: ...

    def batch(self, epoch: int, position: int) -> Tensor:
        """Sample numbers of one batch, int64 on the CPU; a function of its arguments and the
        sampler's alone.
        """


def sampler_for(
    wanted: WantedBatches,
    length: int,
    batch_size: int,
    *,
    seed: int,
    label: Tensor | None = None,
    groups: Tensor | None = None,
) -> Sampler:
    """The sampler of the wanted kind.

    Args:
        wanted: what the method asks for.
        length: number of training samples.
        batch_size: samples in a batch, over all processes; episodes have their own.
        seed: of all draws.
        label: (N,) classes, for episodes.
        groups: (N,) int64, for grouped batches; read anew at the start of each epoch.

    Raises:
        UserError: for an unknown kind, a batch that the data cannot fill, or missing labels.
    """
    if wanted.kind not in KINDS:
        raise unknown_name("kind of batches", wanted.kind, KINDS)
    if wanted.kind == "repeated":
        return RepeatedSampler(length, batch_size, copies=wanted.copies, seed=seed)
    if wanted.kind == "episodes":
        return EpisodeSampler(label, wanted, length=length, seed=seed)
    if wanted.kind == "grouped":
        if groups is None:
            raise RuntimeError(
                "a method that wants grouped batches must have a buffer named groups"
            )
        return GroupedSampler(groups, batch_size, seed=seed)
    return EpochSampler(length, batch_size, seed=seed)


class EpochSampler:
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


class RepeatedSampler:
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


class EpisodeSampler:
    """Episodes: some classes, the same number of samples of each, class by class; every draw is
    fresh.

    An epoch has as many episodes as it takes to draw ``length`` samples. Classes with too few
    samples are left out.

    Raises:
        UserError: if there are no labels, or fewer than ``way`` classes with enough samples.

    Source: Vinyals et al. 2016 (matching networks), section 3.
    """

    def __init__(
        self, label: Tensor | None, wanted: WantedBatches, *, length: int, seed: int
    ) -> None:
        if label is None:
            raise UserError(
                "Episodes are drawn by class, but the data have no class labels; name the label "
                "column with --label."
            )
        self.wanted = wanted
        self.seed = seed
        each = wanted.shot + wanted.query
        label = label.cpu()
        self.members = [rows for rows in members_of(label) if len(rows) >= each]
        if len(self.members) < wanted.way:
            raise UserError(
                f"An episode takes {wanted.way} classes with {each} samples each, but only "
                f"{len(self.members)} classes have as many;"
                " lower the settings way, shot or query."
            )
        self._steps = max(1, length // wanted.rows)

    def __len__(self) -> int:
        return self._steps

    def batch(self, epoch: int, position: int) -> Tensor:
        """(way * (shot + query),) int64, class-major; of each class first the support, then the
        queries.
        """
        generator = torch.Generator().manual_seed(
            ((self.seed * 1_000_003 + epoch) * 100_003 + position) % (1 << 63)
        )
        each = self.wanted.shot + self.wanted.query
        chosen = torch.randperm(len(self.members), generator=generator)[: self.wanted.way]
        rows = (self.members[number] for number in chosen.tolist())
        return torch.cat(
            [members[torch.randperm(len(members), generator=generator)[:each]] for members in rows]
        )


class GroupedSampler:
    """Batches from one group each, taken from the groups in turn.

    In each epoch the members of every group are permuted and cut to whole batches; smaller groups
    never appear. A batch is taken from the end of each group's list in turn. ``len`` is fixed at
    ``N // batch_size``, whatever the groups are: when the batches are used up, they come again.

    Args:
        groups: (N,) int64 group of each sample; read when an epoch's first batch is asked for.
        batch_size: samples in a batch, over all processes.
        seed: of the permutations.

    Raises:
        UserError: if no group fills a batch.

    Source: Zhang et al. 2024 (MCL), authors' code.
    """

    def __init__(self, groups: Tensor, batch_size: int, *, seed: int) -> None:
        EpochSampler(len(groups), batch_size, seed=seed)
        self.groups = groups
        self.batch_size = batch_size
        self.seed = seed
        self._batches: tuple[int, list[Tensor]] | None = None

    def __len__(self) -> int:
        return len(self.groups) // self.batch_size

    def batch(self, epoch: int, position: int) -> Tensor:
        """(batch_size,) int64, all of one group."""
        if not 0 <= position < len(self):
            raise IndexError(f"position {position} of {len(self)} batches")
        if self._batches is None or self._batches[0] != epoch:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            permuted = [
                rows[torch.randperm(len(rows), generator=generator)]
                for rows in members_of(self.groups.cpu())
            ]
            self._batches = epoch, round_robin(permuted, self.batch_size)
        batches = self._batches[1]
        if not batches:
            raise UserError(
                f"No group of samples fills a batch of {self.batch_size}; choose a smaller "
                "--batch-size or fewer clusters."
            )
        return batches[position % len(batches)]


def members_of(groups: Tensor) -> list[Tensor]:
    """Positions, rising, of each number that occurs in ``groups`` (N,), smallest number first."""
    order = groups.argsort(stable=True)
    return list(torch.split(order, torch.unique(groups, return_counts=True)[1].tolist()))


def round_robin(members: list[Tensor], batch_size: int) -> list[Tensor]:
    """Batches of one group each, a batch from the end of each group's list in turn; what fills no
    batch is cut off the lists' ends.
    """
    whole = [rows[: len(rows) // batch_size * batch_size] for rows in members]
    batches: list[Tensor] = []
    while any(map(len, whole)):
        for number, rows in enumerate(whole):
            if len(rows):
                batches.append(rows[-batch_size:].flip(0))
                whole[number] = rows[:-batch_size]
    return batches


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
