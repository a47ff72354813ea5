"""What all kinds of rows can do, each a ``singledispatch`` that a kind registers itself with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import singledispatch
from typing import Any, Protocol, Self, TypeVar

import torch
from torch import Tensor

R = TypeVar("R")


class Rows(Protocol):
    """N samples of one kind: a ``Tensor``, ``Tokens``, ``Parts``, ``Ragged``, ``Graphs`` or
    ``Nodes``.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> Self:
        """The samples at a slice, a bool mask or int64 positions."""

    def to(self, device: Any, /) -> Self:
        """The same samples on a device."""


def concatenate(views: Sequence[R]) -> R:
    """Several batches of one kind as one, in order along the sample axis.

    Views of one graph with different seeds stay one graph; views of different graphs lie side by
    side in one.

    Args:
        views: One or more batches of the same kind.
    """
    joined: R = concatenating(views[0], views)
    return joined


def select(content: R, index: Tensor) -> R:
    """Samples by number, as copies of whole rows.

    Args:
        content: N samples of any kind.
        index: (K,) int64 in [0, N), in any order, on any device.
    """
    selected: R = selecting(content, index)
    return selected


def map_tensors(content: R, change: Callable[[Tensor], Tensor]) -> R:
    """The same rows with every tensor changed by one function, whatever the kind."""
    changed: R = mapping(content, change)
    return changed


def tensors_of(content: Any) -> list[Tensor]:
    """The tensors that rows are made of, in a fixed order."""
    found: list[Tensor] = []

    def kept(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    map_tensors(content, kept)
    return found


def pieces_of(content: Any) -> Iterator[list[Tensor]]:
    """What each sample holds, sample by sample, as tensors in a fixed order."""
    pieces: Iterator[list[Tensor]] = splitting(content)
    return pieces


def sample_shape(content: Any) -> Any:
    """A value that two batches share if and only if one pass through a network can take both."""
    return shaping(content)


@singledispatch
def concatenating(first: Any, views: Sequence[Any]) -> Any:
    return torch.cat(list(views))


@singledispatch
def selecting(content: Any, index: Tensor) -> Any:
    # index_select copies whole rows; brackets are some 20 times slower on uint8 images.
    return content.index_select(0, index.to(content.device))


@singledispatch
def mapping(content: Any, change: Callable[[Tensor], Tensor]) -> Any:
    return change(content)


@singledispatch
def splitting(content: Any) -> Iterator[list[Tensor]]:
    for row in range(len(content)):
        yield tensors_of(content[row : row + 1])


@singledispatch
def shaping(content: Any) -> Any:
    return Tensor, content.shape[1:]
