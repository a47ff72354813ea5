"""GroCo: reference values, a loop, and where its gradient goes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from nearfar.losses.instance.groco import groco
from nearfar.losses.instance.sorting import soft_sort
from tests.losses.cases import close, degenerate, finite_with_gradient, leaves, named
from tests.losses.precision import agrees_in_lower_precision


@pytest.mark.parametrize("name", named("a-groco-case*"))
def test_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    (z,) = leaves(case, "z")
    loss = groco(
        z,
        whole=int(case["hp_n_pos_views"]),
        negatives=int(case["hp_topk_neg"]),
        steepness=float(case["hp_steepness"]),
    )
    close(loss, case["out_loss"])
    close(torch.autograd.grad(loss, z)[0], case["out_grad_z"])


def looped(
    views: Tensor, whole: int, negatives: int, steepness: float, network: str = "odd_even"
) -> Tensor:
    """One anchor at a time (V, N), both halves of the authors' cross-entropy."""
    unit = views / views.norm(dim=-1, keepdim=True)
    fixed = unit.detach()
    losses = []
    for a in range(len(views)):
        for n in range(views.shape[1]):
            positive = [unit[a, n] @ fixed[p, n] for p in range(whole) if p != a]
            others = [unit[a, n] @ fixed[a, m] for m in range(views.shape[1]) if m != n]
            negative = sorted(others, key=Tensor.item)[-negatives:]
            values = torch.stack([*negative, *sorted(positive, key=Tensor.item)])
            _, permutation = soft_sort(values[None], steepness=steepness, network=network)
            k = len(negative)
            low = permutation[0, :, :k].sum(dim=1)
            high = permutation[0, :, k:].sum(dim=1)
            elements = [-(low[i].log() + (1 - high[i]).log()) / 2 for i in range(k)]
            elements += [-((1 - low[i]).log() + high[i].log()) / 2 for i in range(k, len(values))]
            losses.append(torch.stack(elements).mean())
    return torch.stack(losses).view(len(views), -1)


@pytest.mark.parametrize(
    ("count", "whole", "samples", "negatives"),
    [(2, 2, 5, 2), (4, 4, 4, 3), (5, 2, 6, 4), (2, 2, 2, 1), (3, 3, 4, 10)],
)
@pytest.mark.parametrize("network", ["odd_even", "bitonic"])
def test_equals_its_loop(
    count: int, whole: int, samples: int, negatives: int, network: str
) -> None:
    views = torch.randn(count, samples, 4, dtype=torch.float64, requires_grad=True)
    found = groco(
        views, whole=whole, negatives=negatives, steepness=2.0, network=network, reduction="none"
    )
    expected = looped(views, whole, negatives, 2.0, network).mean(dim=0)
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(loss.sum(), views)[0] for loss in (found, expected)]
    torch.testing.assert_close(*gradients)


def separated(turn: float) -> Tensor:
    """Two views of four samples, two on each axis: turning the second view of sample 0 moves it
    away from its first.
    """
    angles = torch.tensor([[0.0, 1.5, 3.0, 4.5], [0.2 + turn, 1.7, 3.2, 4.7]], dtype=torch.float64)
    return torch.stack([angles.cos(), angles.sin()], dim=2)


@pytest.mark.parametrize(
    "distribution", ["logistic", "gaussian", "reciprocal", "optimal", "logistic_phi"]
)
def test_any_distribution_sorts(distribution: str) -> None:
    views = torch.randn(2, 6, 4, dtype=torch.float64, requires_grad=True)
    loss = groco(views, negatives=3, steepness=2.0, distribution=distribution)
    finite_with_gradient(loss, views)
    assert loss != groco(views, negatives=3, steepness=2.0)


def test_vanishes_for_ordered_groups_as_the_sort_gets_steep() -> None:
    losses = [
        groco(separated(0.0), negatives=3, steepness=s).item() for s in (1.0, 10.0, 100.0, 1e4, 1e6)
    ]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 1e-5


def test_a_positive_below_a_negative_costs() -> None:
    for steepness in (1.0, 10.0, 100.0):
        assert groco(separated(2.0), steepness=steepness) > groco(
            separated(0.0), steepness=steepness
        )


def test_a_view_gets_gradient_as_the_anchor_only() -> None:
    views = torch.randn(3, 5, 4, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(groco(views, negatives=3), views)
    as_anchors = looped(views, 3, 3, 1.0).mean(dim=1) / 3
    for view, loss in enumerate(as_anchors):
        (own,) = torch.autograd.grad(loss, views, retain_graph=True)
        torch.testing.assert_close(own[view], gradient[view])


def test_local_views_are_anchors_but_never_positives() -> None:
    views = torch.randn(4, 6, 3, dtype=torch.float64)
    whole = groco(views, whole=2, reduction="none")
    changed = views.clone()
    changed[3] = torch.randn(6, 3, dtype=torch.float64)
    three, other = (groco(v[:3], whole=2, reduction="none") for v in (views, changed))
    torch.testing.assert_close(three, other)
    assert not torch.allclose(whole, groco(changed, whole=2, reduction="none"))


@pytest.mark.parametrize("z", degenerate())
def test_degenerate_embeddings_stay_finite(z: Tensor) -> None:
    for rows in (z, z[1:3], z[2:3]):
        views = torch.stack([rows, rows.flip(0), rows]).requires_grad_()
        finite_with_gradient(groco(views), views)
        finite_with_gradient(groco(views, whole=2, steepness=1e3), views)


def test_lower_precision() -> None:
    agrees_in_lower_precision(groco, torch.randn(2, 24, 16))


@pytest.mark.parametrize(
    ("shape", "whole"), [((1, 4, 3), None), ((3, 4, 3), 1), ((2, 4, 3), 3), ((4, 3), None)]
)
def test_needs_two_whole_views(shape: tuple[int, ...], whole: int | None) -> None:
    with pytest.raises(ValueError, match="at least 2 of them whole; found"):
        groco(torch.randn(shape), whole=whole)
