"""Graphs go to torch_geometric and come back as they were."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from nearfar import modalities
from nearfar.errors import UserError
from nearfar.integrations.pyg import graphs_from, graphs_to, nodes_from, nodes_to
from nearfar.rows import Graphs, Nodes, tensors_of

library: Any = pytest.importorskip("torch_geometric.data")


def made(count: int = 4) -> Graphs:
    spec = modalities.get("graph").toy
    graphs: Graphs = modalities.toy_of(spec, count, torch.Generator().manual_seed(3))
    return graphs


def same(one: Any, other: Any) -> bool:
    mine, theirs = tensors_of(one), tensors_of(other)
    return len(mine) == len(theirs) and all(map(torch.equal, mine, theirs))


def known_of(nodes: Nodes) -> list[dict[str, Tensor]]:
    return [nodes.nodes, nodes.edge_data, nodes.more]


def test_graphs_come_back_with_what_is_known_of_each() -> None:
    graphs = made()
    label = torch.tensor([1, 0, 2, 1])
    batch = graphs_to(graphs, {"y": label})
    assert batch.num_graphs == 4
    assert torch.equal(batch[1].edge_index, graphs[1:2].edges)
    back, about = graphs_from(batch)
    assert same(back, graphs)
    assert torch.equal(about["y"], label)


def test_data_of_the_library_come_back() -> None:
    edges = torch.tensor([[0, 1, 2], [1, 2, 0]])
    one = library.Data(x=torch.rand(4, 3), edge_index=edges, edge_attr=torch.rand(3, 2))
    other = library.Data(x=torch.rand(2, 3), edge_index=edges[:, :1], edge_attr=torch.rand(1, 2))
    graphs, about = graphs_from([one, other])
    assert about == {}
    assert graphs.sizes.tolist() == [4, 2]
    back = graphs_to(graphs).to_data_list()
    for before, after in zip((one, other), back, strict=True):
        assert after.num_nodes == before.num_nodes
        for name in ("x", "edge_index", "edge_attr"):
            assert torch.equal(before[name], after[name])


def test_nodes_of_one_graph_come_back() -> None:
    ring = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]])
    nodes = Nodes(
        {"x": torch.rand(4, 2)},
        ring,
        torch.tensor([3, 1]),
        {"weight": torch.rand(4)},
        {"table": torch.rand(5, 2)},
    )
    back = nodes_from(nodes_to(nodes))
    assert same(back, nodes)
    assert [one.keys() for one in known_of(back)] == [one.keys() for one in known_of(nodes)]
    assert nodes_from(library.Data(x=torch.eye(3), edge_index=ring[:, :1])).seeds.tolist() == [
        0,
        1,
        2,
    ]


def test_graphs_of_several_types_come_back() -> None:
    data = library.HeteroData()
    data["paper"].x = torch.rand(3, 2)
    data["author"].x = torch.rand(2, 4)
    data["paper", "cites", "paper"].edge_index = torch.tensor([[0, 1], [1, 2]])
    data["paper", "cites", "paper"].weight = torch.rand(2)
    data["author", "writes", "paper"].edge_index = torch.tensor([[0, 1], [0, 2]])
    nodes = nodes_from(data, samples="paper")
    assert len(nodes) == 3
    assert torch.equal(nodes.edges, data["paper", "cites", "paper"].edge_index)
    back = nodes_to(nodes, samples="paper")
    assert sorted(back.node_types) == ["author", "paper"]
    for kind in data.node_types:
        assert torch.equal(back[kind].x, data[kind].x)
    for kind in data.edge_types:
        for name, value in data[kind].items():
            assert torch.equal(back[kind][name], value)
    with pytest.raises(UserError, match="author, paper"):
        nodes_from(data, samples="venue")


def test_what_cannot_go_over_is_told() -> None:
    edges = torch.zeros(2, 1, dtype=torch.int64)
    with pytest.raises(UserError, match="'name' of a graph is a str"):
        graphs_from(library.Data(x=torch.eye(2), edge_index=edges, name="a"))
    with pytest.raises(UserError, match="know different things"):
        graphs_from(
            [
                library.Data(x=torch.eye(2), edge_index=edges),
                library.Data(z=torch.eye(2), edge_index=edges, num_nodes=2),
            ]
        )
    with pytest.raises(UserError, match="expected Data"):
        graphs_from([torch.eye(2)])
    with pytest.raises(UserError, match="several things"):
        graphs_to(made(1), {"x": torch.zeros(1)})
