"""MEOW, AdaMEOW and PamC: golden values and gradients, loops, limits, errors."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from nearfar.errors import UserError
from nearfar.losses.graphs import meta_paths
from nearfar.losses.graphs.meta_nodes import (
    assignment_divergence,
    clustering_graph,
    influence,
    meta_node_contrast,
    node_contrast,
    sharpened,
    student_assignment,
)
from nearfar.losses.graphs.meta_paths import (
    adaptive_contrast,
    cluster_weights,
    concentration,
    prototype_contrast,
    weighted_negatives,
)
from nearfar.networks.graphs.meta_paths import (
    SemanticAttention,
    normalised_adjacency,
    path_similarity_filter,
    whole_layer_norm,
)
from tests.losses.cases import close, leaves, named
from tests.references import ReferenceCase

Golden = Callable[[str], ReferenceCase]
F64 = torch.float64


@pytest.mark.parametrize("name", named("d-meow-losses-*"))
def test_meow_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    coarse, fine = leaves(case, "z_coarse", "z_fine")
    several = range(len(case["hp_num_clusters"]))
    labels = [case[f"in_assign{r}"] for r in several]
    loss = weighted_negatives(
        coarse, fine, cluster_weights(labels), temperature=case["hp_tau"].item()
    )
    slopes = torch.autograd.grad(loss, (coarse, fine))
    close(loss, case["out_infonce"])
    close(slopes[0], case["out_grad_infonce_coarse"])
    close(slopes[1], case["out_grad_infonce_fine"])
    centres = [case[f"in_centroids{r}"] for r in several]
    spread = [case[f"in_density{r}"] for r in several]
    loss = prototype_contrast(coarse, labels, centres, spread)
    (slope,) = torch.autograd.grad(loss, coarse)
    close(loss, case["out_protonce"])
    close(slope, case["out_grad_protonce_coarse"])


@pytest.mark.parametrize("name", named("d-adameow-loss-*"))
def test_adaptive_reference(golden: Golden, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meta_paths, "_BLOCK", 1)
    case = golden(name)
    fine, coarse = leaves(case, "z_fine", "z_coarse")

    def weigh(x: torch.Tensor) -> torch.Tensor:
        hidden = (x @ case["in_W1"].T + case["in_b1"]).tanh()
        return hidden @ case["in_W2"].T + case["in_b2"]

    loss = adaptive_contrast(fine, coarse, weigh, temperature=case["hp_tau"].item())
    loss.backward()
    close(loss, case["out_loss"])
    close(fine.grad, case["out_grad_fine"])
    close(coarse.grad, case["out_grad_coarse"])


@pytest.mark.parametrize("name", named("d-meow-density-*"))
def test_concentration_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    given = case["in_x"], case["in_assign"], case["in_centroids"]
    for distance, key in (("euclidean", "l2"), ("product", "ip")):
        found = concentration(*given, temperature=case["hp_tau"].item(), distance=distance)
        close(found, case[f"out_{key}"])


@pytest.mark.parametrize("name", named("d-meow-pathsim-*"))
def test_filtered_paths_reference(golden: Golden, name: str) -> None:
    """The reference's normalised matrix is in float32."""
    case = golden(name)
    kept = path_similarity_filter(case["in_A"], int(case["hp_K"]))
    assert torch.equal(kept, case["out_topk"].long())
    close(normalised_adjacency(kept), case["out_norm"], 1e-6)


@pytest.mark.parametrize("name", named("d-meow-encoder-bits-*"))
def test_norm_and_attention_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    close(whole_layer_norm(case["in_Z"]), case["out_layernorm"])
    attention = SemanticAttention(case["in_W"].shape[1]).double()
    attention.lift.weight.data = case["in_W"]
    attention.lift.bias.data = case["in_b"]
    attention.attention.data = case["in_att"]
    fused, share = attention(case["in_E"])
    close(share, case["out_beta"])
    close(fused, case["out_fused"])


@pytest.mark.parametrize("name", named("d-pamc-loss-*"))
def test_pamc_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    (z,) = leaves(case, "z")
    power = influence(clustering_graph(case["in_A"]), int(case["hp_order"]))
    close(power, case["out_A_power"])
    edges = power.nonzero().T
    clusters = len(case["in_centres"])
    loss = meta_node_contrast(
        z,
        case["in_labels"],
        edges,
        power[edges[0], edges[1]],
        clusters=clusters,
        temperature=case["hp_tau"].item(),
    )
    loss.backward()
    close(loss, case["out_loss"])
    close(z.grad, case["out_grad_z"])
    sums = torch.zeros(clusters, z.shape[1], dtype=F64).index_add(0, case["in_labels"], z.detach())
    close(sums, case["out_metanodes"])
    q = student_assignment(z.detach(), case["in_centres"])
    close(q, case["out_q"])
    close(sharpened(q), case["out_p"])
    close(assignment_divergence(sharpened(q), q), case["out_kl"])


def test_each_node_as_its_own_cluster_gives_the_pairs_but_for_their_means() -> None:
    z = torch.randn(6, 3, dtype=F64)
    edges = torch.tensor([[0, 1, 2, 3, 4, 5, 0], [1, 2, 3, 4, 5, 0, 0]])
    strength = torch.rand(7, dtype=F64)
    blocks = meta_node_contrast(z, torch.arange(6), edges, strength, clusters=6)
    close(blocks, node_contrast(z, edges, strength), 1e-8)


def test_an_empty_cluster_changes_nothing() -> None:
    z = torch.randn(4, 3, dtype=F64, requires_grad=True)
    label, loops = torch.tensor([0, 0, 2, 2]), torch.arange(4).repeat(2, 1)
    loss = meta_node_contrast(z, label, loops, torch.ones(4), clusters=3)
    close(loss, meta_node_contrast(z, label // 2, loops, torch.ones(4), clusters=2))
    (slope,) = torch.autograd.grad(loss, z)
    assert torch.isfinite(slope).all()


def test_a_row_without_negatives_stays_finite() -> None:
    z = torch.randn(3, 2, dtype=F64, requires_grad=True)
    loss = weighted_negatives(z, z.detach(), torch.zeros(3, 3))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(z.grad).all()


def test_wrong_inputs_get_one_sentence() -> None:
    x = torch.zeros(2, 2)
    with pytest.raises(ValueError, match=r"weight \(N, N\)"):
        weighted_negatives(x, x, torch.zeros(3, 3))
    with pytest.raises(ValueError, match="at least one clustering"):
        cluster_weights([])
    with pytest.raises(ValueError, match="the same clusterings"):
        prototype_contrast(x, [], [], [])
    with pytest.raises(ValueError, match="'euclidean' and 'product'"):
        concentration(x, torch.tensor([0, 0]), x, distance="cosine")
    with pytest.raises(ValueError, match="at least 1"):
        influence(x, 0)
    with pytest.raises(UserError, match="Counts"):
        path_similarity_filter(torch.zeros(2, 3), 1)
