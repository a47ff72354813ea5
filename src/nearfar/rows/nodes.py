"""Nodes of one graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from nearfar.errors import UserError
from nearfar.rows.generic import concatenating, map_tensors, mapping, selecting, shaping
from nearfar.rows.indices import by_name, side_by_side


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


@concatenating.register
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
        by_name([view.nodes for view in views]),
        side_by_side([view.edges for view in views], counts),
        torch.cat([view.seeds + shift for view, shift in zip(views, shifts, strict=True)]),
        by_name([view.edge_data for view in views]),
    )


@selecting.register
def _(content: Nodes, index: Tensor) -> Nodes:
    return content[index.to(content.seeds.device)]


@mapping.register
def _(content: Nodes, change: Callable[[Tensor], Tensor]) -> Nodes:
    return Nodes(
        {name: change(value) for name, value in content.nodes.items()},
        change(content.edges),
        change(content.seeds),
        {name: change(value) for name, value in content.edge_data.items()},
        {name: change(value) for name, value in content.more.items()},
    )


@shaping.register
def _(content: Nodes) -> Any:
    return type(content), tuple((name, x.shape[1:]) for name, x in content.nodes.items())


def _same_graph(one: Nodes, other: Nodes) -> bool:
    """Whether two differ in their seeds alone, told by the tensors themselves and not their
    values.
    """
    mine = [one.edges, *one.nodes.values(), *one.edge_data.values(), *one.more.values()]
    theirs = [other.edges, *other.nodes.values(), *other.edge_data.values(), *other.more.values()]
    return len(mine) == len(theirs) and all(a is b for a, b in zip(mine, theirs, strict=True))
