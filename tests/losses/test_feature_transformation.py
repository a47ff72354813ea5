"""FT: reference values, a loop, the identities of the mixed features, and its draws."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from nearfar.losses.instance.contrastive import queue_info_nce
from nearfar.losses.instance.feature_transformation import (
    Mixing,
    draw_mixing,
    feature_transformation,
    mix,
    score_statistics,
)
from nearfar.losses.kernels.similarity import unit
from nearfar.targets.queue import Queue
from tests.losses.cases import close, degenerate, finite_with_gradient, leaves, named
from tests.losses.precision import agrees_in_lower_precision


def features(samples: int = 5, keys: int = 7, dimension: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    return tuple(
        unit(torch.randn(n, dimension, dtype=torch.float64)) for n in (samples, samples, keys)
    )  # type: ignore[return-value]


def random_mixing(
    samples: int = 5, keys: int = 7, dimension: int = 4, normalise: bool = False
) -> Mixing:
    a = 1 + torch.rand(samples, dimension).double()
    b = torch.rand(keys, dimension).double()
    return Mixing(a, b, torch.randperm(keys), normalise)


@pytest.mark.parametrize("name", named("a-ft-case*"))
def test_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    (query,) = leaves(case, "q")
    key = case["in_k"]
    queue = case["in_queue"]
    tau = float(case["hp_temperature"])
    mixing = Mixing(
        1 + case["in_beta_pos"] if case["hp_mix_positive"] else 1.0,
        case["in_beta_neg"],
        case["in_perm"] if case["hp_mix_negative"] else None,
    )
    loss = feature_transformation(query, key, queue, mixing, temperature=tau)
    close(loss, case["out_loss"])
    close(torch.autograd.grad(loss, query)[0], case["out_grad_q"])
    q, k, others = mix(query, key, queue, mixing)
    close(
        torch.cat([(q * k).sum(dim=1, keepdim=True), q @ others.T], dim=1) / tau, case["out_logits"]
    )
    stored = Queue(*queue.shape).double()
    stored.rows.copy_(queue)
    stored.push(key)
    close(stored.rows, case["out_queue_after"])


@pytest.mark.parametrize("normalise", [False, True])
def test_equals_its_loop(normalise: bool) -> None:
    (query, key, queue) = features()
    mixing = random_mixing(normalise=normalise)
    query.requires_grad_()
    a = torch.as_tensor(mixing.extrapolation)
    b = torch.as_tensor(mixing.interpolation)
    rows = []
    for n in range(5):
        q = a[n] * query[n] + (1 - a[n]) * key[n]
        k = a[n] * key[n] + (1 - a[n]) * query[n]
        if normalise:
            q = q / q.norm()
            k = k / k.norm()
        others = [b[u] * queue[u] + (1 - b[u]) * queue[mixing.partner[u]] for u in range(7)]
        scores = torch.stack([q @ k, *(q @ other for other in others)]) / 0.3
        rows.append(scores.logsumexp(0) - scores[0])
    expected = torch.stack(rows)
    found = feature_transformation(query, key, queue, mixing, temperature=0.3, reduction="none")
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        *(torch.autograd.grad(loss.sum(), query)[0] for loss in (found, expected))
    )


def test_without_mixing_it_is_moco() -> None:
    query, key, queue = features()
    plain = queue_info_nce(query, key, queue, temperature=0.2)
    torch.testing.assert_close(feature_transformation(query, key, queue, Mixing()), plain)


@pytest.mark.parametrize("weight", [1.0, 1.3, 2.0])
def test_extrapolation_lowers_the_score_as_stated(weight: float) -> None:
    query, key, queue = features(50)
    q, k, _ = mix(query, key, queue, Mixing(weight))
    before = (query * key).sum(dim=1)
    after = (q * k).sum(dim=1)
    torch.testing.assert_close(after, before + 2 * weight * (1 - weight) * (1 - before))
    assert (after <= before + 1e-12).all()
    if weight == 2.0:
        torch.testing.assert_close(after, before - 4 * (1 - before))


def test_the_pull_on_positives_is_amplified() -> None:
    """d new score / d score = 1 - 2 a (1 - a), through the query that both mixed features hold."""
    query, key, queue = features(1)
    query.requires_grad_()
    q, k, _ = mix(query, key, queue, Mixing(1.5))
    (gradient,) = torch.autograd.grad((q * k).sum(), query)
    tangent = key - (query * key).sum() * query
    torch.testing.assert_close((gradient * tangent).sum(), 2.5 * (key * tangent).sum())


def test_interpolation_keeps_the_queue_inside_the_ball_and_as_it_was() -> None:
    query, key, queue = features(2, 100)
    before = queue.clone()
    for negative in (torch.rand(()).double(), torch.rand(100, 1).double()):
        _, _, mixed = mix(query, key, queue, Mixing(1.2, negative, torch.randperm(100)))
        assert mixed.norm(dim=1).max() <= 1 + 1e-12
    assert torch.equal(queue, before)


def test_key_and_queue_are_constants_but_the_mixed_key_moves_the_query() -> None:
    query, key, queue = (x.requires_grad_() for x in features())
    loss = feature_transformation(query, key, queue, Mixing(1.5, 0.4, torch.randperm(7)))
    assert torch.autograd.grad(loss, (key, queue), allow_unused=True, retain_graph=True) == (
        None,
        None,
    )
    _, k, _ = mix(query, key, queue, Mixing(1.5))
    torch.testing.assert_close(torch.autograd.grad(k.sum(), query)[0], torch.full_like(query, -0.5))


def test_draws_have_the_stated_distributions_and_repeat() -> None:
    query = torch.randn(200, 100)
    queue = torch.randn(300, 100)

    def drawn(seed: int, **options: bool) -> Mixing:
        return draw_mixing(query, queue, generator=torch.Generator().manual_seed(seed), **options)

    both = drawn(1, elementwise_positive=True, elementwise_negative=True)
    for weight, alpha, shift in ((both.extrapolation, 2.0, 1.0), (both.interpolation, 1.6, 0.0)):
        share = torch.as_tensor(weight) - shift
        assert 0 <= share.min() <= share.max() <= 1
        assert share.mean().item() == pytest.approx(0.5, abs=0.01)
        assert share.var().item() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.03)
    scalar = drawn(2)
    assert (
        torch.as_tensor(scalar.extrapolation).shape
        == torch.as_tensor(scalar.interpolation).shape
        == ()
    )
    assert sorted(scalar.partner.tolist()) == list(range(300))  # type: ignore[union-attr]
    again = drawn(2)
    assert (again.extrapolation, again.interpolation) == (
        scalar.extrapolation,
        scalar.interpolation,
    )


def test_statistics_of_the_viewer() -> None:
    query, key, queue = features(3)
    rows = []
    for q, k in zip(query, key, strict=True):
        negatives = queue @ q
        mean = negatives.sum() / 7
        variance = (negatives - mean).square().sum() / 6
        rows.append(
            torch.stack(
                [mean, variance, q @ k, (negatives / 0.2).exp().sum() / 7, (q @ k / 0.2).exp()]
            )
        )
    torch.testing.assert_close(score_statistics(query, key, queue), torch.stack(rows))


@pytest.mark.parametrize("z", degenerate())
def test_degenerate_embeddings_stay_finite(z: Tensor) -> None:
    for rows in (z, z[1:3]):
        query = rows.clone().requires_grad_()
        for normalise in (False, True):
            mixing = Mixing(1.4, 0.3, torch.randperm(len(rows)), normalise)
            finite_with_gradient(feature_transformation(query, rows.flip(0), rows, mixing), query)


@pytest.mark.parametrize("mixing", [Mixing(), Mixing(1.5, 0.25, torch.arange(15, -1, -1))])
def test_lower_precision(mixing: Mixing) -> None:
    query, key, queue = features(8, 16, 8)
    key = key.to(torch.bfloat16)
    queue = queue.to(torch.bfloat16)

    def loss(query: Tensor) -> Tensor:
        return feature_transformation(query, key.to(query), queue.to(query), mixing)

    agrees_in_lower_precision(loss, query)


def test_gradcheck() -> None:
    (query, key, queue) = features()
    mixing = random_mixing()
    assert torch.autograd.gradcheck(
        lambda q: feature_transformation(q, key, queue, mixing), query.requires_grad_()
    )


def test_temperature_must_be_positive() -> None:
    with pytest.raises(ValueError, match="above 0"):
        feature_transformation(*features(), Mixing(), temperature=0.0)


def test_one_negative_has_no_spread() -> None:
    query = torch.randn(4, 8)
    key = torch.randn(4, 8)
    scores = score_statistics(query, key, torch.randn(4, 8)[:1], temperature=0.2)
    assert torch.equal(scores[:, 1], torch.zeros(4))
