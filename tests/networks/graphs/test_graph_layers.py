"""Graph layers and read-outs: golden values, dense twins, padding, order, errors."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import leaky_relu
from torch.testing import assert_close

from nearfar.errors import UserError
from nearfar.networks.graphs.attention import (
    FunctionalAttention,
    GraphAttention,
    functional_attention,
)
from nearfar.networks.graphs.convolution import (
    GraphConvolution,
    GraphMessages,
    ResidueNetwork,
    perturbed,
)
from nearfar.networks.graphs.edges import incoming, padded, segment_softmax, symmetric
from nearfar.networks.graphs.multiset import MultisetPooling
from nearfar.networks.graphs.proposals import Proposals
from tests.losses.cases import close, named
from tests.references import ReferenceCase

Golden = Callable[[str], ReferenceCase]


def graph(nodes: int = 7) -> tuple[Tensor, Tensor]:
    x = torch.randn(nodes, 6, dtype=torch.float64)
    return x, torch.randint(0, nodes, (2, 15)).unique(dim=1)


@pytest.mark.parametrize("name", named("d-heal-perturb-*"))
def test_perturbation_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    close(perturbed(case["in_x"], case["in_noise"], case["hp_eps"].item()), case["out_y"])


@pytest.mark.parametrize("name", named("d-proteinrpn-funcattn-*"))
def test_functional_attention_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    h = case["in_x"] @ case["in_W"]
    sender, receiver = case["in_a"][:, 0].chunk(2)
    slope = case["hp_negative_slope"].item()
    y, share = functional_attention(
        h,
        case["in_edge_index"],
        case["in_node_type"],
        sender,
        receiver,
        slope=slope,
        flag="sender" if "source" in name else "receiver",
    )
    close(y, case["out_y"])
    close(share, case["out_alpha"])


def dense(x: Tensor, edges: Tensor) -> Tensor:
    """The symmetric normalised adjacency with loops, (M, M)."""
    matrix = torch.eye(len(x), dtype=x.dtype)
    matrix[edges[1], edges[0]] = 1
    scale = matrix.sum(1).rsqrt()
    return scale[:, None] * matrix * scale


def test_a_convolution_equals_the_matrix_product() -> None:
    x, edges = graph()
    layer = GraphConvolution(6, 3).double()
    close(layer(x, edges), dense(x, edges) @ x @ layer.weight.T + layer.bias)


def test_messages_are_summed_from_senders() -> None:
    x, edges = graph()
    layer = GraphMessages(6, 3).double()
    matrix = torch.zeros(7, 7, dtype=x.dtype)
    matrix[edges[1], edges[0]] = 1
    close(layer(x, edges), layer.own(x) + layer.neighbours(matrix @ x))


def test_graph_attention_equals_the_dense_softmax() -> None:
    x, edges = graph()
    layer = GraphAttention(6, 4).double()
    h = layer.lift(x)
    logits = leaky_relu(layer.sender(h).T + layer.receiver(h), 0.2)
    logits = logits.masked_fill(dense(x, edges) == 0, -torch.inf)
    close(layer(x, edges), logits.softmax(1) @ h + layer.bias)


def test_segments_are_normalised_one_by_one_and_may_be_empty() -> None:
    logits = torch.tensor([1.0, 2.0, 900.0])
    share = segment_softmax(logits, torch.tensor([0, 0, 2]), 3)
    close(share, torch.tensor([1 / (1 + torch.e), torch.e / (1 + torch.e), 1.0]), 1e-6)


def test_the_residue_network_is_its_plain_form() -> None:
    x, edges = graph()
    network = ResidueNetwork(6, 8, depth=3).double().eval()
    residue = torch.randint(0, 21, (7,))
    noise = torch.rand(7, 3, 8, dtype=torch.float64)
    z = (network.of_residue(network.residues(residue)) + network.of_features(x)).relu()
    for place, layer in enumerate(network.layers):
        made = (dense(x, edges) @ z @ layer.weight.T + layer.bias).relu()
        z = made if place == 0 else z + made
        z = z + 0.3 * z.sign() * noise[:, place] / noise[:, place].norm(dim=1, keepdim=True)
    close(network(residue, edges, x, noise=noise, strength=0.3), z)


def test_a_graph_is_read_out_alike_alone_and_beside_a_larger_one() -> None:
    pool = MultisetPooling(12, seeds=(5, 1), heads=3).double()
    heal = MultisetPooling(12, seeds=(5, 1), heads=3, form="heal").double()
    small = torch.randn(3, 12, dtype=torch.float64)
    large = torch.randn(9, 12, dtype=torch.float64)
    edges = torch.tensor([[0, 1, 2, 3, 8], [1, 2, 0, 5, 3]])
    both = torch.cat([small, large])
    for form, same in ((pool, True), (heal, False)):
        alone = form(small, edges[:, :3], torch.tensor([3]))
        beside = form(both, edges, torch.tensor([3, 9]))[:1]
        assert torch.allclose(alone, beside, rtol=1e-10) == same


def test_every_block_of_the_masked_read_out_counts_and_of_heal_the_last_alone() -> None:
    for form, moves in (("masked", True), ("heal", False)):
        pool = MultisetPooling(12, seeds=(5, 1), heads=3, form=form).double()
        nodes = torch.randn(4, 12, dtype=torch.float64)
        edges = torch.tensor([[0, 1], [1, 2]])
        before = pool(nodes, edges, torch.tensor([4]))
        with torch.no_grad():
            pool.blocks["0"].seeds.mul_(-3)
        assert torch.allclose(before, pool(nodes, edges, torch.tensor([4]))) != moves


def test_padding_is_undone_by_its_mask() -> None:
    nodes, sizes = torch.randn(6, 2), torch.tensor([1, 3, 2])
    block, there = padded(nodes, sizes)
    assert torch.equal(block[there], nodes)
    assert block[~there].abs().sum() == 0
    receivers = torch.zeros(6, dtype=torch.int64)
    torch.testing.assert_close(incoming(nodes, receivers, 1)[0], nodes.sum(0))


def proposals_inputs() -> tuple[Proposals, Tensor, Tensor, Tensor, Tensor, Tensor]:
    network = Proposals(6, 8, hops=2, attention=4).double()
    x = torch.randn(11, 6, dtype=torch.float64)
    ring = torch.tensor([[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10], [1, 2, 3, 4, 5, 0, 7, 8, 9, 10, 6]])
    edges = torch.cat([ring, ring.flip(0)], dim=1)
    secondary, places = torch.randint(0, 2, (11,)), torch.randn(11, 3, dtype=torch.float64)
    return network, x, edges, torch.tensor([6, 5]), secondary, places


def test_proposals_do_not_depend_on_blocks_and_graphs_not_on_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network, x, edges, sizes, secondary, places = proposals_inputs()
    whole = network(x, edges, sizes, secondary=secondary, places=places)
    monkeypatch.setattr("nearfar.networks.graphs.proposals._NUMBERS", 1)
    blocks = network(x, edges, sizes, secondary=secondary, places=places)
    close(blocks.nodes, whole.nodes)
    assert torch.equal(blocks.kept, whole.kept)
    inside = (edges < 6).all(dim=0)
    alone = network(x[:6], edges[:, inside], sizes[:1], secondary=secondary[:6], places=places[:6])
    close(whole.nodes[: len(alone.nodes)], alone.nodes)
    close(whole.anchors[:6], alone.anchors)


def test_the_proposals_of_one_anchor_equal_the_plain_form() -> None:
    from nearfar.networks.graphs.anchors import hierarchy_scores

    network, x, edges, sizes, secondary, places = proposals_inputs()
    found = network(x, edges, sizes, secondary=secondary, places=places)
    h = network.context[1](network.context[0](x, edges), edges)
    g = network.lift(h, edges)
    members = found.pairs[1][found.pairs[0] == 4]
    m = g[4] * x[members]
    matrix = torch.zeros(11, 11, dtype=torch.bool)
    matrix[edges[1], edges[0]] = True
    _, scores = hierarchy_scores(
        network.query(m),
        network.key(m),
        network.worth(network.value(m))[:, 0],
        matrix[members][:, members],
        secondary[members],
        (places[members] - places[4]).norm(dim=1),
    )
    close(found.nodes[found.pairs[0] == 4], scores)
    assert int(found.kept[found.pairs[0] == 4].sum()) == -(-len(members) // 2)


def test_proposals_are_trained_and_read() -> None:
    network, x, edges, sizes, secondary, places = proposals_inputs()
    found = network(x, edges, sizes, secondary=secondary, places=places)
    sites = torch.zeros(11, 1, dtype=torch.bool)
    sites[[0, 1, 7]] = True
    terms = found.losses(sites)
    assert terms["anchors"][:, 1].tolist() == [6, 5]
    assert terms["members"][:, 1].tolist() == [2, 1]
    sum(term[:, 0].sum() for term in terms.values()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    importance = found.importance()
    chance = found.anchors.sigmoid()[found.pairs[0]] * found.nodes.sigmoid()
    close(importance, torch.stack([chance[found.pairs[1] == node].max() for node in range(11)]))
    assert found.functional(0.0, node_threshold=0.0).sum() > 0
    assert found.functional(1.0).sum() == 0


def test_functional_attention_has_full_weight_where_all_is_functional() -> None:
    x, edges = graph()
    layer = FunctionalAttention(6).double()
    plain = layer(x, edges, torch.ones(7))
    halved = layer(x, edges, torch.zeros(7))
    assert not torch.allclose(plain, halved)
    assert plain.shape == (7, 6)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: GraphConvolution(2, 2)(torch.zeros(2, 2), torch.zeros(2, 1)), r"\(2, E\) int64"),
        (
            lambda: GraphConvolution(2, 2)(torch.zeros(2, 2), torch.tensor([[0], [2]])),
            "names node 2; expected 0 to 1",
        ),
        (lambda: MultisetPooling(6, seeds=(3, 1), heads=2), "does not divide"),
        (lambda: MultisetPooling(8, seeds=(3,), heads=2), "the last to be 1"),
        (lambda: MultisetPooling(8, form="other"), "expected 'masked' or 'heal'"),
        (lambda: perturbed(torch.zeros(2, 2), torch.zeros(2, 3)), "noise must have the shape"),
        (lambda: Proposals(4, keep=0.0), "share of members"),
    ],
)
def test_bad_input_gets_one_sentence(call: Callable[[], object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        call()


LONG_CHAIN = """
import torch
from pathlib import Path
from nearfar.data.content.proteins.residues import contacts
from nearfar.networks.graphs.proposals import Proposals
generator = torch.Generator().manual_seed(0)
places = torch.rand(600, 3, generator=generator) * 43.5
x = torch.randn(600, 1280, generator=generator)
edges = torch.from_numpy(contacts(places.numpy(), 10.0))
found = Proposals(1280, 256)(x, edges, torch.tensor([600]), places=places)
assert found.pairs.shape[1] > 50_000
(found.nodes.square().mean() + found.anchors.square().mean()).backward()
print(int(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0]) // 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for a program's own peak")
def test_a_chain_of_600_residues_stays_under_one_and_a_half_gigabytes() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LONG_CHAIN], capture_output=True, text=True, timeout=250, check=True
    )
    assert int(done.stdout) < 1500


def test_rows_carried_over_sorted_edges_are_the_sums_over_edges() -> None:
    """Values and gradients, of edges that run one way and of weights that learn."""
    generator = torch.Generator().manual_seed(0)
    edges = torch.randint(0, 6, (2, 15), generator=generator).unique(dim=1)
    whole = symmetric(edges, 6, dtype=torch.float64)
    x = torch.randn(6, 3, dtype=torch.float64, generator=generator).requires_grad_()
    weight = torch.rand(whole.edges.shape[1], dtype=torch.float64, generator=generator)
    weight.requires_grad_()
    slow = incoming(weight[:, None] * x[whole.edges[0]], whole.edges[1], 6)
    assert_close(whole(x, weight), slow)
    assert_close(whole(x), incoming(whole.weight[:, None] * x[whole.edges[0]], whole.edges[1], 6))
    assert torch.autograd.gradcheck(lambda a, b: whole(a, b), (x, weight))
