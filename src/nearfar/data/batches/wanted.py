"""Which samples a method wants together in a batch: small values that make their own sampler."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Protocol

from torch import Tensor

from nearfar.data.batches.labelled import EpisodeSampler, GroupedSampler
from nearfar.data.batches.samplers import EpochSampler, RepeatedSampler, Sampler, WholeSampler
from nearfar.data.batches.streams import CrossedSampler, OrderedSampler, StreamSampler
from nearfar.data.batches.weighted import WeightedSampler
from nearfar.errors import UserError
from nearfar.ranges import whole_number


@dataclass(frozen=True)
class Facts:
    """What a sampler may know of the training samples and of the method.

    Attributes:
        length: Number of training samples.
        label: (N,) int64 classes or float values; None without labels.
        group: For each group column, (N,) int64 numbers of its members.
        buffer: From a name to the method's tensor that says something of each sample; it may
            change between epochs.
    """

    length: int
    label: Tensor | None = None
    group: Mapping[str, Tensor] = field(default_factory=dict)
    buffer: Callable[[str], Tensor] = field(default=lambda name: _no_buffer(name))

    def column(self, name: str, why: str) -> Tensor:
        """The numbers of a group column.

        Raises:
            UserError: If the data have none of that name; ``why`` says what it is for.
        """
        if name not in self.group:
            known = ", ".join(self.group) or "none"
            raise UserError(
                f"{why} needs the group column {name!r}, but the data have {known}; name it with "
                f"--group {name}, or add a preparation that makes it with --with."
            )
        return self.group[name]


def _no_buffer(name: str) -> Tensor:
    raise RuntimeError(f"a method that wants such batches must have a buffer named {name}")


class WantedBatches(Protocol):
    """Which samples a batch holds together."""

    def size(self, length: int, asked: int) -> int:
        """Samples of a batch of ``length`` training samples where the run asks for ``asked``."""

    def sampler(self, facts: Facts, batch_size: int, *, seed: int) -> Sampler:
        """What draws the batches.

        Raises:
            UserError: If the data cannot fill such batches.
        """


@dataclass(frozen=True)
class Shuffled:
    """A random order, each sample once an epoch."""

    def size(self, length: int, asked: int) -> int:
        return asked

    def sampler(self, facts: Facts, batch_size: int, *, seed: int) -> Sampler:
        return EpochSampler(facts.length, batch_size, seed=seed)


@dataclass(frozen=True)
class Whole:
    """All samples in every batch, in their order; an epoch is one step."""

    def size(self, length: int, asked: int) -> int:
        return length

    def sampler(self, facts: Facts, batch_size: int, *, seed: int) -> Sampler:
        return WholeSampler(facts.length)


@dataclass(frozen=True, kw_only=True)
class Repeated:
    """Each sample several times in a row, with views of its own each time.

    Attributes:
        copies: How often.
    """

    copies: Annotated[int, whole_number()]

    def size(self, length: int, asked: int) -> int:
        return asked

    def sampler(self, facts: Facts, batch_size: int, *, seed: int) -> Sampler:
        return RepeatedSampler(facts.length, batch_size, copies=self.copies, seed=seed)


@dataclass(frozen=True, kw_only=True)
class Episodes:
    """Some classes with the same number of samples each, class by class; needs class labels.

    Attributes:
        way: Classes of an episode.
        shot: Support samples of each class, the first of its rows.
        query: Query samples of each class, its other rows.
    """

    way: Annotated[int, whole_number()]
    shot: Annotated[int, whole_number()]
    query: Annotated[int, whole_number()]

    def size(self, length: int, asked: int) -> int:
        return self.way * (self.shot + self.query)

    def sampler(self, facts: Facts, batch_size: int, *, seed: int) -> Sampler:
        return EpisodeSampler(
            facts.label, self.way, self.shot, self.query, length=facts.length, seed=seed
        )


@dataclass(frozen=True, kw_only=True)
class Grouped:
    """All samples of a batch from one group.

    Attributes:
        buffer: The method's int64 buffer that holds the group of each sample.
    """

    buffer: str = "groups"

    def size(self, length: int, asked: int) -> int:
        return asked

    def sampler(self, facts: Facts, batch_size: int, *, seed: int) -> Sampler:
        return GroupedSampler(facts.buffer(self.buffer), batch_size, seed=seed)


@dataclass(frozen=True, kw_only=True)
class Streams:
    """Several streams side by side in each batch: forgotten and remaining, labelled and unlabelled
    samples, or two independent orders of all samples.

    ``batch.stream(k)`` is the part of stream k. The streams are interleaved, so that each process
    has every one in proportion.

    Attributes:
        sizes: How many samples of each stream stand side by side, such as (1, 1) or (1, 3).
        by: The group column whose member k is stream k; "": each stream is an order of all samples.
    """

    sizes: tuple[int, ...] = (1, 1)
    by: str = ""

    def size(self, length: int, asked: int) -> int:
        unit = sum(self.sizes)
        return max(unit, asked // unit * unit)

    def sampler(self, facts: Facts, batch_size: int, *, seed: int) -> Sampler:
        column = facts.column(self.by, "This method") if self.by else None
        return StreamSampler(facts.length, batch_size, self.sizes, column, seed=seed)


@dataclass(frozen=True, kw_only=True)
class Crossed:
    """Some members of one group column, and of each one sample of every member of another: a slice
    of each region of some volumes.

    Attributes:
        by: The two group columns.
    """

    by: tuple[str, str]

    def size(self, length: int, asked: int) -> int:
        return asked

    def sampler(self, facts: Facts, batch_size: int, *, seed: int) -> Sampler:
        first, second = (facts.column(name, "This method") for name in self.by)
        return CrossedSampler(first, second, batch_size, seed=seed)


@dataclass(frozen=True, kw_only=True)
class Ordered:
    """Samples of one member of a group column after another, as of one trial or task; the members
    come in random order, or in their own.

    Attributes:
        by: The group column.
        shuffled: Whether the members come in random order.
    """

    by: str
    shuffled: bool = True

    def size(self, length: int, asked: int) -> int:
        return asked

    def sampler(self, facts: Facts, batch_size: int, *, seed: int) -> Sampler:
        column = facts.column(self.by, "This method")
        return OrderedSampler(column, batch_size, shuffled=self.shuffled, seed=seed)


@dataclass(frozen=True, kw_only=True)
class Weighted:
    """Samples drawn with replacement in proportion to weights.

    Attributes:
        buffer: The method's float buffer that holds the weight of each sample, read anew at the
            start of each epoch.
    """

    buffer: str = "weights"

    def size(self, length: int, asked: int) -> int:
        return asked

    def sampler(self, facts: Facts, batch_size: int, *, seed: int) -> Sampler:
        return WeightedSampler(facts.buffer(self.buffer), batch_size, seed=seed)
