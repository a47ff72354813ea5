"""k-means and stages: clusters found again, pseudo-labels in mixed radix, weights handed over,
features put together.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from nearfar.data.batches.labelled import round_robin
from nearfar.errors import UserError
from nearfar.targets.kmeans import kmeans
from nearfar.targets.stages import Stages, exchange
from tests.losses.cases import close, named


def test_kmeans_finds_separate_clouds_and_repeats_itself() -> None:
    truth = torch.arange(300) % 5
    rows = 4 * torch.eye(5, 8)[truth] + 0.1 * torch.randn(300, 8)
    found = kmeans(rows, 5, seed=3)
    assert found.dtype == torch.int64
    assert torch.equal(found, kmeans(rows, 5, seed=3))
    assert len({(int(a), int(b)) for a, b in zip(truth, found, strict=True)}) == 5
    with pytest.raises(UserError, match="Cannot make 9 clusters of 4 samples"):
        kmeans(rows[:4], 9, seed=0)


@pytest.mark.parametrize("name", named("b-mcl-sampler-*"))
def test_reference_batches_of_one_group_each(golden: Any, name: str) -> None:
    case = golden(name)
    labels = case["in_pseudo_labels"]
    members = [(labels == group).nonzero().flatten() for group in labels.unique()]
    permuted = [rows[case["in_perms"][place][: len(rows)]] for place, rows in enumerate(members)]
    assert torch.equal(
        torch.stack(round_robin(permuted, int(case["hp_batch_size"]))), case["out_batches"]
    )


@pytest.mark.parametrize("name", named("b-mcl-integration*"))
def test_reference_integration(golden: Any, name: str) -> None:
    case = golden(name)
    features = [case["in_f0"], case["in_f1"], case["in_f2"]]
    stages = Stages(4, 2, nn.ModuleList(nn.Identity() for _ in range(3)))
    stages.current.fill_(2)
    close(normalize(stages.integrated(features, unit=False), dim=1), case["out_concat"])
    close(normalize(stages.integrated(features, unit=True), dim=1), case["out_unit"])


def test_pseudo_labels_are_mixed_radix_numbers_of_all_stages_clusters() -> None:
    networks = nn.ModuleList(nn.Linear(2, 2) for _ in range(3))
    stages = Stages(40, 4, networks)
    clouds = [torch.arange(40) % 4, torch.arange(40) // 10]
    for cloud in clouds:
        stages.finish(5 * torch.eye(4)[cloud] + 0.01 * torch.randn(40, 4), seed=0)
    assert int(stages.current) == 2
    assert stages.groups.min() >= 0
    assert stages.groups.max() < 16
    pairs = {(int(p), int(a), int(b)) for p, a, b in zip(stages.groups, *clouds, strict=True)}
    assert len(pairs) == len({p for p, _, _ in pairs}) == 16, "one group for each pair of clusters"
    first = stages.groups // 4
    assert len({(int(p), int(a)) for p, a in zip(first, clouds[0], strict=True)}) == 4, (
        "the first stage is the highest digit"
    )


def test_finished_stages_keep_their_weights_and_the_next_one_starts_fresh() -> None:
    networks = nn.ModuleList(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)) for _ in range(3))
    fresh = [network[0].weight.clone() for network in networks]
    stages = Stages(10, 2, networks)
    learning = networks[2][0].weight
    assert [all(p.requires_grad for p in n.parameters()) for n in networks] == [False, False, True]
    trained = []
    for start in (fresh[2], fresh[0], fresh[1]):
        assert networks[2][0].weight is learning, "the optimiser's parameter stays the same object"
        assert torch.equal(learning, start)
        with torch.no_grad():
            learning += 1
        networks[2][1].running_mean += 1
        trained.append(learning.clone())
        if len(trained) < 3:
            stages.finish(torch.randn(10, 4), seed=0)
    for network, weight in zip(networks, trained, strict=True):
        assert torch.equal(network[0].weight, weight)
        assert network[1].running_mean.eq(1).all()


def test_places_of_stages_to_come_are_empty() -> None:
    stages = Stages(10, 2, nn.ModuleList(nn.Linear(2, 2) for _ in range(3)))
    features = [torch.ones(4, 2), 2 * torch.ones(4, 2), 3 * torch.ones(4, 2)]
    assert stages.integrated(features, unit=False)[0].tolist() == [0, 0, 0, 0, 3, 3]
    stages.finish(torch.randn(10, 4), seed=0)
    assert stages.integrated(features, unit=False)[0].tolist() == [1, 1, 0, 0, 3, 3]


def test_a_stage_is_due_at_equal_shares_of_the_run() -> None:
    stages = Stages(10, 2, nn.ModuleList(nn.Linear(2, 2) for _ in range(3)))
    due = []
    for epoch in range(9):
        if stages.due(epoch, epoch / 9):
            stages.current += 1
            due.append(epoch)
    assert due == [3, 6]
    with pytest.raises(
        UserError, match="2 epochs are too few for 3 stages; choose --epochs 3 or more"
    ):
        Stages(10, 2, nn.ModuleList(nn.Linear(2, 2) for _ in range(3))).due(1, 0.5)


def test_exchange_swaps_everything_twice_to_the_start() -> None:
    first = nn.BatchNorm1d(3)
    second = nn.BatchNorm1d(3)
    first.running_var.fill_(7)
    exchange(first, second)
    assert second.running_var.eq(7).all()
    assert first.running_var.eq(1).all()
