"""Samples that can be taken by number, and a source of them."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar.data.spec import Spec
from nearfar.errors import unknown_name
from nearfar.rows import rows_of, select, tensors_of

if TYPE_CHECKING:
    from nearfar.data.content.tokenizer import Tokenizer

_LISTED_CLASSES = 6
_RESIDENT_BYTES = 2 << 30
"""Sets up to this size are moved to the device as a whole; of larger ones each batch is."""


@dataclass(frozen=True)
class Samples:
    """N samples.

    Attributes:
        content: what ``take`` draws from: uint8 or uint16 images (M, C, H, W) or clips (M, C, F, H,
            W), float32 series (M, C, T) or likewise sound and points, ``Tokens``, or any other kind
            of ``nearfar.rows``. May be memory-mapped, and may hold more than these samples.
        ids: N names (file, row).
        label: (N,) int64 classes or float32 values, or (N, C) bool where a sample may have several
            of C classes; None without labels.
        group: for each group column, (N,) int64 numbers of its members.
        rows: (N,) int64, where these samples lie in ``content``; None if they are all of it, in
            order.
        device: where ``take`` puts what it takes.
        annotations: what else is known of each sample, by name, each of length N: "regions", (N, H,
            W) uint8, what each pixel of an image shows; "partner", ``Tokens`` of a second text, and
            "closeness", (N,) float32, how near it is in meaning.
        marks: (N,) int64, equal for samples of equal content and for no others; None where they
            were not read from data.
    """

    content: Any
    ids: list[str]
    label: Tensor | None = None
    group: dict[str, Tensor] = field(default_factory=dict)
    rows: Tensor | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    annotations: dict[str, Any] = field(default_factory=dict)
    marks: Tensor | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, index: Tensor) -> Any:
        """Samples by number.

        Args:
            index: (K,) int64 in [0, N), any order, on any device.

        Returns:
            Rows of the same kind as ``content``, K samples, on ``self.device``.
        """
        if self.rows is not None:
            index = self.rows[index.to(self.rows.device)]
        return select(self.content, index).to(self.device)

    def whole(self, index: Tensor) -> Any:
        """As ``take``, but of whole pictures (``Whole``) all, from which views take their crops."""
        if self.rows is not None:
            index = self.rows[index.to(self.rows.device)]
        return rows_of(self.content, index).to(self.device)

    def subset(self, index: Tensor) -> Samples:
        """Some of the samples, by (K,) int64 numbers; nothing is copied."""
        index = index.cpu()
        rows = index if self.rows is None else self.rows[index.to(self.rows.device)]
        label = None if self.label is None else self.label[index.to(self.label.device)]
        group = {name: value[index.to(value.device)] for name, value in self.group.items()}
        annotations = {
            name: value[index] for name, value in self.annotations.items()
        }  # these stay where they were loaded
        ids = [self.ids[i] for i in index.tolist()]
        marks = None if self.marks is None else self.marks[index]
        return dataclasses.replace(
            self, ids=ids, label=label, group=group, rows=rows, annotations=annotations, marks=marks
        )

    def to(self, device: torch.device | str) -> Samples:
        """The same samples for use on a device: small sets are moved there, of larger ones each
        batch will be."""
        device = torch.device(device)
        label = None if self.label is None else self.label.to(device)
        group = {name: value.to(device) for name, value in self.group.items()}
        moved = dataclasses.replace(self, label=label, group=group, device=device)
        if not getattr(self.content, "resident", True):
            return moved
        if device.type == "cpu" or len(self) * _bytes_of_one(self.content) > _RESIDENT_BYTES:
            return moved
        content = self.content if self.rows is None else rows_of(self.content, self.rows)
        return dataclasses.replace(moved, content=content.to(device), rows=None)


@dataclass(frozen=True)
class Source:
    """A data set.

    Attributes:
        spec: what is known of it without looking at its samples.
        train: the training samples.
        test: the test samples; None if there are too few to split.
        notes: sentences that a user should see: what was skipped, resized, split or chosen.
        tokenizer: of the texts, if there are any.
        members: for each group column, the names of its members by number.
        left_out: how much was found and is in neither part, by what it is.
        read: ids of all samples that were read, in their order, those in neither part among them.
        rows: where the training samples and the test samples are among these.
        whole_marks: whether the samples' marks are of all of their content.
        relabelled: of how many samples of a run the labels are other than it kept.
        seen: What a method trains on where that is not ``train``: generated samples beside the real
            ones, all nodes of a graph. Probes never use it.
        raw: The data as they were read, where preparations have changed them since.
        environment: What can be acted in, for methods that decide.
        columns: What was read of each sample by name, (R,) for the R samples in ``read``: labels,
            groups, "text" and anything else.
        names: Of columns of numbers, what the numbers stand for.
    """

    spec: Spec
    train: Samples
    test: Samples | None
    notes: list[str] = field(default_factory=list)
    tokenizer: Tokenizer | None = None
    members: dict[str, tuple[str, ...]] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    read: list[str] = field(default_factory=list)
    rows: tuple[Tensor, Tensor] | None = None
    whole_marks: bool = True
    relabelled: int = 0
    seen: Samples | None = None
    raw: Source | None = None
    environment: Any = None
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def column(self, name: str, samples: Samples) -> list[str]:
        """What a column says of each of some samples, as text; numbers of classes by their names.

        Args:
            name: Of the column.
            samples: Of this source, perhaps fewer than were read.

        Raises:
            UserError: If there is no such column; names the nearest.
        """
        if name not in self.columns:
            raise unknown_name(f"column of {self.spec.name}", name, list(self.columns))
        places = {one: place for place, one in enumerate(self.read)}
        values = self.columns[name][[places[one] for one in samples.ids]].tolist()
        names = self.names.get(name, ()) if isinstance(self.names, Mapping) else ()
        return [str(names[one]) if names and isinstance(one, int) else str(one) for one in values]

    @property
    def trained(self) -> Samples:
        """What a method trains on."""
        return self.train if self.seen is None else self.seen

    def summary(self) -> tuple[str, str, str]:
        """Three lines: what was read, what it is labelled with, and what was left out and why."""
        test = 0 if self.test is None else len(self.test)
        first = (
            f"{self.spec.name}: {len(self.train) + test:,} {self.spec.modality} samples of "
            f"{self.spec.size}, "
            f"{len(self.train):,} for training and {test:,} for testing"
        )
        groups = [f"{name} with {len(members):,} members" for name, members in self.members.items()]
        left = [f"{count:,} {what}" for what, count in self.left_out.most_common() if count]
        return (
            first,
            f"labels: {self._labels()}; groups: {', '.join(groups) or 'none'}",
            f"left out: {', '.join(left) or 'nothing'}",
        )

    def _labels(self) -> str:
        labels = [
            part.label
            for part in (self.train, self.test)
            if part is not None and part.label is not None
        ]
        if not labels:
            return "none"
        values = torch.cat(labels)
        if self.spec.target == "classes":
            return f"{values.shape[1]:,} classes, {values.sum(1).double().mean():.1f} a sample"
        values = values[
            ~values.isnan() if values.is_floating_point() else values >= 0
        ]  # generated samples have no label
        if not self.spec.classes:
            return f"numbers from {float(values.min()):g} to {float(values.max()):g}"
        counts = torch.bincount(values, minlength=len(self.spec.classes)).tolist()
        pairs = list(zip(self.spec.classes, counts, strict=True))
        told = ", ".join(f"{name} {count:,}" for name, count in pairs[:_LISTED_CLASSES])
        return f"{len(pairs):,} classes ({told}{' ...' if len(pairs) > _LISTED_CLASSES else ''})"


def _bytes_of_one(content: Any) -> int:
    """About how many bytes one sample takes."""
    count = max(len(content), 1)
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors_of(content)) // count
