"""Views of graphs and of the nodes of one graph: the samples themselves."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.rows import Graphs, Nodes, width_of
from nearfar.views.made import Views
from nearfar.views.wanted import WantedViews

DRAWN = "x"
"""The node fact that networks read: (M, D) floats."""

_SIDE = 48
"""Pixels along a side of the picture of a graph."""


def plain_graphs(samples: Any, spec: Spec) -> Graphs | Nodes:
    """Graphs as encoders take them, which is as they are.

    Raises:
        UserError: If the samples are no graphs, or something is known of their nodes in another
            number of values than the spec says.
    """
    if not isinstance(samples, Graphs | Nodes):
        raise UserError(
            f"The samples of {spec.name!r} are a {type(samples).__name__}; expected graphs, or "
            "nodes of one graph."
        )
    for name, width in spec.nodes.items():
        if name not in samples.nodes:
            known = ", ".join(samples.nodes) or "nothing"
            raise UserError(
                f"Of the nodes of these graphs {known} is known; expected {name!r}, as for "
                f"{spec.name}."
            )
        found = width_of(samples.nodes[name])
        if found != width:
            raise UserError(
                f"The nodes of these graphs have {found} values of {name!r}; expected {width}, as "
                f"for {spec.name}: make them in the same way."
            )
    return samples


def graph_views(spec: Spec, wanted: WantedViews, settings: Any = None) -> Views:
    """What makes plain views of graphs.

    Raises:
        UserError: If a method wants views that change a graph.
    """
    styles = {wanted.style, *wanted.further}
    if styles != {"plain"} or wanted.local:
        raise UserError(
            f"There are only plain views of {spec.modality} data; choose a method that perturbs "
            "graphs itself, such as protein-rpn."
        )
    count = wanted.whole + len(wanted.further)
    return lambda samples, generator: [plain_graphs(samples, spec)] * count


def mean_of_nodes(view: Graphs, spec: Spec) -> Tensor:
    """(N, D) the mean of the nodes' values, or (N, 1) the number of nodes where none are known."""
    sizes = view.sizes[:, None].float()
    if DRAWN not in view.nodes:
        return sizes
    values = view.nodes[DRAWN].float().flatten(1)
    return values.new_zeros(len(view), values.shape[1]).index_add(0, view.graph, values) / sizes


def values_of_seeds(view: Nodes, spec: Spec) -> Tensor:
    """(N, D) what is known of the nodes that are the samples."""
    return view.nodes[DRAWN][view.seeds].float().flatten(1)


def adjacency_pictures(samples: Graphs, spec: Spec, scale: Any = None) -> list[str]:
    """A small picture of which nodes of each graph are linked, in their order."""
    from nearfar.results.drawing import image_address

    start = (samples.sizes.cumsum(0) - samples.sizes)[samples.graph]
    place = torch.arange(len(start), device=start.device) - start
    cell = place * _SIDE // samples.sizes[samples.graph]
    sender, receiver = samples.edges
    number = (samples.graph[sender] * _SIDE + cell[sender]) * _SIDE + cell[receiver]
    counts = torch.bincount(number, minlength=len(samples) * _SIDE**2).view(-1, 1, _SIDE, _SIDE)
    most = counts.amax(dim=(1, 2, 3), keepdim=True).clamp(min=1)
    pixels = 255 - (255 * counts / most).round().to(torch.uint8)
    return [image_address(one) for one in pixels]
