"""Cone attention and anchors: golden values, slow forms, limits, errors."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from nearfar.errors import UserError
from nearfar.networks.graphs.anchors import (
    anchor_targets,
    hierarchy_scores,
    k_hop,
    kept_members,
    overlap,
)
from nearfar.networks.graphs.cones import penumbral_logits, umbral_logits
from tests.losses.cases import close, named
from tests.references import ReferenceCase

Golden = Callable[[str], ReferenceCase]


@pytest.mark.parametrize("name", named("d-proteinrpn-penumbral-*"))
def test_penumbral_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    found = penumbral_logits(
        case["in_q"],
        case["in_k"],
        radius=case["hp_r"].item(),
        gamma=case["hp_gamma"].item(),
        epsilon=case["hp_eps"].item(),
    )
    close(found, case["out_logits"])


@pytest.mark.parametrize("name", named("d-proteinrpn-umbral-*"))
def test_umbral_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    found = umbral_logits(
        case["in_q"], case["in_k"], radius=case["hp_r"].item(), gamma=case["hp_gamma"].item()
    )
    close(found, case["out_logits"])


def test_the_umbral_logit_of_one_pair_by_hand() -> None:
    q, k = torch.tensor([[1.0, 2.0, 0.3]]), torch.tensor([[0.5, -1.0, 0.9]])
    low, high = math.exp(0.1), math.exp(0.3)
    apart = math.hypot(low - 0.5 * high, 2 * low + high)
    height = max(low, high, apart / (2 * math.sinh(1)) + (low + high) / 2)
    assert umbral_logits(q, k).item() == pytest.approx(-height, rel=1e-6)


def test_cone_logits_have_finite_gradients_where_points_coincide() -> None:
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    for logits in (penumbral_logits(x, x), umbral_logits(x, x)):
        (gradient,) = torch.autograd.grad(logits.sum(), x)
        assert torch.isfinite(gradient).all()


def test_cone_attention_refuses_other_widths_in_one_sentence() -> None:
    with pytest.raises(UserError, match="one width of at least 2; found 3 and 4"):
        penumbral_logits(torch.zeros(1, 3), torch.zeros(1, 4))
    with pytest.raises(UserError, match="radius"):
        umbral_logits(torch.zeros(1, 3), torch.zeros(1, 3), radius=0.0)


def k_hop_loop(edges: Tensor, nodes: int, hops: int) -> set[tuple[int, int]]:
    found = {(node, node) for node in range(nodes)}
    for _ in range(hops):
        found |= {
            (anchor, int(sender))
            for anchor, member in found
            for sender, receiver in edges.T
            if int(receiver) == member
        }
    return found


@pytest.mark.parametrize("hops", [0, 1, 2, 3])
def test_anchors_equal_the_loop(hops: int) -> None:
    edges = torch.randint(0, 12, (2, 20))
    pairs = k_hop(edges, 12, hops)
    assert {(int(a), int(m)) for a, m in pairs.T} == k_hop_loop(edges, 12, hops)
    assert torch.equal(pairs, pairs[:, (pairs[0] * 12 + pairs[1]).argsort()])


@pytest.mark.parametrize("name", named("d-proteinrpn-nodedrop-*"))
def test_node_drop_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    m = case["in_m"]
    share, scores = hierarchy_scores(
        m @ case["in_Wq"],
        m @ case["in_Wk"],
        m @ case["in_Wv"] @ case["in_w"],
        case["in_adj"].bool(),
        case["in_ss"],
        case["in_dist"],
        structure=case["hp_lambda_ss"].item(),
        nearness=case["hp_lambda_dist"].item(),
        scale=case["hp_dist_scale"].item(),
    )
    close(share, case["out_attention"])
    close(scores.sigmoid(), case["out_prob"])
    there = torch.ones(1, len(m), dtype=torch.bool)
    kept = kept_members(scores[None], there, case["hp_keep_ratio"].item())[0]
    assert torch.equal(kept, case["out_keep"].bool())


def test_of_an_odd_number_of_members_the_larger_half_stays_and_padding_never() -> None:
    there = torch.tensor([[True, True, True, False], [True, False, False, False]])
    kept = kept_members(torch.tensor([[1.0, 3.0, 2.0, 9.0], [0.0, 9.0, 9.0, 9.0]]), there, 0.5)
    assert kept.tolist() == [[False, True, True, False], [True, False, False, False]]
    with pytest.raises(UserError, match="share of members"):
        kept_members(torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool), 0.0)


def test_an_anchor_is_functional_where_its_centre_is_in_a_site_that_it_mostly_holds() -> None:
    pairs = torch.tensor([[0, 0, 0, 1, 1, 2, 3], [0, 1, 2, 0, 1, 2, 3]])
    sites = torch.tensor([[True, False], [True, False], [True, False], [False, True]])
    sizes = torch.tensor([3, 1])
    assert anchor_targets(pairs, sites, sizes).tolist() == [True, False, False, True]
    assert anchor_targets(pairs, sites, sizes, coverage=2 / 3).tolist() == [True, True, False, True]


def test_overlap_is_intersection_over_union() -> None:
    assert overlap(torch.tensor([True, True]), torch.tensor([True, True])).item() == 1
    assert overlap(torch.tensor([False]), torch.tensor([False])).item() == 0
