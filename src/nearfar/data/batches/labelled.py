"""Batches of samples that share a class or a group."""

from __future__ import annotations

import torch
from torch import Tensor

from nearfar.data.batches.samplers import EpochSampler, Sampler
from nearfar.errors import UserError


class EpisodeSampler(Sampler):
    """Episodes: some classes, the same number of samples of each, class by class; every draw is
    fresh.

    An epoch has as many episodes as it takes to draw ``length`` samples. Classes with too few
    samples are left out.

    Raises:
        UserError: if there are no labels, or fewer than ``way`` classes with enough samples.

    Source: Vinyals et al. 2016 (matching networks), section 3.
    """

    def __init__(
        self, label: Tensor | None, way: int, shot: int, query: int, *, length: int, seed: int
    ) -> None:
        if label is None:
            raise UserError(
                "Episodes are drawn by class, but the data have no class labels; name the label "
                "column with --label."
            )
        self.way = way
        self.each = shot + query
        self.seed = seed
        each = self.each
        label = label.cpu()
        self.members = [rows for rows in members_of(label) if len(rows) >= each]
        if len(self.members) < way:
            raise UserError(
                f"An episode takes {way} classes with {each} samples each, but only "
                f"{len(self.members)} classes have as many;"
                " lower the settings way, shot or query."
            )
        self._steps = max(1, length // (way * each))

    def __len__(self) -> int:
        return self._steps

    def batch(self, epoch: int, position: int) -> Tensor:
        """(way * (shot + query),) int64, class-major; of each class first the support, then the
        queries.
        """
        generator = torch.Generator().manual_seed(
            ((self.seed * 1_000_003 + epoch) * 100_003 + position) % (1 << 63)
        )
        chosen = torch.randperm(len(self.members), generator=generator)[: self.way]
        rows = (self.members[number] for number in chosen.tolist())
        return torch.cat(
            [
                members[torch.randperm(len(members), generator=generator)[: self.each]]
                for members in rows
            ]
        )


class GroupedSampler(Sampler):
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
