"""Graphs side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from nearfar.rows.generic import concatenating, map_tensors, mapping, selecting, shaping, splitting
from nearfar.rows.indices import by_name, members, positions, side_by_side, starts


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
        index = positions(rows, len(self.sizes), self.sizes.device)
        kept = members(self.sizes, index)
        order, counts = self._edges_by_graph()
        chosen = members(counts, index)
        chosen = chosen if order is None else order[chosen]
        sizes = self.sizes[index]
        shift = starts(sizes) - starts(self.sizes)[index]
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
        if torch.compiler.is_exporting():  # in a program no shape may depend on values
            nodes = next(iter(self.nodes.values())).shape[0]
            place = torch.arange(nodes, device=self.sizes.device)
            return (place[:, None] >= self.sizes.cumsum(0)).sum(dim=1)
        return torch.repeat_interleave(
            torch.arange(len(self.sizes), device=self.sizes.device), self.sizes
        )

    def with_nodes(self, **named: Tensor) -> Graphs:
        """The same graphs with facts of their nodes added or replaced."""
        return replace(self, nodes={**self.nodes, **named})


@concatenating.register
def _(first: Graphs, views: Sequence[Graphs]) -> Graphs:
    return Graphs(
        by_name([view.nodes for view in views]),
        side_by_side([view.edges for view in views], [int(view.sizes.sum()) for view in views]),
        torch.cat([view.sizes for view in views]),
        by_name([view.edge_data for view in views]),
    )


@selecting.register
def _(content: Graphs, index: Tensor) -> Graphs:
    return content[index.to(content.sizes.device)]


@mapping.register
def _(content: Graphs, change: Callable[[Tensor], Tensor]) -> Graphs:
    return Graphs(
        {name: change(value) for name, value in content.nodes.items()},
        change(content.edges),
        change(content.sizes),
        {name: change(value) for name, value in content.edge_data.items()},
    )


@splitting.register
def _(content: Graphs) -> Iterator[list[Tensor]]:
    order, counts = content._edges_by_graph()
    order = torch.arange(int(counts.sum())) if order is None else order
    sizes = content.sizes.tolist()
    start = starts(content.sizes)[content.graph[content.edges[0]]]
    nodes = [torch.split(value, sizes) for _, value in sorted(content.nodes.items())]
    edges = torch.split((content.edges - start)[:, order].T, counts.tolist())
    known = [
        torch.split(value[order], counts.tolist()) for _, value in sorted(content.edge_data.items())
    ]
    for row in range(len(content)):
        yield [*(one[row] for one in nodes), edges[row], *(one[row] for one in known)]


@shaping.register
def _(content: Graphs) -> Any:
    return type(content), tuple((name, x.shape[1:]) for name, x in content.nodes.items())
