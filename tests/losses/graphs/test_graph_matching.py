"""LVM-Med: affinities, solver, black-box gradients and position pairs against golden values."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from nearfar.errors import UserError
from nearfar.losses.graphs import graph_matching as module
from nearfar.losses.graphs.graph_matching import (
    affinities,
    graph_matching,
    nearest_edges,
    position_pairs,
    solve_matching,
)
from nearfar.losses.graphs.noisy_assignment import assignment_by_noise
from nearfar.networks.graphs.convolution import GraphMessages
from tests.losses.cases import close, leaves, named
from tests.references import ReferenceCase

Golden = Callable[[str], ReferenceCase]
F64 = torch.float64


def compared(
    case: ReferenceCase,
    monkeypatch: pytest.MonkeyPatch,
    s: Tensor,
    t: Tensor,
    how: dict[str, object],
) -> Tensor:
    """Compare affinities, matching, cost and the gradients of costs; the loss with its graph."""
    edges = case["in_edges_s"], case["in_edges_t"]
    found = affinities(s, t, *edges, kind=str(how["kind"]))
    close(found[0], case["out_vertex_affinity"])
    close(found[1], case["out_edge_affinity"])
    seen: list[Tensor] = []
    solver = module._matched

    def record(*given: Tensor) -> tuple[Tensor, Tensor]:
        made = solver(*given)
        seen.extend([given[0], given[1], *made])
        return made

    monkeypatch.setattr(module, "_matched", record)
    loss = graph_matching(s, t, *edges, strength=case["hp_lambda"].item(), **how)
    loss.backward()
    nodes, pairs, matching, edge_matching, _, _, moved, moved_edges = seen
    close(matching, case["out_matching"])
    close((nodes * matching).sum() + (pairs * edge_matching).sum(), case["out_cost"])
    close(moved, case["out_perturbed_matching"])
    strength = case["hp_lambda"].item()
    close((moved - matching) / strength, case["out_grad_vertex_cost"])
    close((moved_edges - edge_matching) / strength, case["out_grad_edge_cost"])
    close(loss, case["out_loss"])
    return loss


@pytest.mark.parametrize("name", named("e-lvm-gm-*"))
def test_the_older_form_reference(
    golden: Golden, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = golden(name)
    s, t = leaves(case, "nodes_s", "nodes_t")
    kind = "cosine" if int(case["hp_affinity_is_cosine"]) else "softplus"
    compared(case, monkeypatch, s, t, {"margin": case["hp_margin"].item(), "kind": kind})
    close(s.grad, case["out_grad_nodes_s"])
    close(t.grad, case["out_grad_nodes_t"])


@pytest.mark.parametrize("name", named("e-lvm-gmnoise-*"))
def test_the_form_with_noise_reference(
    golden: Golden, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = golden(name)
    s, t = leaves(case, "nodes_s", "nodes_t")
    nodes = [s, t]
    if "in_gnn0_b" in case:
        nodes = [passed(case, s, case["in_edges_s"]), passed(case, t, case["in_edges_t"])]
        close(nodes[0], case["out_nodes_s"])
        close(nodes[1], case["out_nodes_t"])
    noise = case["in_noise_vertex"], case["in_noise_edge"]
    compared(case, monkeypatch, *nodes, {"noise": noise, "kind": "cosine"})
    close(s.grad, case["out_grad_nodes_s"])
    close(t.grad, case["out_grad_nodes_t"])


def passed(case: ReferenceCase, x: Tensor, edges: Tensor) -> Tensor:
    """Two layers of messages with the reference's weights."""
    for place in range(2):
        layer = GraphMessages(x.shape[1], len(case[f"in_gnn{place}_b"])).double()
        layer.own.weight.data = case[f"in_gnn{place}_W_self"]
        layer.neighbours.weight.data = case[f"in_gnn{place}_W_neigh"]
        layer.neighbours.bias.data = case[f"in_gnn{place}_b"]
        x = layer(x, edges)
        x = x.relu() if place == 0 else x
    return x


@pytest.mark.parametrize("name", named("e-lvm-imle-*"))
def test_implicit_likelihood_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    theta = case["in_theta"][0].clone().requires_grad_()
    loss = assignment_by_noise(
        theta,
        case["in_noise"][0],
        strength=case["hp_lambda"].item(),
        input_temperature=case["hp_input_noise_temperature"].item(),
        target_temperature=case["hp_target_noise_temperature"].item(),
    )
    loss.backward()
    close(loss, case["out_loss"])
    close(theta.grad, case["out_grad_theta"][0])


@pytest.mark.parametrize("name", named("e-lvm-local-*"))
def test_position_pairs_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    maps = case["in_map1"], case["in_map2"]
    for key, keys in (("feature", maps), ("location", (case["in_loc1"], case["in_loc2"]))):
        first, second = position_pairs(*maps, *keys, int(case["hp_gamma"]))
        close(first, case[f"out_{key}_pairs_1"])
        close(second, case[f"out_{key}_pairs_2"])


def test_swaps_come_close_to_the_best_of_all_permutations(monkeypatch: pytest.MonkeyPatch) -> None:
    draws = np.random.default_rng(0)
    edges = np.stack([np.arange(6), (np.arange(6) + 1) % 6])
    equal = 0
    for _ in range(20):
        given = draws.normal(size=(6, 6)), 0.3 * draws.normal(size=(6, 6)), edges, edges
        exact = solve_matching(*given)
        monkeypatch.setattr(module, "_EXACT", 0)
        swapped = solve_matching(*given)
        monkeypatch.setattr(module, "_EXACT", 6)
        assert sorted(swapped.tolist()) == list(range(6))
        equal += exact.tolist() == swapped.tolist()
    assert equal >= 12


def test_a_step_along_the_gradient_matches_more() -> None:
    torch.manual_seed(1)
    target = torch.randn(8, 6, dtype=F64)
    x = torch.randn(8, 6, dtype=F64, requires_grad=True)
    losses = []
    for _ in range(60):
        edges, other = nearest_edges(x, 3), nearest_edges(target, 3)
        loss = graph_matching(x, target, edges, other, strength=2.0, margin=0.3)
        (slope,) = torch.autograd.grad(loss, x)
        x = (x - 0.3 * slope).detach().requires_grad_()
        losses.append(loss.item())
    assert losses[-1] <= losses[0] / 3


def test_wrong_inputs_get_one_sentence() -> None:
    edges = torch.tensor([[0], [1]])
    with pytest.raises(UserError, match="kind of affinity"):
        affinities(torch.eye(2), torch.eye(2), edges, edges, kind="dot")
    with pytest.raises(UserError, match="expected 1 to 1"):
        nearest_edges(torch.eye(2), 2)
    with pytest.raises(ValueError, match="expected above 0"):
        graph_matching(torch.eye(2), torch.eye(2), edges, edges, strength=0.0)
    with pytest.raises(ValueError, match="expected that many"):
        position_pairs(*[torch.zeros(1, 2, 2)] * 4, 3)
    with pytest.raises(ValueError, match="expected above 0"):
        assignment_by_noise(torch.eye(2), torch.zeros(1, 2, 2), strength=-1.0)
