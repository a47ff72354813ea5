"""Methods for any data learn from the nodes of one graph, unchanged."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nearfar import modalities
from nearfar.methods import registry
from nearfar.methods.method import WantedViews
from nearfar.networks.graphs.graph_encoder import GraphEncoder
from nearfar.rows import Graphs, Nodes
from nearfar.testing import METHOD_CHECKS, Case, on_processes
from nearfar.testing.steps import assert_processes_equal, train_by_name
from nearfar.views.graph import GraphViewSettings
from nearfar.views.nodes import node_views, seen

METHODS = ("barlow-twins", "byol", "simclr", "vicreg")
LEFT_OUT = {"processes_equal_one", "waits_only_as_declared"}
"""Of all methods at once below; and which edges a graph has is asked of the device by its encoder.
"""
TOY = modalities.get("nodes").toy


def toy(count: int = 12, seed: int = 0) -> Nodes:
    generator = torch.Generator().manual_seed(seed)
    found: Nodes = modalities.toy_of(TOY, count, generator)
    return found


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("check", sorted(METHOD_CHECKS.keys() - LEFT_OUT))
def test_the_battery(name: str, check: str) -> None:
    METHOD_CHECKS[check](Case(registry.get(name), "nodes"))


@pytest.mark.slow
def test_several_processes_equal_one() -> None:
    tasks: list[Any] = [(name, "nodes", {}) for name in METHODS]
    expected = train_by_name(tasks)
    for found in on_processes(train_by_name, tasks, counts=(2, 3)).values():
        for place in range(len(METHODS)):
            assert_processes_equal([process[place] for process in found], expected[place], "")


def test_an_encoder_of_nodes_is_its_formula() -> None:
    torch.manual_seed(0)
    nodes = toy()
    encoder = GraphEncoder(TOY, width=8, depth=2).double().eval()
    count = nodes.count
    linked = torch.zeros(count, count, dtype=torch.float64)
    linked[nodes.edges[1], nodes.edges[0]] = 1.0
    linked.fill_diagonal_(1.0)
    scale = linked.sum(1).rsqrt()
    spread = scale[:, None] * linked * scale
    h = nodes.nodes["x"].double()
    for layer, bend in zip(encoder.layers, encoder.bends, strict=True):
        h = bend(spread @ h @ layer.weight.T + layer.bias)
    torch.testing.assert_close(encoder(nodes), h[nodes.seeds])
    whole = Graphs(nodes.nodes, nodes.edges, torch.tensor([count]))
    torch.testing.assert_close(encoder(whole), h.mean(0, keepdim=True))


def test_links_go_in_both_directions_together_and_dimensions_as_a_whole() -> None:
    nodes = toy(count=200)
    changed = seen(nodes, GraphViewSettings(edges=0.4, values=0.5), torch.Generator())
    left = set(map(tuple, changed.edges.T.tolist()))
    assert all((b, a) in left for a, b in left)
    pairs = {tuple(sorted(pair)) for pair in map(tuple, nodes.edges.T.tolist())}
    share = len({tuple(sorted(pair)) for pair in left}) / len(pairs)
    assert 0.5 < share < 0.7
    zero = (changed.nodes["x"] == 0).all(0)
    same = (changed.nodes["x"] == nodes.nodes["x"]).all(0)
    assert bool((zero ^ same).all())
    assert torch.equal(changed.seeds, nodes.seeds)


def test_every_sample_sees_the_same_graph() -> None:
    nodes = toy()
    make = node_views(TOY, WantedViews(whole=2))
    whole = make(nodes, torch.Generator().manual_seed(3))
    part = make(nodes[torch.tensor([4, 1])], torch.Generator().manual_seed(3))
    for one, other in zip(whole, part, strict=True):
        assert torch.equal(one.edges, other.edges)
        assert torch.equal(one.nodes["x"], other.nodes["x"])
    assert not torch.equal(whole[0].edges, whole[1].edges)
