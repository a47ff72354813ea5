"""The geometry of the space: reference values, slow twins, analytic limits and invariances."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch.nn import functional as F

from nearfar.errors import UserError
from nearfar.evaluation.features import Labelled
from nearfar.evaluation.measures.collapse import collapse
from nearfar.evaluation.measures.geometry import (
    alignment,
    effective_rank,
    neighbourhood_purity,
    penalty_evenness,
    relative_std,
    scatter_ratio,
    tolerance,
    uniformity,
)

Golden = Callable[[str], dict[str, torch.Tensor]]


def rotation(dimension: int) -> torch.Tensor:
    return torch.linalg.qr(torch.randn(dimension, dimension).double()).Q


def test_golden(golden: Golden) -> None:
    case = golden("a-behaviour-metrics-case1")
    labels = case["in_labels"]
    assert uniformity(case["in_z"], t=float(case["hp_t"])) == pytest.approx(
        float(case["out_uniformity"]), rel=1e-8
    )
    found = tolerance(Labelled(case["in_z"], labels, int(labels.max()) + 1))
    assert found == pytest.approx(float(case["out_tolerance_conditional"]), rel=1e-8)


@pytest.mark.parametrize("block", [1, 7, 1024])
def test_uniformity_equals_the_loop_whatever_the_block(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nearfar.evaluation.measures.geometry._BLOCK", block)
    x = torch.randn(20, 4).double()
    u = F.normalize(x, dim=1)
    pairs = [
        math.exp(-3 * float((u[i] - u[j]).square().sum())) for i in range(20) for j in range(i)
    ]
    assert uniformity(x, t=3) == pytest.approx(math.log(sum(pairs) / len(pairs)), rel=1e-10)


def test_tolerance_equals_the_loop() -> None:
    x = torch.randn(18, 4).double()
    labels = torch.randint(3, (18,))
    u = F.normalize(x, dim=1)
    pairs = [
        float(u[i] @ u[j])
        for i in range(18)
        for j in range(18)
        if i != j and labels[i] == labels[j]
    ]
    assert tolerance(Labelled(x, labels, 3)) == pytest.approx(sum(pairs) / len(pairs), rel=1e-10)


def test_purity_equals_the_loop_even_among_copies() -> None:
    x = torch.randn(25, 3).double()
    labels = torch.randint(3, (25,))
    shares = []
    for i in range(25):
        others = sorted(
            (j for j in range(25) if j != i),
            key=lambda j: -float(F.cosine_similarity(x[i], x[j], dim=0)),
        )[:10]
        shares.append(sum(int(labels[j] == labels[i]) for j in others) / 10)
    assert neighbourhood_purity(Labelled(x, labels, 3)) == pytest.approx(
        sum(shares) / 25, rel=1e-10
    )
    copies = Labelled(torch.ones(30, 3), torch.zeros(30, dtype=torch.int64), 2)
    assert neighbourhood_purity(copies) == 1.0


def test_all_are_invariant_to_rotation_scale_and_order() -> None:
    x = torch.randn(60, 5).double() + 0.5
    labels = torch.randint(3, (60,))
    order = torch.randperm(60)
    for turned in (x @ rotation(5), 9 * x, x[order]):
        its_labels = labels[order] if turned.equal(x[order]) else labels
        assert uniformity(turned) == pytest.approx(uniformity(x), rel=1e-9)
        assert effective_rank(turned) == pytest.approx(effective_rank(x), rel=1e-9)
        for measure in (tolerance, neighbourhood_purity):
            assert measure(Labelled(turned, its_labels, 3)) == pytest.approx(
                measure(Labelled(x, labels, 3)), rel=1e-9
            )


def test_alignment_is_the_mean_squared_distance() -> None:
    x = torch.randn(10, 4)
    y = torch.randn(10, 4)
    assert alignment(x, 3 * x) == pytest.approx(0, abs=1e-6)
    assert alignment(x, -x) == pytest.approx(4, rel=1e-6)
    assert alignment(x, y) == pytest.approx(
        float(2 - 2 * F.cosine_similarity(x, y).mean()), rel=1e-5
    )
    with pytest.raises(UserError, match="expected the same"):
        alignment(x, y[:3])


def test_limits_of_uniformity() -> None:
    """One point gives 0; two opposite points -4 t; the circle the Bessel function log I0(2 t) - 2
    t.
    """
    assert uniformity(torch.ones(50, 3)) == pytest.approx(0, abs=1e-5)
    assert uniformity(torch.tensor([[1.0, 0], [-1, 0]])) == pytest.approx(-8)
    angle = torch.arange(4000).double() * (2 * math.pi / 4000)
    circle = torch.stack([angle.cos(), angle.sin()], dim=1)
    t = torch.tensor(2.0, dtype=torch.float64)
    distinct = (
        4000 * float(torch.special.i0e(2 * t)) - 1
    ) / 3999  # without the pairs of a point with itself
    assert uniformity(circle) == pytest.approx(math.log(distinct), rel=1e-6)


def test_uniformity_of_a_random_subset_is_close_and_repeatable() -> None:
    x = torch.randn(3000, 6)
    part = uniformity(x, limit=800, seed=3)
    assert part == uniformity(x, limit=800, seed=3)
    assert part != uniformity(x, limit=800, seed=4)
    assert part == pytest.approx(uniformity(x), abs=0.02)


def test_effective_rank_of_known_spectra() -> None:
    basis = torch.linalg.qr(torch.randn(40, 6).double() - torch.randn(40, 6).double().mean(dim=0)).Q
    basis = torch.linalg.qr(basis - basis.mean(dim=0)).Q  # orthonormal columns that sum to 0
    assert effective_rank(basis) == pytest.approx(6, rel=1e-9)
    singular = torch.tensor([3.0, 2.0, 1.0, 0, 0, 0]).double()
    share = singular[:3] / 6
    expected = math.exp(-float((share * share.log()).sum()))
    assert effective_rank(basis * singular) == pytest.approx(expected, rel=1e-6)
    assert effective_rank((basis * singular).float()) == pytest.approx(expected, rel=1e-3)
    assert effective_rank(basis * singular + 1000) == pytest.approx(expected, rel=1e-6)
    assert effective_rank((basis * singular)[:, :1] @ torch.randn(1, 30).double()) == pytest.approx(
        1, rel=1e-6
    )


def test_effective_rank_is_the_same_for_wide_and_tall() -> None:
    x = torch.randn(12, 50).double()
    spectrum = torch.linalg.svdvals(x - x.mean(dim=0))[:-1]
    share = spectrum / spectrum.sum()
    assert effective_rank(x) == pytest.approx(
        math.exp(-float((share * share.log()).sum())), rel=1e-6
    )


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, 1e6])
def test_constant_features_have_rank_and_spread_0(value: float) -> None:
    x = torch.full((100, 32), value) * torch.linspace(0.1, 1, 32)
    assert effective_rank(x) == 0
    assert relative_std(x) == pytest.approx(0, abs=1e-4)


def test_relative_std_is_1_on_the_sphere() -> None:
    assert relative_std(torch.randn(5000, 64)) == pytest.approx(1, abs=0.02)
    assert relative_std(torch.randn(5000, 64) + 10) < 0.15


def test_errors() -> None:
    one = Labelled(torch.randn(1, 3), torch.zeros(1, dtype=torch.int64), 1)
    with pytest.raises(UserError, match="defined for pairs; found 1 sample"):
        uniformity(one.features)
    with pytest.raises(UserError, match="needs at least 2 samples"):
        neighbourhood_purity(one)
    with pytest.raises(UserError, match="no class has two samples"):
        tolerance(Labelled(torch.randn(3, 2), torch.arange(3), 3))
    with pytest.raises(UserError, match="1 of 4 samples are NaN"):
        effective_rank(torch.tensor([[1.0], [2], [float("nan")], [0]]))


def random_encoder(kind: str) -> torch.nn.Module:
    nn = torch.nn
    layers = []
    for before, after in ((3, 32), (32, 64), (64, 128), (128, 256)):
        layers += [
            nn.Conv2d(before, after, 3, 2, 1),
            *([nn.BatchNorm2d(after)] if kind == "batch norm" else []),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()


@pytest.mark.parametrize("kind", ["plain", "batch norm"])
@torch.no_grad()
def test_a_random_encoder_has_not_collapsed(kind: str) -> None:
    pictures = F.interpolate(torch.rand(200, 3, 5, 5), size=32, mode="bilinear")
    assert collapse(random_encoder(kind)(pictures)) is None


def test_healthy_features_raise_no_alarm() -> None:
    assert collapse(torch.randn(500, 128)) is None
    assert collapse(torch.randn(500, 128).relu()) is None
    assert collapse(torch.randn(500, 3)) is None
    classes = F.one_hot(torch.arange(500) % 10, 64) + 0.01 * torch.randn(
        500, 64
    )  # ten tight classes, as supervision makes them
    assert collapse(classes) is None
    assert collapse(torch.randn(5, 128)) is None
    assert collapse(torch.ones(5, 128)) is None, "5 samples tell nothing"


@pytest.mark.parametrize("noise", [0.0, 1e-6, 1e-3])
def test_one_point_is_seen(noise: float) -> None:
    seen = collapse(torch.rand(64) + noise * torch.randn(500, 64))
    assert seen is not None
    assert "nearly the same features" in seen
    assert "lower learning rate" in seen


def test_one_line_is_seen() -> None:
    seen = collapse(torch.randn(500, 1) @ torch.randn(1, 64) + 1e-4 * torch.randn(500, 64))
    assert seen is not None
    assert "of their 64 dimensions only" in seen
    assert len(seen.splitlines()) == 1


def test_scatter_ratio_equals_its_loop_whatever_the_scale() -> None:
    features = torch.randn(12, 3, generator=torch.Generator().manual_seed(2)) + 5
    labels = torch.arange(12) % 3
    within = []
    between = []
    for i in range(12):
        for j in range(i):
            (within if labels[i] == labels[j] else between).append(
                float((features[i] - features[j]).square().sum())
            )
    expected = sum(within) / len(within) / (sum(between) / len(between))
    assert scatter_ratio(Labelled(features, labels, 3)) == pytest.approx(expected)
    assert scatter_ratio(Labelled(100 * features, labels, 4)) == pytest.approx(expected)


def test_scatter_ratio_is_zero_for_points_and_needs_both_kinds_of_pairs() -> None:
    labels = torch.arange(6) % 2
    assert scatter_ratio(Labelled(torch.eye(2)[labels], labels, 2)) == pytest.approx(0, abs=1e-12)
    for alone in (torch.zeros(6, dtype=torch.int64), torch.arange(6)):
        with pytest.raises(UserError, match="compares pairs of one class with pairs of two"):
            scatter_ratio(Labelled(torch.randn(6, 2), alone, 6))


def test_penalty_evenness_is_one_for_equal_and_none_for_a_single_near_sample() -> None:
    equal = torch.eye(12).double()
    assert penalty_evenness(equal, equal) == pytest.approx(1)
    near = torch.eye(8).double()[
        torch.arange(8) // 2
    ]  # each has one copy among seven orthogonal ones
    assert penalty_evenness(near, near, temperature=0.01) == pytest.approx(0, abs=1e-6)
    x = torch.randn(20, 4).double()
    low, high = (penalty_evenness(x, x, temperature=t) for t in (0.05, 0.5))
    assert 0 < low < high < 1
    assert math.isnan(penalty_evenness(x[:2], x[:2]))
    with pytest.raises(UserError, match="expected the same"):
        penalty_evenness(x, x[:3])
