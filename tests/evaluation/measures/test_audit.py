"""SEER's audit and curation by clusters: reference values, limits, wrong inputs."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from nearfar.data.selection.balance import (
    allocate,
    allocate_levels,
    choose_in_cluster,
    cut,
    nearest_centroid,
    selection_entropy,
)
from nearfar.errors import UserError
from nearfar.evaluation.trust.audit import (
    associated,
    income_bucket,
    label_rate_difference,
    rate_by_group,
    retrieval_precision,
    top_hits,
)
from tests.losses.cases import close, named


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", named("f-seer-labelassoc-*"))
def test_associations_equal_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    hits = associated(
        case["in_top5"],
        case["in_confidence"],
        case["in_assoc_labels"].tolist(),
        float(case["hp_threshold"]),
    )
    assert torch.equal(hits, case["out_hit"].bool())
    close(rate_by_group(hits, case["in_group"]), case["out_rate"])


@pytest.mark.parametrize("name", named("f-seer-hitrate-*"))
def test_hits_by_income_equal_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    bucket = income_bucket(case["in_income"])
    assert torch.equal(bucket.double(), case["out_bucket"])
    hits = top_hits(case["in_top5"], case["in_label"])
    assert torch.equal(hits.double(), case["out_hit"])
    close(rate_by_group(hits, bucket - 1, 3), case["out_rate"])


@pytest.mark.parametrize("name", named("f-seer-fairprecision-*"))
def test_retrieval_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    found = retrieval_precision(
        case["in_query_feat"],
        case["in_db_feat"],
        case["in_query_label"],
        case["in_db_label"],
        case["hp_k"].tolist(),
    )
    close(found.mean(0), case["out_overall"])
    for key, group in (("label", case["in_query_label"]), ("group", case["in_query_group"])):
        expected = case[f"out_by_{key}"]
        for one in range(expected.shape[1]):
            own = group == one
            score = found[own].mean(0) if own.any() else -torch.ones(len(expected)).double()
            close(score, expected[:, one])


def test_a_group_is_compared_with_the_others() -> None:
    rates = torch.tensor([10.0, 40.0, 10.0])
    assert label_rate_difference(rates).tolist() == pytest.approx([-15.0, 30.0, -15.0])
    assert math.isnan(rate_by_group(torch.ones(1), torch.ones(1).long())[0])


@pytest.mark.parametrize("name", named("f-curation-balance-*"))
def test_allocations_equal_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    sizes, budget = case["in_sizes"], int(case["hp_target"])
    assert cut(sizes, budget) == int(case["out_cut"])
    found = allocate(sizes, budget, drawn())
    assert int(found.sum()) == int(case["out_total"])
    assert torch.equal(found.sort().values, case["out_alloc"].sort().values)


@pytest.mark.parametrize("name", named("f-curation-balancedness-*"))
def test_evenness_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    found = torch.tensor(selection_entropy(case["in_sizes"]), dtype=torch.float64)
    close(found, case["out_entropy"])


@pytest.mark.parametrize("name", named("f-curation-assign-*"))
def test_nearest_centroids_equal_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    nearest, squared = nearest_centroid(case["in_x"], case["in_centroids"])
    assert torch.equal(nearest, case["out_assign"])
    close(squared, case["out_sqdist"])


@pytest.mark.parametrize("name", named("f-curation-hier-*"))
def test_two_levels_equal_the_reference(golden: Any, name: str) -> None:
    """Leaves list their points by distance, so the nearest are the first of each leaf."""
    case = golden(name)
    sizes = case["in_leaf_sizes"]
    given = allocate_levels(sizes, [case["in_group_of_leaf"]], int(case["hp_target"]), drawn())
    starts = sizes.cumsum(0) - sizes
    chosen = [
        int(start) + choose_in_cluster(torch.arange(float(size)), int(count), drawn(), eta=math.inf)
        for start, size, count in zip(starts, sizes, given, strict=True)
    ]
    assert torch.equal(torch.cat(chosen), case["out_selected"])


def test_a_remainder_goes_to_larger_clusters_by_the_generator() -> None:
    sizes = torch.tensor([9, 9, 9, 1])
    draws = {tuple(allocate(sizes, 11, drawn(seed)).tolist()) for seed in range(20)}
    assert draws == {(4, 3, 3, 1), (3, 4, 3, 1), (3, 3, 4, 1)}
    assert torch.equal(allocate(sizes, 100, drawn()), sizes)
    assert allocate(sizes, 0, drawn()).sum() == 0


def test_eta_draws_near_or_far_points() -> None:
    squared = torch.rand(500, generator=drawn(1))
    means = {
        eta: float(squared[choose_in_cluster(squared, 50, drawn(), eta=eta)].mean())
        for eta in (-math.inf, -1.0, 0.0, 1.0, math.inf)
    }
    assert list(means.values()) == sorted(means.values(), reverse=True)
    assert means[0.0] == pytest.approx(0.5, abs=0.1)


def test_wrong_inputs_are_refused_in_a_sentence() -> None:
    sizes = torch.tensor([3, 4])
    with pytest.raises(UserError, match="budget is -1"):
        cut(sizes, -1)
    with pytest.raises(UserError, match="needs as many parents; found 1"):
        allocate_levels(sizes, [torch.zeros(1).long()], 3, drawn())
    with pytest.raises(UserError, match="a budget up to M"):
        choose_in_cluster(torch.rand(3), 4, drawn())
    with pytest.raises(UserError, match="at least 2 clusters"):
        selection_entropy(torch.tensor([3]))
    with pytest.raises(UserError, match="expected from 1 to 2"):
        retrieval_precision(torch.eye(2), torch.eye(2), sizes, sizes, (5,))
    with pytest.raises(UserError, match="not above 0"):
        income_bucket(torch.zeros(1))
    with pytest.raises(UserError, match="Expected labels"):
        associated(torch.ones(2), torch.ones(2), [1], 0.1)
    with pytest.raises(UserError, match="Expected predicted"):
        top_hits(torch.ones(2, 2).long(), torch.ones(3).long())
