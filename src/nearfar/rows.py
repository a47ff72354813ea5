"""What a batch is made of: N samples of one kind, as a tensor, tokens, named parts, lists or
graphs.

A tensor is the usual kind. The other kinds are small frozen values here. All of them have a length,
can be restricted to some of their samples and moved to a device, and can be joined. Each function
over kinds is a ``singledispatch``, so that a new kind registers itself and nothing else changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import singledispatch
from typing import Any, Protocol, Self, TypeVar

import torch
from torch import Tensor

from nearfar.errors import UserError, unknown_name

__all__ = [
    "Graphs",
    "Nodes",
    "Parts",
    "Picked",
    "Ragged",
    "Rows",
    "Tokens",
    "concatenate",
    "map_tensors",
    "pieces_of",
    "sample_shape",
    "select",
    "tensors_of",
    "width_of",
]


class Rows(Protocol):
    """N samples of one kind: a ``Tensor``, ``Tokens``, ``Parts``, ``Ragged``, ``Graphs`` or
    ``Nodes``.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> Self:
        """The samples at a slice, a bool mask or int64 positions."""

    def to(self, device: Any, /) -> Self:
        """The same samples on a device."""


R = TypeVar("R")


@dataclass(frozen=True)
class Tokens:
    """Padded texts, or other sequences of numbered things.

    Attributes:
        ids: (N, L) int64 token numbers.
        mask: (N, L) bool, true where there is a token and false where there is padding.
    """

    ids: Tensor
    mask: Tensor

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, rows: Any) -> Tokens:
        return Tokens(self.ids[rows], self.mask[rows])

    def to(self, device: torch.device | str) -> Tokens:
        return Tokens(self.ids.to(device), self.mask.to(device))


class Parts(Mapping[str, Any]):
    """Several things that are known of the same N samples, by name, such as an image and its text.

    ``parts.image`` and ``parts["image"]`` are the part of that name. ``parts[rows]`` restricts
    every part to some samples, and ``len(parts)`` is the number of samples.

    Example:
        >>> import torch
        >>> pair = Parts(small=torch.zeros(3, 2), large=torch.ones(3, 4))
        >>> len(pair), list(pair), tuple(pair[:2].large.shape)
        (3, ['small', 'large'], (2, 4))

    Raises:
        UserError: If there is no part, a part's name is no name, or lengths differ.
    """

    __slots__ = ("_parts",)

    def __init__(self, parts: Mapping[str, Any] | None = None, /, **named: Any) -> None:
        held = {**(parts or {}), **named}
        lengths = {name: len(part) for name, part in held.items()}
        if len(set(lengths.values())) != 1:
            told = ", ".join(f"{name} {length}" for name, length in lengths.items()) or "none"
            raise UserError(
                f"The parts of samples have these lengths: {told}; expected one or more parts of "
                "one length."
            )
        for name in held:
            if not name.isidentifier():
                raise UserError(
                    f"A part is named {name!r}; expected letters, digits and underscores."
                )
        object.__setattr__(self, "_parts", held)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self._parts[name]
        except KeyError:
            raise AttributeError(
                f"There is no part {name!r} among {', '.join(self._parts)}."
            ) from None

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"Parts do not change; make new ones with `with_parts({name}=...)`.")

    def __getitem__(self, rows: Any) -> Any:
        if isinstance(rows, str):
            if rows not in self._parts:
                raise KeyError(rows)
            return self._parts[rows]
        return Parts({name: part[rows] for name, part in self._parts.items()})

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(next(iter(self._parts.values())))

    def __bool__(self) -> bool:
        return True

    def __contains__(self, name: object) -> bool:
        return name in self._parts

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"Parts({', '.join(self._parts)} of {len(self)} samples)"

    def __reduce__(self) -> tuple[Any, ...]:
        return Parts, (dict(self._parts),)

    def keys(self) -> Any:
        """The names in their order."""
        return self._parts.keys()

    def values(self) -> Any:
        """The parts in their order."""
        return self._parts.values()

    def items(self) -> Any:
        """Names with parts in their order."""
        return self._parts.items()

    def to(self, device: torch.device | str) -> Parts:
        return Parts({name: part.to(device) for name, part in self._parts.items()})

    def map(self, change: Callable[[Any], Any]) -> Parts:
        """Every part changed by one function."""
        return Parts({name: change(part) for name, part in self._parts.items()})

    def with_parts(self, **named: Any) -> Parts:
        """The same with parts added or replaced."""
        return Parts(self._parts, **named)


