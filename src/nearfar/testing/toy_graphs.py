"""Made-up graphs: chains of a few nodes that fold, with what is known of residues."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from nearfar.data.spec import Spec
from nearfar.rows import Graphs, Nodes

LEAST = 5
MOST = 9
"""Nodes of a graph."""
_NEAR = 5.0
"""Distance within which two nodes are linked; a step of the chain is 3.8."""

Draw = Callable[[int, int, torch.Generator], Tensor]


def graphs_of(spec: Spec, count: int, generator: torch.Generator) -> Graphs:
    """Graphs of 5 to 9 nodes that are near one another, with the spec's facts of nodes.

    Args:
        spec: Its ``nodes`` say which facts there are and how many values each has.
        count: Number of graphs.
        generator: Of all draws.
    """
    sizes = torch.randint(LEAST, MOST + 1, (count,), generator=generator)
    total = int(sizes.sum())
    graph = torch.repeat_interleave(torch.arange(count), sizes)
    place = _places(sizes, generator)
    distance = torch.cdist(place, place)
    linked = (graph[:, None] == graph) & (distance <= _NEAR)
    edges = linked.nonzero().T.contiguous()
    known = {name: _drawn(name, total, width, generator) for name, width in spec.nodes.items()}
    nodes = {name: place if name == "place" else value for name, value in known.items()}
    return Graphs(nodes, edges, sizes, {"distance": distance[edges[0], edges[1]]})


def nodes_of(spec: Spec, count: int, generator: torch.Generator) -> Nodes:
    """Nodes of one graph that has a few more than these; each is linked with two others.

    Args:
        spec: Its ``nodes`` say which facts there are and how many values each has.
        count: Number of samples.
        generator: Of all draws.
    """
    total = count + LEAST
    known = {name: _drawn(name, total, width, generator) for name, width in spec.nodes.items()}
    first = torch.arange(total).repeat(2)
    second = torch.randint(total, (2 * total,), generator=generator)
    edges = torch.stack([torch.cat([first, second]), torch.cat([second, first])])
    return Nodes(known, torch.unique(edges, dim=1), torch.arange(count))


def _places(sizes: Tensor, generator: torch.Generator) -> Tensor:
    """Each graph's nodes along a random walk of even steps."""
    steps = torch.nn.functional.normalize(
        torch.randn(int(sizes.sum()), 3, generator=generator), dim=1
    )
    return torch.cat([3.8 * one.cumsum(0) for one in torch.split(steps, sizes.tolist())])


def _drawn(name: str, total: int, width: int, generator: torch.Generator) -> Tensor:
    """A fact of ``total`` nodes: whole numbers where it is a number of something."""
    if name == "residue":
        return torch.randint(0, 21, (total,), generator=generator)
    if name == "number":
        return torch.stack([torch.arange(total), torch.zeros(total, dtype=torch.int64)], dim=1)
    if name in ("secondary", "site"):
        return torch.randint(0, 2, (total,), generator=generator).float()
    shape = (total, width) if width > 1 else (total,)
    return torch.randn(shape, generator=generator)
