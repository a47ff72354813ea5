"""What travels between data, views and methods: a batch, and the two view types that are not a
plain tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from nearfar.errors import UserError
from nearfar.rows import concatenate


@dataclass(frozen=True)
class Place:
    """Where a process's samples are in a batch that several processes share.

    Attributes:
        rows: (N,) int64 on the CPU, their numbers in the whole batch, rising.
        total: samples of the whole batch.
    """

    rows: Tensor
    total: int

    def __getitem__(self, rows: Any) -> Place:
        return Place(self.rows[rows.cpu() if isinstance(rows, Tensor) else rows], self.total)


@dataclass
class Batch:
    """What a method's ``forward`` receives: this process's own samples.

    Attributes:
        views: the views that the method asked for, in the order of ``WantedViews``: whole, local
            and further views, then the crop boxes, the text of a pair and the mask noise. Each has
            length N: a float tensor (N, C, H, W) or (N, C, T), ``Tokens``, or another batch type.
        index: (N,) int64, each sample's number in the training set (for tables keyed by sample).
        label: (N,) int64 classes or float targets; None when the data have none.
        extra: whatever else the data supply, by name (for each group column the numbers of its
            members), each of length N.
        place: where the samples are in the batch that several processes share; None when this
            process has the whole batch.
    """

    views: list[Any]
    index: Tensor
    label: Tensor | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    place: Place | None = None

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, rows: Any) -> Batch:
        """The same batch restricted to some rows (a slice, a bool mask or int64 positions)."""
        label = None if self.label is None else self.label[rows]
        extra = {name: value[rows] for name, value in self.extra.items()}
        place = None if self.place is None else self.place[rows]
        return Batch([view[rows] for view in self.views], self.index[rows], label, extra, place)

    def stream(self, number: int) -> Batch:
        """The rows of one of several streams, where the method wants ``Streams``.

        Raises:
            UserError: If this process has none of them.
        """
        rows = self.extra["stream"] == number
        if not bool(rows.any()):
            raise UserError(
                f"A process has no sample of stream {number} in its {len(self)} of the batch; "
                "choose a larger --batch-size, fewer processes, or larger parts where the batch is "
                "split."
            )
        return self[rows]


def joined(parts: Sequence[Batch]) -> Batch:
    """Consecutive parts of one batch as the batch."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    label = (
        None
        if first.label is None
        else torch.cat([part.label for part in parts if part.label is not None])
    )
    views = [concatenate(same) for same in zip(*(part.views for part in parts), strict=True)]
    extra = {name: concatenate([part.extra[name] for part in parts]) for name in first.extra}
    return Batch(views, torch.cat([part.index for part in parts]), label, extra)


def rows_of(wanted: Tensor, index: Tensor) -> Tensor:
    """In which rows of a batch certain samples are.

    Args:
        wanted: (M,) int64, numbers of the samples.
        index: (N,) int64, the samples of the batch's rows, none twice.

    Returns:
        (M,) int64 rows.

    Raises:
        UserError: if one of them is not in the batch.
    """
    order = index.argsort()
    rows = order[torch.searchsorted(index[order], wanted).clamp(max=len(index) - 1)]
    if wanted.is_cuda:  # told by the device itself, which nothing waits for
        torch._assert_async(
            (index[rows] == wanted).all(),
            "The batch relates samples to one another, but some of them are not in it.",
        )
        return rows
    if not torch.equal(index[rows], wanted):
        missing = set(wanted.tolist()) - set(index.tolist())
        raise UserError(
            f"The batch relates samples to one another, but {len(missing)} of them, such as number "
            f"{min(missing)}, are not in it; expected"
            " all: make what relates samples for each part of a batch that is split."
        )
    return rows


class TrainingSet(Protocol):
    """The training samples as a method may see them between epochs.

    Attributes:
        label: (N,) int64 classes or float targets; None when the data have none.
        group: for each group column, (N,) int64 numbers of its members.
        seed: of the run.
    """

    label: Tensor | None
    group: Mapping[str, Tensor]
    seed: int

    def __len__(self) -> int: ...

    def take(self, index: Tensor) -> Any:
        """Raw samples by number: uint8 images (K, C, H, W), float series (K, C, T), ``Tokens`` or
        ``Pair``.
        """

    def plain(self, index: Tensor) -> Any:
        """The same samples as evaluation sees them: whole, without chance, normalised."""

    def features(self, encode: Callable[[Any], Tensor]) -> Tensor:
        """(N, D) float32 features of all samples in plain view, in order; the method is in
        evaluation mode meanwhile.
        """