@dataclass(frozen=True)
class Ragged:
    """A different number of things for each of N samples: sentences of a report, boxes of a scene.

    Attributes:
        values: The M things of all samples, sample by sample; any kind of rows.
        sizes: (N,) int64, how many of them each sample has.

    Example:
        >>> import torch
        >>> boxes = Ragged(torch.arange(5), torch.tensor([2, 0, 3]))
        >>> boxes[torch.tensor([2, 0])].values.tolist()
        [2, 3, 4, 0, 1]
    """

    values: Any
    sizes: Tensor

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, rows: Any) -> Ragged:
        index = _positions(rows, len(self.sizes), self.sizes.device)
        return Ragged(select(self.values, _members(self.sizes, index)), self.sizes[index])

    def to(self, device: torch.device | str) -> Ragged:
        return Ragged(self.values.to(device), self.sizes.to(device))

    @property
    def owner(self) -> Tensor:
        """(M,) int64, the sample that each thing belongs to."""
        return torch.repeat_interleave(
            torch.arange(len(self.sizes), device=self.sizes.device), self.sizes
        )


@dataclass(frozen=True)
class Graphs:
    """N graphs side by side: proteins, molecules.

    Attributes:
        nodes: What is known of each of the M nodes of all graphs, graph by graph, by name: (M,
            ...).
        edges: (2, E) int64, from which to which of the M nodes each edge runs, within one graph.
        sizes: (N,) int64, the number of nodes of each graph.
        edge_data: What is known of each edge, by name: (E, ...).

    Example:
        >>> import torch
        >>> two = Graphs({"x": torch.eye(5)}, torch.tensor([[0, 3], [1, 4]]), torch.tensor([2, 3]))
        >>> second = two[1:]
        >>> second.edges.tolist(), len(second.nodes["x"])
        ([[1], [2]], 3)
    """

    nodes: dict[str, Tensor]
    edges: Tensor
    sizes: Tensor
    edge_data: dict[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, rows: Any) -> Graphs:
        index = _positions(rows, len(self.sizes), self.sizes.device)
        kept = _members(self.sizes, index)
        order, counts = self._edges_by_graph()
        chosen = _members(counts, index)
        chosen = chosen if order is None else order[chosen]
        sizes = self.sizes[index]
        shift = _starts(sizes) - _starts(self.sizes)[index]
        edges = self.edges[:, chosen] + torch.repeat_interleave(shift, counts[index])
        return Graphs(
            {name: value[kept] for name, value in self.nodes.items()},
            edges,
            sizes,
            {name: value[chosen] for name, value in self.edge_data.items()},
        )

    def _edges_by_graph(self) -> tuple[Tensor | None, Tensor]:
        """Positions of the edges graph by graph, None where they lie so, and the number of each
        graph's.
        """
        graph = self.graph[self.edges[0]]
        counts = torch.bincount(graph, minlength=len(self.sizes))
        in_order = bool((graph[1:] >= graph[:-1]).all())
        return None if in_order else torch.argsort(graph, stable=True), counts

    def to(self, device: torch.device | str) -> Graphs:
        return map_tensors(self, lambda tensor: tensor.to(device))

    @property
    def graph(self) -> Tensor:
        """(M,) int64, the graph that each node belongs to."""
        return torch.repeat_interleave(
            torch.arange(len(self.sizes), device=self.sizes.device), self.sizes
        )

    def with_nodes(self, **named: Tensor) -> Graphs:
        """The same graphs with facts of their nodes added or replaced."""
        return replace(self, nodes={**self.nodes, **named})


