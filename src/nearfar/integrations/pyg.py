"""Graphs to and from torch_geometric: ``Batch`` and ``Data`` of several graphs, ``Data`` and
``HeteroData`` of one.

What is known of nodes, edges and graphs goes over by name and comes back as it was. Needs
torch_geometric: ``pip install 'nearfar[graphs]'``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from nearfar.errors import UserError, unknown_name
from nearfar.rows import Graphs, Nodes

__all__ = ["graphs_from", "graphs_to", "nodes_from", "nodes_to"]

_EDGES = "edge_index"
_COUNT = "num_nodes"
_SEEDS = "seeds"
_MORE = "more:"
_NODE = "node:"
_EDGE = "edge:"
_SPLIT = "|"
"""In names of what is known of a graph of several types: "node:TYPE|NAME" and
"edge:FROM|RELATION|TO|NAME"."""


def graphs_from(data: Any) -> tuple[Graphs, dict[str, Tensor]]:
    """Several graphs, and what is known of each as a whole.

    Args:
        data: A ``Batch``, a ``Data``, or a sequence of ``Data`` with the same names.

    Returns:
        ``Graphs``, and by name (N, ...) what belongs to a graph, such as its label "y".

    Raises:
        UserError: If the graphs know different things, or something that is no tensor.
    """
    library = _library()
    if isinstance(data, library.Batch):
        each = data.to_data_list()
    else:
        each = list(data) if isinstance(data, Sequence) else [data]
    if not each or not all(isinstance(one, library.Data) for one in each):
        kinds = ", ".join(sorted({type(one).__name__ for one in each})) or "nothing"
        raise UserError(f"Graphs were given as {kinds}; expected Data or a Batch of some.")
    parts = _parts_of(each)
    sizes = torch.tensor([int(one.num_nodes) for one in each])
    starts = (sizes.cumsum(0) - sizes).tolist()
    edges = [one[_EDGES] + start for one, start in zip(each, starts, strict=True)]
    nodes, of_edges, of_graphs = (
        {
            name: torch.cat([part[place][name].reshape(_rows(part[place][name])) for part in parts])
            for name in parts[0][place]
        }
        for place in range(3)
    )
    return Graphs(nodes, torch.cat(edges, dim=1), sizes, of_edges), of_graphs


def graphs_to(graphs: Graphs, about: Mapping[str, Tensor] | None = None) -> Any:
    """The inverse of ``graphs_from``: a ``Batch``.

    Args:
        graphs: Some graphs.
        about: By name (N, ...) what belongs to each of them.
    """
    library = _library()
    counts = torch.bincount(graphs.graph[graphs.edges[0]], minlength=len(graphs))
    alike = torch.equal(counts, graphs.sizes)
    each = []
    for row in range(len(graphs)):
        one = graphs[row : row + 1]
        known = {**one.nodes, **_unmistakable(one.edge_data, alike)}
        _refuse_twice([*one.nodes, *one.edge_data, *(about or {})])
        whole = {name: value[row : row + 1] for name, value in (about or {}).items()}
        each.append(
            library.Data(edge_index=one.edges, num_nodes=int(one.sizes[0]), **known, **whole)
        )
    return library.Batch.from_data_list(each)


def nodes_from(data: Any, *, samples: str = "", seeds: Tensor | None = None) -> Nodes:
    """Nodes of one graph.

    Args:
        data: A ``Data``, or a ``HeteroData`` of several types of nodes.
        samples: Of several types, the one whose nodes are the samples.
        seeds: (N,) int64, which of the nodes are the samples; all of them unless ``data`` has
            "seeds".

    Returns:
        ``Nodes``. What is known of other types, of their edges and of the graph as a whole is in
        ``more``.

    Raises:
        UserError: If something is known that is no tensor, or there is no such type.
    """
    library = _library()
    if isinstance(data, library.HeteroData):
        return _of_types(data, samples, seeds)
    if not isinstance(data, library.Data):
        raise UserError(f"A graph was given as {type(data).__name__}; expected Data or HeteroData.")
    ((nodes, edge_data, whole),) = _parts_of([data])
    own = whole.pop(_SEEDS, nodes.pop(_SEEDS, None))
    chosen = seeds if seeds is not None else own
    count = int(data.num_nodes)
    more = {name.removeprefix(_MORE): value for name, value in whole.items()}
    every = torch.arange(count) if chosen is None else chosen
    return Nodes(nodes, data[_EDGES], every, edge_data, more)


def nodes_to(nodes: Nodes, *, samples: str = "") -> Any:
    """The inverse of ``nodes_from``.

    Args:
        nodes: Nodes of one graph.
        samples: As for ``nodes_from``; "" gives a ``Data``.
    """
    library = _library()
    if samples:
        return _to_types(nodes, samples, library)
    _refuse_twice([*nodes.nodes, *nodes.edge_data, *nodes.more, _SEEDS])
    made = library.Data(edge_index=nodes.edges, num_nodes=nodes.count)
    alike = nodes.count == nodes.edges.shape[1]
    for name, value in {**nodes.nodes, **_unmistakable(nodes.edge_data, alike)}.items():
        made[name] = value
    for name, value in nodes.more.items():
        made[_MORE + name] = value
    made[_SEEDS] = nodes.seeds
    return made


def _of_types(data: Any, samples: str, seeds: Tensor | None) -> Nodes:
    if samples not in data.node_types:
        raise unknown_name("type of nodes", samples, data.node_types)
    more: dict[str, Tensor] = {}
    for kind in data.node_types:
        if kind != samples:
            known = _tensors(data[kind].to_dict(), f"nodes of the type {kind}")
            more |= {f"{_NODE}{kind}{_SPLIT}{name}": value for name, value in known.items()}
    own = data.edge_types.index(found) if (found := _own_edges(data, samples)) else None
    edges = torch.zeros(2, 0, dtype=torch.int64)
    edge_data: dict[str, Tensor] = {}
    for place, kind in enumerate(data.edge_types):
        known = _tensors(data[kind].to_dict(), f"edges of the type {kind}")
        name_of = _EDGE + _SPLIT.join(kind) + _SPLIT
        if place == own:
            edges = known.pop(_EDGES)
            edge_data = known
            more[f"{name_of}{_EDGES}"] = edges[:, :0]
            continue
        more |= {f"{name_of}{name}": value for name, value in known.items()}
    nodes = _tensors(data[samples].to_dict(), f"nodes of the type {samples}")
    kept = nodes.pop(_SEEDS, None)
    chosen = seeds if seeds is not None else kept
    count = int(data[samples].num_nodes)
    return Nodes(nodes, edges, torch.arange(count) if chosen is None else chosen, edge_data, more)


def _own_edges(data: Any, samples: str) -> Any:
    """The first type of edges between samples; None without."""
    return next((kind for kind in data.edge_types if kind[0] == kind[2] == samples), None)


def _to_types(nodes: Nodes, samples: str, library: Any) -> Any:
    made = library.HeteroData()
    for name, value in nodes.nodes.items():
        made[samples][name] = value
    made[samples][_SEEDS] = nodes.seeds
    own = ""
    for key, value in nodes.more.items():
        if key.startswith(_NODE):
            kind, name = key.removeprefix(_NODE).split(_SPLIT, 1)
            made[kind][name] = value
        elif key.startswith(_EDGE):
            first, relation, second, name = key.removeprefix(_EDGE).split(_SPLIT, 3)
            between_samples = first == second == samples
            if between_samples and name == _EDGES and not own and not value.shape[1]:
                own = relation
                value = nodes.edges
            made[first, relation, second][name] = value
    for name, value in nodes.edge_data.items():
        made[samples, own or "to", samples][name] = value
    return made


Parts = tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]


def _parts_of(each: Sequence[Any]) -> list[Parts]:
    """What each ``Data`` knows of its nodes, of its edges and of itself.

    What has a row for each edge in all graphs is known of edges, and what has one for each node of
    nodes; where both are so a name with "edge" in it decides.
    """
    known = [_tensors(one.to_dict(), "a graph") for one in each]
    edges = [found.pop(_EDGES, torch.zeros(2, 0, dtype=torch.int64)) for found in known]
    names = [sorted(found) for found in known]
    for number, one in enumerate(names):
        if one != names[0]:
            raise UserError(
                f"The graphs 0 and {number} know different things, {', '.join(names[0])} and "
                f"{', '.join(one)}; expected the same names."
            )
    parts: list[Parts] = [({}, {}, {}) for _ in each]
    for name in known[0]:
        values = [found[name] for found in known]
        lengths = [len(value) if value.ndim else -1 for value in values]
        of_edges = lengths == [one.shape[1] for one in edges]
        of_nodes = lengths == [int(one.num_nodes) for one in each]
        place = 2
        if name.startswith(_EDGE) or (of_edges and ("edge" in name or not of_nodes)):
            place = 1
        elif of_nodes and name != _SEEDS and not name.startswith(_MORE):
            place = 0
        for part, value in zip(parts, values, strict=True):
            part[place][name.removeprefix(_EDGE)] = value
    return parts


def _rows(value: Tensor) -> tuple[int, ...]:
    """The shape of what is known with an axis of rows, which a single number lacks."""
    return tuple(value.shape) or (1,)


def _unmistakable(edge_data: Mapping[str, Tensor], alike: bool) -> dict[str, Tensor]:
    """What is known of edges under names that cannot be taken for something of nodes."""
    return {
        name if "edge" in name or not alike else _EDGE + name: value
        for name, value in edge_data.items()
    }


def _tensors(known: Mapping[str, Any], what: str) -> dict[str, Tensor]:
    """What is known, if all of it is tensors; the number of nodes follows from them."""
    found = {}
    for name, value in known.items():
        if name == _COUNT:
            continue
        if not isinstance(value, Tensor):
            raise UserError(
                f"{name!r} of {what} is a {type(value).__name__}; expected a tensor: leave it out "
                "or make one of it."
            )
        found[name] = value
    return found


def _refuse_twice(names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise UserError(
                f"{name!r} is known of several things, which Data cannot tell apart; rename one."
            )


def _library() -> Any:
    try:
        import torch_geometric.data as library
    except ImportError as error:
        raise UserError(
            "Graphs of torch_geometric need that package: pip install 'nearfar[graphs]'."
        ) from error
    return library
