"""Weighted kNN: reference values, a slow twin, blocks of any size, and its limits."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from nearfar.errors import UserError
from nearfar.evaluation.features import Labelled
from nearfar.evaluation.probes.knn import knn_accuracy, knn_predict, knn_scores, nearest

from .toys import blobs

Golden = Callable[[str], dict[str, torch.Tensor]]


def slow_scores(
    bank: torch.Tensor,
    labels: torch.Tensor,
    queries: torch.Tensor,
    k: int,
    temperature: float,
    classes: int,
) -> torch.Tensor:
    scores = torch.zeros(len(queries), classes, dtype=bank.dtype)
    for i, query in enumerate(queries):
        cosines = [float(query @ row / (query.norm() * row.norm())) for row in bank]
        for j in sorted(range(len(bank)), key=lambda j: -cosines[j])[:k]:
            scores[i, labels[j]] += torch.tensor(cosines[j] / temperature, dtype=bank.dtype).exp()
    return scores


def test_golden(golden: Golden) -> None:
    case = golden("a-knn-weighted")
    given = case["in_bank"], case["in_bank_labels"], case["in_query"]
    settings = {
        "k": int(case["hp_k"]),
        "temperature": float(case["hp_temperature"]),
        "classes": case["out_scores"].shape[1],
    }
    torch.testing.assert_close(
        knn_scores(*given, **settings), case["out_scores"], rtol=1e-8, atol=0
    )
    assert torch.equal(knn_predict(*given, **settings), case["out_pred"])


@pytest.mark.parametrize("k", [1, 5, 23])
@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_equals_the_slow_twin(k: int, temperature: float) -> None:
    bank = torch.randn(23, 5).double()
    labels = torch.randint(4, (23,))
    queries = torch.randn(9, 5).double()
    fast = knn_scores(bank, labels, queries, k=k, temperature=temperature, classes=4)
    torch.testing.assert_close(
        fast, slow_scores(bank, labels, queries, k, temperature, 4), rtol=1e-10, atol=0
    )
    assert torch.equal(
        knn_predict(bank, labels, queries, k=k, temperature=temperature, classes=4),
        fast.argmax(dim=1),
    )


@pytest.mark.parametrize(
    ("query_block", "bank_block"), [(1, 1), (3, 7), (4, 50), (100, 8), (13, 49)]
)
def test_blocks_of_any_size_give_the_plain_result(query_block: int, bank_block: int) -> None:
    bank = torch.randn(50, 6).double()
    queries = torch.randn(13, 6).double()
    cosine, row = nearest(bank, queries, k=11, query_block=query_block, bank_block=bank_block)
    similarity = (
        torch.nn.functional.normalize(queries, dim=1) @ torch.nn.functional.normalize(bank, dim=1).T
    )
    plain = similarity.topk(11, dim=1)
    torch.testing.assert_close(cosine, plain.values, rtol=1e-12, atol=1e-15)
    assert torch.equal(row, plain.indices)


def test_the_neighbours_are_those_of_scikit_learn() -> None:
    bank = torch.randn(300, 16)
    queries = torch.randn(40, 16)
    reference = (
        NearestNeighbors(n_neighbors=7, metric="cosine")
        .fit(bank.numpy())
        .kneighbors(queries.numpy(), return_distance=False)
    )
    assert torch.equal(nearest(bank, queries, k=7)[1], torch.from_numpy(reference))


def test_the_accuracy_is_that_of_scikit_learn() -> None:
    train = blobs(200, spread=1.5)
    test = blobs(100, spread=1.5, seed=1)
    unit = [torch.nn.functional.normalize(x.features, dim=1).numpy() for x in (train, test)]
    model = KNeighborsClassifier(
        20,
        metric="cosine",
        weights=lambda distance: torch.tensor((1 - distance) / 0.07).exp().numpy(),
    )
    accuracy = model.fit(unit[0], train.labels.numpy()).score(unit[1], test.labels.numpy())
    assert 0.3 < accuracy < 1.0
    assert knn_accuracy(train, test) == pytest.approx(accuracy, abs=1e-6)


def test_the_length_of_features_does_not_matter() -> None:
    bank = torch.randn(40, 6).double()
    labels = torch.randint(3, (40,))
    queries = torch.randn(9, 6).double()
    lengths = torch.rand(40, 1).double() + 0.1
    scores = knn_scores(bank, labels, queries, classes=3)
    torch.testing.assert_close(
        knn_scores(bank * lengths, labels, 7 * queries, classes=3), scores, rtol=1e-9, atol=0
    )


def test_a_k_larger_than_the_bank_takes_the_whole_bank() -> None:
    bank = torch.randn(6, 3)
    queries = torch.randn(2, 3)
    assert nearest(bank, queries, k=100)[1].shape == (2, 6)
    labels = torch.arange(6) % 2
    assert torch.equal(
        knn_scores(bank, labels, queries, k=100, classes=2),
        knn_scores(bank, labels, queries, k=6, classes=2),
    )


def test_a_tiny_temperature_is_the_nearest_neighbour_and_stays_finite() -> None:
    train = blobs(80, spread=2.0)
    test = blobs(40, spread=2.0, seed=1)
    first = train.labels[nearest(train.features, test.features, k=1)[1][:, 0]]
    soft = knn_predict(train.features, train.labels, test.features, temperature=1e-5, classes=4)
    assert torch.equal(soft, first)


def test_no_matrix_of_all_similarities_is_kept() -> None:
    """The largest tensor that the search makes is one block, not queries x bank."""
    from torch.utils._python_dispatch import TorchDispatchMode

    largest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            made = func(*args, **(kwargs or {}))
            for tensor in made if isinstance(made, tuple | list) else [made]:
                if isinstance(tensor, torch.Tensor):
                    largest = max(largest, tensor.numel())
            return made

    with Watch():
        nearest(torch.randn(400, 4), torch.randn(300, 4), k=3, query_block=10, bank_block=40)
    assert largest <= 400 * 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 0}, "k is 0; expected at least 1"),
        ({"temperature": 0.0}, "temperature is 0.0; expected a number above 0"),
        ({"queries": torch.randn(2, 4)}, "Queries have 4 dimensions, the bank 3"),
        ({"bank_labels": torch.rand(6)}, "float32; expected int64"),
        ({"classes": 1}, "run from 0 to 1; expected 0 to 0"),
        ({"bank": torch.full((6, 3), float("nan"))}, r"\(bank\) of 6 of 6 samples are NaN"),
    ],
)
def test_errors(change: dict[str, object], message: str) -> None:
    given = {
        "bank": torch.randn(6, 3),
        "bank_labels": torch.arange(6) % 2,
        "queries": torch.randn(2, 3),
        "classes": 2,
    }
    with pytest.raises(UserError, match=message):
        knn_scores(**{**given, **change})  # type: ignore[arg-type]


def test_labels_may_leave_classes_out() -> None:
    train = Labelled(torch.randn(10, 3), torch.full((10,), 4), 7)
    assert knn_scores(train.features, train.labels, torch.randn(2, 3), classes=7).shape == (2, 7)