@dataclass(frozen=True)
class Nodes:
    """N nodes of one graph, which is there whole or as far as it matters to them.

    Restricting to some samples restricts ``seeds`` and keeps the graph.

    Attributes:
        nodes: What is known of each of the graph's M nodes, by name: (M, ...).
        edges: (2, E) int64, from which to which node each edge runs.
        seeds: (N,) int64, which of the nodes are the samples.
        edge_data: What is known of each edge, by name: (E, ...).
        more: What is known of the graph as a whole, by name: nodes of other types, edges of other
            types, pieces of sparse matrices between nodes.

    Example:
        >>> import torch
        >>> ring = Nodes({"x": torch.eye(4)}, torch.tensor([[0, 1, 2], [1, 2, 3]]), torch.arange(4))
        >>> some = ring[torch.tensor([3, 1])]
        >>> len(some), some.seeds.tolist(), len(some.nodes["x"])
        (2, [3, 1], 4)
    """

    nodes: dict[str, Tensor]
    edges: Tensor
    seeds: Tensor
    edge_data: dict[str, Tensor] = field(default_factory=dict)
    more: dict[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.seeds)

    def __getitem__(self, rows: Any) -> Nodes:
        return replace(self, seeds=self.seeds[rows])

    def to(self, device: torch.device | str) -> Nodes:
        return map_tensors(self, lambda tensor: tensor.to(device))

    @property
    def count(self) -> int:
        """Number of nodes of the graph."""
        return len(next(iter(self.nodes.values())))

    def with_nodes(self, **named: Tensor) -> Nodes:
        """The same nodes with facts added or replaced."""
        return replace(self, nodes={**self.nodes, **named})


@dataclass(frozen=True)
class Picked:
    """N samples, each of them one or several of M things.

    An image that is one query's reference and a candidate of ten others lies in memory once.
    ``select`` gives the things themselves where each sample is one of them; of several it gives
    ``Picked`` with no more things than are needed. Brackets restrict the samples and keep all
    things.

    Attributes:
        values: The M things, any kind of rows.
        index: (N,) int64 in [0, M), which thing each sample is; or (N, G), which things in order,
            with -1 in the place of none where samples have less than G.
        numbers: (M,) int64, what the things are called where they come from.

    Example:
        >>> import torch
        >>> things = torch.tensor([10, 20, 30])
        >>> one = Picked(things, torch.tensor([2, 0]), torch.arange(3))
        >>> select(one, torch.tensor([0])).tolist()
        [30]
        >>> several = Picked(things, torch.tensor([[2, 0], [2, 2]]), torch.arange(3))
        >>> few = select(several, torch.tensor([1]))
        >>> few.values.tolist(), few.index.tolist(), few.numbers.tolist()
        ([30], [[0, 0]], [2])
    """

    values: Any
    index: Tensor
    numbers: Tensor

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, rows: Any) -> Picked:
        return Picked(self.values, self.index[rows], self.numbers)

    def to(self, device: torch.device | str) -> Picked:
        return Picked(self.values.to(device), self.index.to(device), self.numbers.to(device))

    def map(self, change: Callable[[Any], Any]) -> Picked:
        """The same with the things changed by one function."""
        return Picked(change(self.values), self.index, self.numbers)

    @property
    def called(self) -> Tensor:
        """What the things of each sample are called, in the shape of ``index``; -1 for none."""
        return self.numbers[self.index.clamp(min=0)].where(self.index >= 0, -1)


def concatenate(views: Sequence[R]) -> R:
    """Several batches of one kind as one, in order along the sample axis.

    Views of one graph with different seeds stay one graph; views of different graphs lie side by
    side in one.

    Args:
        views: One or more batches of the same kind.
    """
    joined: R = _concatenate(views[0], views)
    return joined


def select(content: R, index: Tensor) -> R:
    """Samples by number, as copies of whole rows.

    Args:
        content: N samples of any kind.
        index: (K,) int64 in [0, N), in any order, on any device.
    """
    selected: R = _select(content, index)
    return selected


def map_tensors(content: R, change: Callable[[Tensor], Tensor]) -> R:
    """The same rows with every tensor changed by one function, whatever the kind."""
    changed: R = _map(content, change)
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
    pieces: Iterator[list[Tensor]] = _pieces(content)
    return pieces


def sample_shape(content: Any) -> Any:
    """A value that two batches share if and only if one pass through a network can take both."""
    return _shape(content)


def width_of(values: Tensor) -> int:
    """How many values are known of each node.

    >>> width_of(torch.zeros(5)), width_of(torch.zeros(5, 3))
    (1, 3)
    """
    return int(torch.tensor(values.shape[1:]).prod()) if values.ndim > 1 else 1


def part_named(parts: Any, name: str) -> Any:
    """A part by its name.

    Raises:
        UserError: If there are no parts, or none of that name.
    """
    if not isinstance(parts, Parts):
        raise UserError(
            f"The samples are a {type(parts).__name__}; expected several parts, one of them "
            f"{name!r}."
        )
    if name not in parts:
        raise unknown_name("part", name, list(parts))
    return parts[name]


