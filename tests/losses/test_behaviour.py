"""The four losses of a similarity matrix, their gradients, limits and the relative penalty."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from nearfar.losses.instance.behaviour import (
    contrastive,
    hard_contrastive,
    hard_simple,
    hard_threshold,
    penalty_entropy,
    relative_penalty,
    simple,
)
from nearfar.losses.instance.contrastive import info_nce
from tests.losses.cases import close, leaves, named
from tests.losses.precision import agrees_in_lower_precision

LOSSES: list[Callable[..., Tensor]] = [contrastive, hard_contrastive, simple, hard_simple]


@pytest.mark.parametrize("name", named("a-behaviour-case*"))
def test_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    tau, alpha, weight = (float(case[f"hp_{key}"]) for key in ("temperature", "alpha", "lambda"))
    (s,) = leaves(case, "sim")
    for suffix, loss in {
        "": contrastive(s, temperature=tau),
        "_hard": hard_contrastive(s, temperature=tau, alpha=alpha),
        "_simple": simple(s, weight=weight),
        "_hardsimple": hard_simple(s, alpha=alpha, weight=weight),
    }.items():
        close(loss, case[f"out_loss{suffix}"])
        close(torch.autograd.grad(loss, s)[0], case[f"out_grad_sim{suffix}"])
    close(contrastive(s, temperature=tau, reduction="none"), case["out_loss_per_anchor"])
    close(hard_threshold(s, alpha=alpha), case["out_threshold"])
    close(relative_penalty(s, temperature=tau), case["out_relative_penalty"])
    close(penalty_entropy(s, temperature=tau), case["out_penalty_entropy"])
    close(torch.softmax(s / tau, dim=1), case["out_P"])


@pytest.mark.parametrize("shape", [(2, 2), (5, 5), (3, 7)])
def test_equal_their_loops(shape: tuple[int, int]) -> None:
    s = torch.rand(shape, dtype=torch.float64) * 2 - 1
    positive = torch.randint(shape[1], (shape[0],))
    tau = 0.4
    alpha = 0.35
    weight = 0.7
    expected: list[list[float]] = [[], [], [], []]
    for i, row in enumerate(s.tolist()):
        own = row.pop(int(positive[i]))
        hard = sorted(row, reverse=True)[: max(1, math.ceil(alpha * len(row)))]
        for negatives, soft, flat in ((row, 0, 2), (hard, 1, 3)):
            expected[soft].append(
                -own / tau + math.log(sum(math.exp(x / tau) for x in [own, *negatives]))
            )
            expected[flat].append(-own + weight * sum(negatives))
    found = [
        contrastive(s, positive=positive, temperature=tau, reduction="none"),
        hard_contrastive(s, positive=positive, temperature=tau, alpha=alpha, reduction="none"),
        simple(s, positive=positive, weight=weight, reduction="none"),
        hard_simple(s, positive=positive, weight=weight, alpha=alpha, reduction="none"),
    ]
    torch.testing.assert_close(torch.stack(found), torch.tensor(expected, dtype=torch.float64))


def test_is_info_nce_of_the_cosines() -> None:
    z, g = torch.randn(2, 6, 4, dtype=torch.float64)
    cosine = torch.nn.functional.cosine_similarity(z[:, None], g[None], dim=2)
    torch.testing.assert_close(
        contrastive(cosine, temperature=0.2), info_nce(z, g, temperature=0.2)
    )


def test_gradients_follow_the_boltzmann_law() -> None:
    s = torch.randn(7, 7, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(contrastive(s, temperature=0.3, reduction="none").sum(), s)
    share = torch.softmax(s / 0.3, dim=1)
    others = ~torch.eye(7, dtype=torch.bool)
    torch.testing.assert_close(gradient[others], share[others] / 0.3)
    torch.testing.assert_close(gradient.sum(dim=1), torch.zeros(7, dtype=torch.float64))
    penalty = (gradient / gradient.diagonal()[:, None]).abs().masked_fill(~others, 0.0)
    torch.testing.assert_close(relative_penalty(s, temperature=0.3), penalty)


@pytest.mark.parametrize("negatives", [2, 9, 100])
def test_entropy_rises_strictly_with_the_temperature(negatives: int) -> None:
    s = torch.rand(50, negatives + 1, dtype=torch.float64) * 2 - 1
    positive = torch.zeros(50, dtype=torch.int64)
    entropy = torch.stack(
        [
            penalty_entropy(s, positive=positive, temperature=t)
            for t in (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
        ]
    )
    assert (entropy.diff(dim=0) > 0).all()
    assert entropy.min() >= 0
    assert entropy.max() < math.log(negatives)


def test_entropy_of_tied_negatives() -> None:
    s = torch.tensor([[0.0, 1.0, 1.0, 1.0, -1.0]], dtype=torch.float64)
    assert penalty_entropy(s, temperature=1e-3).item() == pytest.approx(math.log(3))
    assert penalty_entropy(s, temperature=1e6).item() == pytest.approx(math.log(4))
    alike = torch.ones(3, 3, dtype=torch.float64)
    assert penalty_entropy(alike, temperature=0.1).tolist() == pytest.approx([math.log(2)] * 3)


def test_cold_limit_is_the_hardest_triplet() -> None:
    s = torch.rand(20, 20, dtype=torch.float64) * 2 - 1
    hardest = s.masked_fill(torch.eye(20, dtype=torch.bool), -math.inf).amax(dim=1)
    triplet = (hardest - s.diagonal()).clamp(min=0)
    torch.testing.assert_close(
        1e-5 * contrastive(s, temperature=1e-5, reduction="none"), triplet, rtol=0, atol=1e-4
    )


def test_hot_limit_is_the_simple_loss() -> None:
    s = (torch.rand(8, 8, dtype=torch.float64) * 2 - 1).requires_grad_()
    tau = 1e6
    loss = contrastive(s, temperature=tau)
    expansion = math.log(8) + (s.mean() - s.diagonal().mean()) / tau
    assert (loss - expansion).abs() < 10 / tau**2
    (hot,) = torch.autograd.grad(loss, s)
    (flat,) = torch.autograd.grad(simple(s), s)
    torch.testing.assert_close(tau * hot, 7 / 8 * flat, rtol=1e-5, atol=1e-7)


def test_hard_losses_with_all_negatives_are_the_plain_ones() -> None:
    s = torch.randn(6, 6, dtype=torch.float64)
    torch.testing.assert_close(hard_contrastive(s, alpha=1.0), contrastive(s))
    torch.testing.assert_close(hard_simple(s, alpha=1.0), simple(s))


def test_ties_with_the_threshold_are_kept() -> None:
    s = torch.tensor([[0.9, 0.5, 0.5, 0.1]], dtype=torch.float64)
    assert hard_threshold(s, alpha=0.1).item() == 0.5
    assert hard_simple(s, alpha=0.1, weight=1.0).item() == pytest.approx(-0.9 + 0.5 + 0.5)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradcheck(loss: Callable[..., Tensor]) -> None:
    s = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(loss, s)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    "s", [torch.ones(4, 4), torch.eye(4), torch.zeros(2, 2), torch.zeros(1, 1)], ids=str
)
def test_degenerate_similarities_stay_finite(loss: Callable[..., Tensor], s: Tensor) -> None:
    s = s.clone().requires_grad_()
    value = loss(s)
    (gradient,) = torch.autograd.grad(value, s)
    assert value.isfinite()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("loss", LOSSES)
def test_lower_precision(loss: Callable[..., Tensor]) -> None:
    agrees_in_lower_precision(loss, torch.rand(16, 16) * 2 - 1)


@pytest.mark.parametrize("function", [relative_penalty, penalty_entropy])
def test_a_penalty_needs_a_negative(function: Callable[..., Tensor]) -> None:
    with pytest.raises(ValueError, match=r"needs a positive and a negative; found \(3, 1\)"):
        function(torch.ones(3, 1), positive=torch.zeros(3, dtype=torch.int64))


@pytest.mark.parametrize(
    "function", [contrastive, hard_contrastive, relative_penalty, penalty_entropy]
)
def test_temperature_must_be_positive(function: Callable[..., Tensor]) -> None:
    with pytest.raises(ValueError, match="above 0; found 0"):
        function(torch.eye(3), temperature=0)
