"""Views of nodes of one graph: the graph without some links and some of what is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from nearfar.data.spec import Spec
from nearfar.rows import Nodes
from nearfar.views.graph import (
    DRAWN,
    GraphViewSettings,
    chosen_settings,
    numbers,
    plain_graphs,
)
from nearfar.views.made import Views
from nearfar.views.wanted import WantedViews


def node_views(spec: Spec, wanted: WantedViews, settings: Any = None) -> Views:
    """What makes views of the nodes of one graph.

    All samples of a batch see the same view of the graph, whichever process they are on.

    Args:
        spec: Of the nodes.
        wanted: Views of the whole graph; parts of graphs are not cut out.
        settings: As of ``graph_views``.

    Raises:
        UserError: If a method wants parts of graphs, or for an unknown style.
    """
    chosen = chosen_settings(spec, wanted, settings)

    def made(samples: Any, generator: torch.Generator) -> list[Any]:
        nodes = plain_graphs(samples, spec)
        return [seen(nodes, one, generator) for one in chosen]

    return made


def seen(nodes: Any, settings: GraphViewSettings, generator: torch.Generator) -> Any:
    """A graph without some links, both directions together, and with some dimensions of its nodes'
    values set to 0.

    Two numbers are drawn for the graph, whatever it holds, from which all others follow.

    Source: Zhu et al. 2020, "Deep Graph Contrastive Representation Learning" (GRACE), section 3.2:
    removing edges and masking dimensions of node features.
    """
    drawn = torch.randint(2**52, (2,), generator=generator, device=generator.device)
    if settings == GraphViewSettings() or not isinstance(nodes, Nodes):
        return nodes
    seeds = drawn.to(nodes.edges.device)
    sender, receiver = nodes.edges
    low = torch.minimum(sender, receiver)
    high = torch.maximum(sender, receiver)
    kept = (numbers(seeds[0], low * nodes.count + high) >= settings.edges) | (low == high)
    known = dict(nodes.nodes)
    if settings.values and DRAWN in known:
        x = known[DRAWN]
        dimensions = torch.arange(x.shape[1], device=x.device)
        known[DRAWN] = x * (numbers(seeds[1], dimensions) >= settings.values)
    data = {name: value[kept] for name, value in nodes.edge_data.items()}
    return replace(nodes, nodes=known, edges=nodes.edges[:, kept], edge_data=data)


def values_of_seeds(view: Nodes, spec: Spec) -> Tensor:
    """(N, D) what is known of the nodes that are the samples."""
    return view.nodes[DRAWN][view.seeds].float().flatten(1)
