"""MoCHi: reference values, a loop, where gradients stop, and how near the synthetic points are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from nearfar.losses.instance.contrastive import queue_info_nce
from nearfar.losses.instance.hard_negatives import (
    Draws,
    draw,
    hardest_keys,
    mochi,
    proxy_accuracy,
    synthesise,
)
from nearfar.losses.kernels.similarity import unit
from tests.losses.cases import close, degenerate, finite_with_gradient, leaves, named
from tests.losses.precision import agrees_in_lower_precision


def features(samples: int = 5, keys: int = 12, dimension: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    return tuple(
        unit(torch.randn(n, dimension, dtype=torch.float64)) for n in (samples, samples, keys)
    )  # type: ignore[return-value]


def drawn(query: Tensor, queue: Tensor, seed: int = 0, **sizes: int) -> Draws:
    sizes = {"hardest": 6, "pairs": 4, "with_query": 3} | sizes
    return draw(query, queue, generator=torch.Generator().manual_seed(seed), **sizes)


@pytest.mark.parametrize("name", named("a-mochi-case*"))
def test_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    (query,) = leaves(case, "q")
    key = case["in_k"]
    queue = case["in_queue"]
    tau = float(case["hp_temperature"])
    hardest = int(case["hp_n_hard"])
    draws = Draws(
        hardest, *(case[f"in_{part}"] for part in ("idx1", "idx2", "alpha", "idx_q", "beta"))
    )
    loss = mochi(query, key, queue, draws, temperature=tau)
    close(loss, case["out_loss"])
    close(torch.autograd.grad(loss, query)[0], case["out_grad_q"])
    assert torch.equal(hardest_keys(query, queue, hardest), case["out_top_indices"])
    pairs, with_query = synthesise(query, queue, draws)
    close(pairs, case["out_synthetic1"])
    close(with_query, case["out_synthetic2"])
    synthetic = torch.einsum("nd,nsd->ns", query, torch.cat([pairs, with_query], dim=1))
    logits = (
        torch.cat([(query * key).sum(dim=1, keepdim=True), query @ queue.T, synthetic], dim=1) / tau
    )
    close(logits, case["out_logits"])
    assert proxy_accuracy(query, key, queue, draws) == (logits.argmax(dim=1) == 0).double().mean()


def test_equals_its_loop() -> None:
    query, key, queue = features()
    query.requires_grad_()
    draws = drawn(query, queue)
    rows = []
    for n in range(5):
        order = sorted(range(12), key=lambda u: -(queue[u] @ query[n]).item())
        hard = [queue[u] for u in order[:6]]
        points = []
        for i, j, alpha in zip(draws.first[n], draws.second[n], draws.alpha[n], strict=True):
            points.append(alpha * hard[int(i)] + (1 - alpha) * hard[int(j)])
        for j, beta in zip(draws.partner[n], draws.beta[n], strict=True):
            points.append(beta * query[n].detach() + (1 - beta) * hard[int(j)])
        scores = [
            query[n] @ key[n],
            *(query[n] @ u for u in queue),
            *(query[n] @ (p / p.norm()) for p in points),
        ]
        logits = torch.stack(scores) / 0.3
        rows.append(logits.logsumexp(0) - logits[0])
    expected = torch.stack(rows)
    found = mochi(query, key, queue, draws, temperature=0.3, reduction="none")
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        *(torch.autograd.grad(loss.sum(), query)[0] for loss in (found, expected))
    )


def test_without_synthetic_points_it_is_moco() -> None:
    query, key, queue = features()
    draws = drawn(query, queue, pairs=0, with_query=0)
    torch.testing.assert_close(mochi(query, key, queue, draws), queue_info_nce(query, key, queue))


def test_mixtures_are_as_near_as_stated() -> None:
    query, _, queue = features(40, 60, 6)
    draws = drawn(query, queue, pairs=30, with_query=20)
    pairs, with_query = synthesise(query, queue, draws)
    nearest = (query @ queue.T).gather(1, hardest_keys(query, queue, 6))
    parents = torch.stack([nearest.gather(1, draws.first), nearest.gather(1, draws.second)])
    similarity = torch.einsum("nd,nsd->ns", query, pairs)
    friendly = (parents >= 0).all(dim=0)
    assert friendly.any()
    assert (similarity >= parents.amin(dim=0) - 1e-12)[friendly].all()
    harder = torch.einsum("nd,nsd->ns", query, with_query)
    assert (harder > nearest.gather(1, draws.partner)).all()
    for points in (pairs, with_query):
        torch.testing.assert_close(points.norm(dim=2), torch.ones_like(points[..., 0]))
        assert not points.requires_grad


def test_synthesis_makes_the_proxy_task_harder() -> None:
    query, _, queue = features(200, 40, 4)
    key = unit(query + 0.4 * torch.randn_like(query))
    plain = proxy_accuracy(query, key, queue)
    assert proxy_accuracy(query, key, queue, drawn(query, queue)) < plain < 1


def test_gradient_stops_at_keys_and_inside_mixtures() -> None:
    query, key, queue = (x.requires_grad_() for x in features())
    loss = mochi(query, key, queue, drawn(query, queue))
    assert torch.autograd.grad(loss, (key, queue), allow_unused=True, retain_graph=True) == (
        None,
        None,
    )
    assert torch.autograd.grad(loss, query)[0].abs().sum() > 0


def test_draws_are_in_range_fresh_for_each_query_and_repeat() -> None:
    query = torch.randn(50, 3)
    queue = torch.randn(9, 3)
    draws = drawn(query, queue, hardest=1024, pairs=40, with_query=30)
    assert draws.hardest == 9
    for places, count in ((draws.first, 40), (draws.second, 40), (draws.partner, 30)):
        assert places.shape == (50, count)
        assert places.unique().tolist() == list(range(9))
    assert 0 <= draws.alpha.min() < 0.05 < 0.95 < draws.alpha.max() < 1
    assert 0 <= draws.beta.min() < 0.05 < 0.45 < draws.beta.max() < 0.5
    assert not torch.equal(draws.first[0], draws.first[1])
    assert not torch.equal(draws.first, draws.second)
    again = drawn(query, queue, hardest=1024, pairs=40, with_query=30)
    assert all(
        torch.equal(getattr(draws, part), getattr(again, part))
        for part in ("first", "second", "alpha", "beta")
    )
    assert torch.equal(
        draws.alpha, drawn(query.double(), queue, hardest=9, pairs=40, with_query=30).alpha.float()
    )


@pytest.mark.parametrize("z", degenerate())
def test_degenerate_embeddings_stay_finite(z: Tensor) -> None:
    for rows in (z, z[1:3]):
        query = rows.clone().requires_grad_()
        finite_with_gradient(mochi(query, rows.flip(0), rows, drawn(rows, rows)), query)
    opposite = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    place = torch.zeros(2, 1, dtype=torch.int64)
    half = torch.full((2, 1), 0.5, dtype=torch.float64)
    query = opposite.clone().requires_grad_()
    finite_with_gradient(
        mochi(query, opposite, opposite, Draws(2, place, place + 1, half, place + 1, half)), query
    )


def test_lower_precision() -> None:
    query, key, queue = (x.to(torch.bfloat16) for x in features(8, 16, 8))
    draws = drawn(query.float(), queue)
    agrees_in_lower_precision(lambda q: mochi(q, key.to(q), queue.to(q), draws), query)


def test_temperature_must_be_positive() -> None:
    query, key, queue = features()
    with pytest.raises(ValueError, match="above 0"):
        mochi(query, key, queue, drawn(query, queue), temperature=-1.0)
