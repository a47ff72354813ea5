"""Views of graphs: the samples themselves, or without some links and some of the nodes' values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nearfar.data.spec import Spec
from nearfar.errors import UserError, unknown_name
from nearfar.rows import Graphs, Nodes, width_of
from nearfar.views.choice import Strengths
from nearfar.views.draws import rand
from nearfar.views.made import Views
from nearfar.views.wanted import WantedViews

DRAWN = "x"
"""The node fact that networks read: (M, D) floats."""

_SIDE = 48
"""Pixels along a side of the picture of a graph."""

_STEP = 0x9E3779B97F4A7C15 - (1 << 64)
_FIRST = 0xBF58476D1CE4E5B9 - (1 << 64)
_SECOND = 0x94D049BB133111EB - (1 << 64)


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


@dataclass(frozen=True)
class GraphViewSettings:
    """One distribution of views of graphs; the defaults change nothing.

    Attributes:
        edges: Share of the links between two nodes that is left out, both directions together.
        values: Share of the nodes' values "x" that is set to 0.

    Raises:
        UserError: For a share outside of [0, 1).
    """

    edges: float = 0.0
    values: float = 0.0

    def __post_init__(self) -> None:
        for name, share in (("edges", self.edges), ("values", self.values)):
            if not 0 <= share < 1:
                raise UserError(
                    f"The share of {name} that views of graphs leave out is {share}; expected 0 up "
                    "to below 1."
                )


STYLES = {
    "plain": GraphViewSettings(),
    "weak": GraphViewSettings(edges=0.1, values=0.1),
    "crop": GraphViewSettings(edges=0.2),
    "asymmetric": GraphViewSettings(edges=0.3, values=0.2),
    "contrastive": GraphViewSettings(edges=0.3, values=0.3),
}
"""After the drop of edges and the masking of attributes in Zhu et al. 2020 (GRACE) and You et al.
2020 (GraphCL)."""


def graph_views(spec: Spec, wanted: WantedViews, settings: Any = None) -> Views:
    """What makes views of graphs.

    Args:
        spec: Of the graphs.
        wanted: Views of the whole graph; parts of graphs are not cut out.
        settings: ``GraphViewSettings``, one for all views or a sequence with one for each; by
            default those of the style.

    Raises:
        UserError: If a method wants parts of graphs, or for an unknown style.
    """
    chosen = chosen_settings(spec, wanted, settings)

    def made(samples: Any, generator: torch.Generator) -> list[Any]:
        graphs = plain_graphs(samples, spec)
        return [changed(graphs, one, generator) for one in chosen]

    return made


def chosen_settings(
    spec: Spec, wanted: WantedViews, settings: Any = None
) -> list[GraphViewSettings]:
    """The distribution of each view that a method wants.

    Raises:
        UserError: As ``graph_views``.
    """
    if wanted.local:
        raise UserError(
            f"There are no parts of {spec.modality} samples as views; choose a method that looks "
            "at whole samples."
        )
    styles = [*[wanted.style] * wanted.whole, *wanted.further]
    for style in styles:
        if style not in STYLES:
            raise unknown_name("style of views", style, STYLES)
    chosen = [STYLES[style] for style in styles]
    if isinstance(settings, Strengths):
        return [settings.over(one) for one in chosen]
    if settings is not None:
        each = settings if isinstance(settings, Sequence) else [settings] * len(styles)
        if len(each) != len(styles) or not all(isinstance(one, GraphViewSettings) for one in each):
            raise UserError(
                f"The settings of {len(styles)} views of graphs are {settings!r}; expected one "
                "GraphViewSettings, or one for each view."
            )
        chosen = list(each)
    return chosen


def changed(graphs: Any, settings: GraphViewSettings, generator: torch.Generator) -> Any:
    """Graphs without some links and some of the nodes' values.

    Each graph draws one number, from which those of its links and values follow, so that other
    graphs in the batch change nothing.
    """
    if settings == GraphViewSettings():
        return graphs
    seed = (rand((len(graphs), 2), generator).double() * 2**52).long().to(graphs.sizes.device)
    start = (graphs.sizes.cumsum(0) - graphs.sizes)[graphs.graph]
    place = torch.arange(len(start), device=start.device) - start
    sender, receiver = graphs.edges
    low = torch.minimum(place[sender], place[receiver])
    high = torch.maximum(place[sender], place[receiver])
    graph = graphs.graph[sender]
    drawn = numbers(seed[graph, 0], low * graphs.sizes[graph] + high)
    kept = (drawn >= settings.edges) | (low == high)
    nodes = dict(graphs.nodes)
    if settings.values and DRAWN in nodes:
        x = nodes[DRAWN]
        cell = place[:, None] * x.shape[1] + torch.arange(x.shape[1], device=x.device)
        nodes[DRAWN] = x * (numbers(seed[graphs.graph, 1][:, None], cell) >= settings.values)
    known = {name: value[kept] for name, value in graphs.edge_data.items()}
    return Graphs(nodes, graphs.edges[:, kept], graphs.sizes, known)


def numbers(seed: Tensor, place: Tensor) -> Tensor:
    """Numbers in [0, 1) that look random, one for each seed and place.

    Source: Steele, Lea and Flood 2014, "Fast Splittable Pseudorandom Number Generators"
    (SplitMix64).
    """
    z = seed + (place + 1) * _STEP
    z = (z ^ _shifted(z, 30)) * _FIRST
    z = (z ^ _shifted(z, 27)) * _SECOND
    return _shifted(z ^ _shifted(z, 31), 11).double() / 2**53


def _shifted(z: Tensor, bits: int) -> Tensor:
    """The bits moved right, zeros behind, as of an unsigned number."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def mean_of_nodes(view: Graphs, spec: Spec) -> Tensor:
    """(N, D) the mean of the nodes' values, or (N, 1) the number of nodes where none are known."""
    sizes = view.sizes[:, None].float()
    if DRAWN not in view.nodes:
        return sizes
    values = view.nodes[DRAWN].float().flatten(1)
    return values.new_zeros(len(view), values.shape[1]).index_add(0, view.graph, values) / sizes


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
