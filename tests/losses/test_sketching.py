"""VISReg's terms: loops, quantiles of another library, what each of them sees, collapse."""

from __future__ import annotations

from statistics import NormalDist

import pytest
import torch
from torch import Tensor

from nearfar.losses.redundancy.gaussianity import draw_directions
from nearfar.losses.redundancy.sketching import normal_quantiles, visreg_terms


def drawn(*shape: int, seed: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_quantiles_are_those_of_the_standard_library() -> None:
    expected = [NormalDist().inv_cdf((i + 1) / 12) for i in range(11)]
    torch.testing.assert_close(normal_quantiles(11), torch.tensor(expected, dtype=torch.float64))


def test_terms_by_loops() -> None:
    views = 1.7 * drawn(2, 6, 3) + 0.4
    directions = draw_directions(3, 5, generator=torch.Generator().manual_seed(1)).double()
    centre, scale, shape = 0.0, 0.0, 0.0
    for view in views:
        mean = [float(view[:, d].mean()) for d in range(3)]
        deviation = [float(view[:, d].std(correction=0)) for d in range(3)]
        centre += sum(m * m for m in mean) / 6
        scale += sum((1 - s) ** 2 for s in deviation) / 6
        for direction in directions.tolist():
            values = sorted(
                sum((z[d] - mean[d]) / (deviation[d] + 1e-4) * direction[d] for d in range(3))
                for z in view.tolist()
            )
            for place, value in enumerate(values):
                shape += (value - NormalDist().inv_cdf((place + 1) / 7)) ** 2 / (2 * 5 * 6)
    found = visreg_terms(views, directions)
    assert {name: float(value) for name, value in found.items()} == pytest.approx(
        {"centre": centre, "scale": scale, "shape": shape}, rel=1e-9
    )


def test_each_term_sees_its_own_fault_only() -> None:
    normal = drawn(1, 4000, 2)
    normal = (normal - normal.mean(1, keepdim=True)) / normal.std(1, correction=0, keepdim=True)
    directions = torch.eye(2)
    good = visreg_terms(normal, directions)
    assert all(float(value) < 0.01 for value in good.values())
    moved = visreg_terms(normal + 2, directions)
    wide = visreg_terms(3 * normal, directions)
    other = visreg_terms(normal.sign(), directions)
    assert float(moved["centre"]) == pytest.approx(4)
    assert float(moved["shape"]) == pytest.approx(float(good["shape"]), rel=1e-6)
    assert float(wide["scale"]) == pytest.approx(4)
    assert float(wide["shape"]) == pytest.approx(float(good["shape"]), rel=0.1)
    assert float(other["shape"]) > 0.1
    assert float(other["scale"]) < 0.01


def test_the_width_pulls_with_full_strength_near_collapse_where_sigreg_does_not() -> None:
    small = (1e-6 * drawn(1, 32, 4)).requires_grad_()
    (gradient,) = torch.autograd.grad(visreg_terms(small, torch.eye(4))["scale"], small)
    assert float(gradient.norm()) > 0.1
    flat = torch.zeros(1, 8, 2, dtype=torch.float64, requires_grad=True)
    terms = visreg_terms(flat, torch.eye(2))
    (gradient,) = torch.autograd.grad(sum(terms.values()), flat)
    assert torch.isfinite(gradient).all()


def test_wrong_input() -> None:
    with pytest.raises(ValueError, match="A batch of 1 has no width"):
        visreg_terms(torch.zeros(2, 1, 3), torch.eye(3))
    with pytest.raises(ValueError, match="directions"):
        visreg_terms(torch.zeros(2, 4, 3), torch.eye(2))
