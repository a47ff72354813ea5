"""Search is exact by either way, near-duplicates are connected, suggestions cover the set, flipped
labels are found.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from nearfar.errors import UserError
from nearfar.finding.index import (
    Index,
    doubtful_labels,
    duplicate_groups,
    nearest_rows,
    read_index,
    worth_labelling,
)


def random(rows: int, dimensions: int = 16, seed: int = 0) -> Tensor:
    return torch.randn(rows, dimensions, generator=torch.Generator().manual_seed(seed))


def index(features: Tensor, labels: list[str] | None = None) -> Index:
    return Index(features, [f"s{i}" for i in range(len(features))], labels or [""] * len(features))


def test_hits_are_the_nearest_by_cosine_without_the_sample_itself() -> None:
    features = random(300)
    expected = (normalize(features[7:8], dim=1) @ normalize(features, dim=1).T)[0]
    expected[7] = -2
    hits = index(features).like(7, 5)
    assert [hit.row for hit in hits] == expected.topk(5).indices.tolist()
    assert [hit.similarity for hit in hits] == pytest.approx(
        expected.topk(5).values.tolist(), abs=1e-5
    )
    assert hits[0].id == f"s{hits[0].row}"


def test_faiss_and_the_own_search_agree() -> None:
    pytest.importorskip("faiss")
    bank = random(500)
    queries = random(40, seed=1)
    own, other = (nearest_rows(bank, queries, 8, faiss=use) for use in (False, True))
    torch.testing.assert_close(other[0], own[0], atol=1e-5, rtol=0)
    assert torch.equal(other[1], own[1])


def test_groups_reach_over_blocks() -> None:
    features = torch.cat([random(2100, 64), random(2100, 64)[:3] * 2])
    assert duplicate_groups(features, 0.99) == [[0, 2100], [1, 2101], [2, 2102]]


def test_suggestions_cover_the_clusters_that_have_no_label() -> None:
    centres = 10 * torch.eye(6)
    features = centres.repeat_interleave(20, dim=0) + 0.1 * random(120, 6)
    chosen = worth_labelling(features, 4, labelled=[3, 25])
    assert sorted(row // 20 for row in chosen) == [2, 3, 4, 5]
    assert len(worth_labelling(features, 200)) == 120
    assert chosen == worth_labelling(features, 4, labelled=[3, 25])


def test_flipped_labels_are_doubted_and_right_ones_are_not() -> None:
    features = (5 * torch.eye(4)).repeat_interleave(25, dim=0) + 0.2 * random(100, 4)
    labels = [f"c{i // 25}" for i in range(100)]
    labels[3], labels[60] = "c2", "c0"
    found = doubtful_labels(features, labels)
    assert {(row, other) for row, other, _ in found} == {(3, "c0"), (60, "c2")}
    assert all(0.5 < share <= 1 for _, _, share in found)
    assert doubtful_labels(features, ["one"] * 100) == []


def test_what_is_no_index_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"nothing")
    np.savez(tmp_path / "x.npz", other=np.zeros(3))
    for name in ("x.parquet", "x.npz", "none.parquet"):
        with pytest.raises(UserError, match="holds no embeddings"):
            read_index(tmp_path / name)
