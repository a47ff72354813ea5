"""LeJEPA's losses: exact values by the kernel form of the statistic, normal samples against others,
a loop, directions, and mistakes.
"""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from nearfar.losses.redundancy.gaussianity import centre_prediction, draw_directions, sigreg


def drawn(*shape: int, seed: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def closed_form(x: Tensor) -> float:
    """Epps and Pulley's statistic of x (N,) with its integral over the whole line, which is one of
    Gaussians: for w(t) = exp(-t^2 / 2) the integral of cos(t d) w is sqrt(2 pi) exp(-d^2 / 2).
    """
    n = len(x)
    pairs = sum(math.exp(-(float(a - b) ** 2) / 2) for a in x for b in x) / n**2
    cross = sum(math.exp(-(float(a) ** 2) / 4) for a in x) / n
    return n * math.sqrt(2 * math.pi) * (pairs - math.sqrt(2) * cross + 1 / math.sqrt(3))


@pytest.mark.parametrize("scale", [0.3, 1.0, 2.0])
def test_many_knots_give_the_integral_in_closed_form(scale: float) -> None:
    x = scale * drawn(12) + 0.2
    found = sigreg(x.view(1, -1, 1), torch.ones(1, 1).double(), largest=12.0, knots=400)
    assert float(found) == pytest.approx(closed_form(x), rel=1e-9)


def test_equals_its_loop_of_complex_numbers_on_both_sides() -> None:
    views = drawn(2, 4, 3).requires_grad_()
    directions = drawn(3, 3, seed=5)
    directions = directions / directions.norm(dim=1, keepdim=True)
    steps = 5
    expected = views.new_zeros(())
    for view in views:
        for direction in directions:
            values = []
            for k in range(-steps + 1, steps):
                t = 5.0 * k / (steps - 1)
                found = torch.stack([torch.exp(1j * t * (z @ direction)) for z in view]).mean()
                normal = math.exp(-(t**2) / 2)
                values.append((found - normal).abs() ** 2 * normal)
            area = sum((a + b) / 2 * 5.0 / (steps - 1) for a, b in pairwise(values))
            expected = expected + len(view) * area / 6
    found = sigreg(views, directions, largest=5.0, knots=steps)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    for got, wanted in zip(
        torch.autograd.grad(found, views), torch.autograd.grad(expected, views), strict=True
    ):
        torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("samples", [1, 30])
def test_of_normal_samples_the_expectation_does_not_depend_on_their_number(samples: int) -> None:
    found = sigreg(drawn(20000, samples, 1), torch.ones(1, 1))
    assert float(found) == pytest.approx(math.sqrt(2 * math.pi) * (1 - 3**-0.5), rel=0.03)


def test_normal_samples_stay_low_and_all_others_rise_with_their_number() -> None:
    directions = draw_directions(6, 64, generator=torch.Generator().manual_seed(0))
    normal = drawn(1, 2000, 6)
    one_side = normal * torch.tensor([1.0, 1, 1, 1, 1, 0])
    others = {"collapsed": 0 * normal, "wide": 2 * normal, "shifted": normal + 1, "flat": one_side}
    low = float(sigreg(normal, directions))
    assert low < 2
    for name, views in others.items():
        few = float(sigreg(views[:, :500], directions))
        many = float(sigreg(views, directions))
        assert many > 8 * low, name
        assert many == pytest.approx(4 * few, rel=0.3), name


def test_directions_are_unit_rows_without_a_preferred_side_and_follow_the_generator() -> None:
    found = draw_directions(4, 20000, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(found.norm(dim=1), torch.ones(20000))
    torch.testing.assert_close(found.T @ found / len(found), torch.eye(4) / 4, rtol=0, atol=0.01)
    assert torch.equal(found, draw_directions(4, 20000, generator=torch.Generator().manual_seed(1)))


def test_whole_views_alone_are_predicted() -> None:
    views = drawn(4, 5, 3).requires_grad_()
    expected = torch.stack(
        [((views[0] + views[1]) / 2 - views[v]).square().mean() for v in range(4)]
    ).mean()
    found = centre_prediction(views, whole=2)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        torch.autograd.grad(found, views)[0], torch.autograd.grad(expected, views)[0]
    )


def test_mistakes_are_one_sentence() -> None:
    views = drawn(2, 4, 3)
    with pytest.raises(ValueError, match=r"Expected views \(V, N, D\) and directions \(M, D\)"):
        sigreg(views, torch.eye(4))
    with pytest.raises(ValueError, match="an end above 0 and at least 2 knots"):
        sigreg(views, torch.eye(3), knots=1)
    with pytest.raises(ValueError, match="Of 2 views 1 to all can be whole; found 3"):
        centre_prediction(views, whole=3)