@singledispatch
def _concatenate(first: Any, views: Sequence[Any]) -> Any:
    return torch.cat(list(views))


@_concatenate.register
def _(first: Tokens, views: Sequence[Tokens]) -> Tokens:
    return Tokens(torch.cat([v.ids for v in views]), torch.cat([v.mask for v in views]))


@_concatenate.register
def _(first: Parts, views: Sequence[Parts]) -> Parts:
    return Parts({name: concatenate([view[name] for view in views]) for name in first})


@_concatenate.register
def _(first: Ragged, views: Sequence[Ragged]) -> Ragged:
    return Ragged(
        concatenate([view.values for view in views]), torch.cat([view.sizes for view in views])
    )


@_concatenate.register
def _(first: Graphs, views: Sequence[Graphs]) -> Graphs:
    return Graphs(
        _by_name([view.nodes for view in views]),
        _side_by_side([view.edges for view in views], [int(view.sizes.sum()) for view in views]),
        torch.cat([view.sizes for view in views]),
        _by_name([view.edge_data for view in views]),
    )


@_concatenate.register
def _(first: Nodes, views: Sequence[Nodes]) -> Nodes:
    if all(_same_graph(first, view) for view in views):
        return replace(first, seeds=torch.cat([view.seeds for view in views]))
    if any(view.more for view in views):
        raise UserError(
            "Nodes of different graphs cannot be joined where something is known of a graph as a "
            f"whole ({', '.join(first.more)}); embed them one after the other."
        )
    counts = [view.count for view in views]
    shifts = [sum(counts[:place]) for place in range(len(counts))]
    return Nodes(
        _by_name([view.nodes for view in views]),
        _side_by_side([view.edges for view in views], counts),
        torch.cat([view.seeds + shift for view, shift in zip(views, shifts, strict=True)]),
        _by_name([view.edge_data for view in views]),
    )


@_concatenate.register
def _(first: Picked, views: Sequence[Picked]) -> Picked:
    counts = [len(view.values) for view in views]
    shifts = [sum(counts[:place]) for place in range(len(counts))]
    moved = [
        (view.index + shift).where(view.index >= 0, -1)
        for view, shift in zip(views, shifts, strict=True)
    ]
    return Picked(
        concatenate([view.values for view in views]),
        torch.cat(moved),
        torch.cat([view.numbers for view in views]),
    )


@singledispatch
def _select(content: Any, index: Tensor) -> Any:
    # index_select copies whole rows; brackets are some 20 times slower on uint8 images.
    return content.index_select(0, index.to(content.device))


@_select.register
def _(content: Tokens, index: Tensor) -> Tokens:
    return Tokens(select(content.ids, index), select(content.mask, index))


@_select.register
def _(content: Parts, index: Tensor) -> Parts:
    return content.map(lambda part: select(part, index))


@_select.register(Ragged)
@_select.register(Graphs)
def _(content: Any, index: Tensor) -> Any:
    return content[index.to(content.sizes.device)]


@_select.register
def _(content: Nodes, index: Tensor) -> Nodes:
    return content[index.to(content.seeds.device)]


@_select.register
def _(content: Picked, index: Tensor) -> Any:
    chosen = content.index[index.to(content.index.device)]
    if chosen.ndim == 1:
        return select(content.values, chosen)
    needed = torch.unique(chosen[chosen >= 0])
    places = torch.searchsorted(needed, chosen).where(chosen >= 0, -1)
    return Picked(select(content.values, needed), places, content.numbers[needed])


@singledispatch
def _map(content: Any, change: Callable[[Tensor], Tensor]) -> Any:
    return change(content)


@_map.register
def _(content: Tokens, change: Callable[[Tensor], Tensor]) -> Tokens:
    return Tokens(change(content.ids), change(content.mask))


@_map.register
def _(content: Parts, change: Callable[[Tensor], Tensor]) -> Parts:
    return content.map(lambda part: map_tensors(part, change))


@_map.register
def _(content: Ragged, change: Callable[[Tensor], Tensor]) -> Ragged:
    return Ragged(map_tensors(content.values, change), change(content.sizes))


@_map.register
def _(content: Graphs, change: Callable[[Tensor], Tensor]) -> Graphs:
    return Graphs(
        {name: change(value) for name, value in content.nodes.items()},
        change(content.edges),
        change(content.sizes),
        {name: change(value) for name, value in content.edge_data.items()},
    )


