"""Retrieval and zero-shot against torchmetrics and slow twins; ties and shuffled pairs."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from torchmetrics.retrieval import RetrievalRecall

from nearfar.errors import UserError
from nearfar.evaluation.kernels.intervals import wilson
from nearfar.evaluation.measures.pairs import modality_gap, partner_ranks, recall_at, zero_shot


def noisy_pairs(count: int, noise: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    first = torch.randn(count, 8)
    return first, first + noise * torch.randn(count, 8)


@pytest.mark.parametrize("block", [1, 7, 1024])
def test_ranks_equal_the_loop_whatever_the_block(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nearfar.evaluation.measures.pairs._BLOCK", block)
    first, second = (x.double() for x in noisy_pairs(20))
    cosine = F.cosine_similarity(first[:, None], second[None], dim=2)
    expected = [
        sum(float(cosine[i, j]) >= float(cosine[i, i]) for j in range(20) if j != i) + 1
        for i in range(20)
    ]
    assert partner_ranks(first, second).tolist() == expected


@pytest.mark.parametrize("k", [1, 5, 10])
def test_recall_equals_torchmetrics(k: int) -> None:
    first, second = noisy_pairs(60)
    cosine = F.normalize(first, dim=1) @ F.normalize(second, dim=1).T
    query = torch.arange(60)[:, None].expand(60, 60)
    reference = RetrievalRecall(top_k=k)(
        cosine.flatten(), torch.eye(60).bool().flatten(), indexes=query.flatten()
    )
    found = recall_at(partner_ranks(first, second), k)
    assert 0.1 < found < 1
    assert found == pytest.approx(float(reference))


def test_ties_count_against_the_query() -> None:
    same = torch.ones(1, 5).expand(9, 5)
    assert partner_ranks(same, same).tolist() == [9] * 9
    # Copies of one vector have cosines that differ in the last bits: those are ties, too.
    row = torch.randn(1, 301)
    assert partner_ranks(row.expand(700, 301), row.expand(700, 301) * 3).tolist() == [700] * 700


def test_perfect_and_reversed_pairs() -> None:
    x = torch.randn(30, 8)
    assert partner_ranks(x, 2 * x).tolist() == [1] * 30
    assert partner_ranks(x, -x).tolist() == [30] * 30


def test_shuffled_pairs_are_at_chance() -> None:
    first, second = noisy_pairs(400, noise=0.1)
    assert recall_at(partner_ranks(first, second), 1) > 0.9
    for seed in range(3):
        wrong = second[torch.randperm(400, generator=torch.Generator().manual_seed(seed))]
        for k in (1, 10):
            interval = wilson(recall_at(partner_ranks(first, wrong), k), 400)
            assert interval.low <= k / 400 <= interval.high


def test_zero_shot_is_the_nearest_class_text() -> None:
    texts = torch.randn(5, 8)
    labels = torch.arange(50) % 5
    images = 3 * texts[labels] + 0.1 * torch.randn(50, 8)
    assert torch.equal(zero_shot(images, texts), labels)
    assert torch.equal(zero_shot(images, texts * torch.rand(5, 1).add(0.1)), labels)


def test_the_gap_is_between_the_means() -> None:
    x = torch.randn(40, 6)
    assert modality_gap(x, 5 * x) == pytest.approx(0, abs=1e-6)
    assert modality_gap(torch.ones(3, 2), -torch.ones(3, 2)) == pytest.approx(2)


def test_errors() -> None:
    with pytest.raises(UserError, match=r"shapes \(4, 3\) and \(4, 2\); expected one space"):
        partner_ranks(torch.randn(4, 3), torch.randn(4, 2))
    with pytest.raises(UserError, match=r"second of the pairs\) of 1 of 2 samples are NaN"):
        partner_ranks(torch.ones(2, 2), torch.tensor([[1.0, 2], [float("nan"), 1]]))