@_map.register
def _(content: Nodes, change: Callable[[Tensor], Tensor]) -> Nodes:
    return Nodes(
        {name: change(value) for name, value in content.nodes.items()},
        change(content.edges),
        change(content.seeds),
        {name: change(value) for name, value in content.edge_data.items()},
        {name: change(value) for name, value in content.more.items()},
    )


@_map.register
def _(content: Picked, change: Callable[[Tensor], Tensor]) -> Picked:
    return Picked(
        map_tensors(content.values, change), change(content.index), change(content.numbers)
    )


@singledispatch
def _pieces(content: Any) -> Iterator[list[Tensor]]:
    for row in range(len(content)):
        yield tensors_of(content[row : row + 1])


@_pieces.register
def _(content: Parts) -> Iterator[list[Tensor]]:
    for each in zip(*(pieces_of(part) for part in content.values()), strict=True):
        yield [piece for pieces in each for piece in pieces]


@_pieces.register
def _(content: Graphs) -> Iterator[list[Tensor]]:
    order, counts = content._edges_by_graph()
    order = torch.arange(int(counts.sum())) if order is None else order
    sizes = content.sizes.tolist()
    start = _starts(content.sizes)[content.graph[content.edges[0]]]
    nodes = [torch.split(value, sizes) for _, value in sorted(content.nodes.items())]
    edges = torch.split((content.edges - start)[:, order].T, counts.tolist())
    known = [
        torch.split(value[order], counts.tolist()) for _, value in sorted(content.edge_data.items())
    ]
    for row in range(len(content)):
        yield [*(one[row] for one in nodes), edges[row], *(one[row] for one in known)]


@_pieces.register
def _(content: Picked) -> Iterator[list[Tensor]]:
    for row in content.index:
        yield tensors_of(select(content.values, row.reshape(-1)[row.reshape(-1) >= 0]))


@singledispatch
def _shape(content: Any) -> Any:
    return Tensor, content.shape[1:]


@_shape.register
def _(content: Tokens) -> Any:
    return Tokens, content.ids.shape[1:]


@_shape.register
def _(content: Parts) -> Any:
    return Parts, tuple((name, sample_shape(part)) for name, part in content.items())


@_shape.register
def _(content: Ragged) -> Any:
    return Ragged, sample_shape(content.values)


@_shape.register(Graphs)
@_shape.register(Nodes)
def _(content: Any) -> Any:
    return type(content), tuple((name, x.shape[1:]) for name, x in content.nodes.items())


@_shape.register
def _(content: Picked) -> Any:
    return Picked, sample_shape(content.values), tuple(content.index.shape[1:])


def _positions(rows: Any, length: int, device: torch.device) -> Tensor:
    """Int64 positions for whatever brackets hold."""
    if isinstance(rows, Tensor) and rows.dtype != torch.bool:
        return rows.to(device)
    return torch.arange(length, device=device)[rows.to(device) if torch.is_tensor(rows) else rows]


def _starts(sizes: Tensor) -> Tensor:
    """Where each sample's things begin."""
    return sizes.cumsum(0) - sizes


def _members(sizes: Tensor, index: Tensor) -> Tensor:
    """Positions of the things of some samples, sample by sample."""
    wanted = sizes[index]
    shift = _starts(sizes)[index] - _starts(wanted)
    places = torch.arange(int(wanted.sum()), device=sizes.device)
    return places + torch.repeat_interleave(shift, wanted)


def _by_name(values: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([value[name] for value in values]) for name in values[0]}


def _side_by_side(edges: Sequence[Tensor], counts: Sequence[int]) -> Tensor:
    """Edges of several graphs, their nodes numbered on."""
    shifts = [sum(counts[:place]) for place in range(len(counts))]
    return torch.cat([one + shift for one, shift in zip(edges, shifts, strict=True)], dim=1)


def _same_graph(one: Nodes, other: Nodes) -> bool:
    """Whether two differ in their seeds alone, told by the tensors themselves and not their
    values.
    """
    mine = [one.edges, *one.nodes.values(), *one.edge_data.values(), *one.more.values()]
    theirs = [other.edges, *other.nodes.values(), *other.edge_data.values(), *other.more.values()]
    return len(mine) == len(theirs) and all(a is b for a, b in zip(mine, theirs, strict=True))
