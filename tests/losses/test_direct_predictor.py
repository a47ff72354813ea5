"""DirectPred: the regression, predictors made from a correlation, and the theory that they come
from.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from nearfar.losses.distillation.direct_predictor import (
    LinearDynamics,
    direct_copy,
    direct_prediction,
    direct_predictor,
    direct_set,
    update_correlation,
)
from nearfar.losses.distillation.distillation import byol
from tests.losses.cases import close, degenerate, finite_with_gradient, leaves, named
from tests.losses.precision import agrees_in_lower_precision


def correlation(dimension: int = 5, samples: int = 20) -> Tensor:
    return update_correlation(None, torch.randn(samples, dimension, dtype=torch.float64))


@pytest.mark.parametrize("name", named("a-directpred-loss-case*"))
def test_regression_equals_the_reference(golden: Any, name: str) -> None:
    """The reference's z1 is the target of p1, which is view 2's projection."""
    case = golden(name)
    p1, p2 = leaves(case, "p1", "p2")
    loss = direct_prediction(p1, p2, case["in_z2"], case["in_z1"])
    close(loss, case["out_loss"])
    for gradient, part in zip(torch.autograd.grad(loss, (p1, p2)), ("p1", "p2"), strict=True):
        close(gradient, case[f"out_grad_{part}"])


@pytest.mark.parametrize("name", named("a-directpred-case*"))
def test_predictors_equal_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    epsilon = float(case["hp_eps"])
    shrink = float(case["hp_shrink"])
    average = None
    for features, expected, weight in zip(
        case["in_features"], case["out_F"], case["out_W"], strict=True
    ):
        average = update_correlation(average, features, rho=float(case["hp_rho"]))
        close(average, expected)
        inside = bool(case["hp_eps_inside"])
        close(
            direct_predictor(average, epsilon=epsilon, epsilon_inside=inside, shrink=shrink), weight
        )
    close(direct_predictor(average, epsilon=epsilon, as_published=True), case["out_W_paper"])


@pytest.mark.parametrize("name", named("a-directcopy-case*"))
def test_copies_equal_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    epsilon = float(case["hp_eps"])
    close(direct_copy(case["in_F"], epsilon=epsilon), case["out_W_spectral"])
    close(direct_copy(case["in_F"], epsilon=epsilon, norm="fro"), case["out_W_frobenius"])
    close(direct_copy(case["in_F"], epsilon=epsilon, norm=None), case["out_W_as_coded"])
    close(direct_set(case["in_F"], epsilon=epsilon), case["out_W_set_half"])


@pytest.mark.parametrize("name", named("a-directpred-ode-case*"))
def test_trajectories_equal_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    dynamics = LinearDynamics(
        *(float(case[f"hp_{part}"]) for part in ("alpha_p", "beta", "eta", "sigma2"))
    )
    expected = case["out_trajectory"]
    step = float(case["hp_dt"])
    close(
        dynamics.simulate(case["in_y0"], rows=len(expected), steps=round(5 / step), step=step),
        expected,
    )


def test_regression_is_byol_less_four_and_has_a_plain_form() -> None:
    p1, p2, t1, t2 = torch.randn(4, 6, 3, dtype=torch.float64)
    torch.testing.assert_close(direct_prediction(p1, p2, t1, t2), byol(p1, p2, t1, t2) - 4)
    plain = [((p1[n] - t2[n]) ** 2).sum() + ((p2[n] - t1[n]) ** 2).sum() for n in range(6)]
    found = direct_prediction(p1, p2, t1, t2, normalise=False, reduction="none")
    torch.testing.assert_close(found, torch.stack(plain))


@pytest.mark.parametrize("normalise", [True, False])
def test_targets_get_no_gradient(normalise: bool) -> None:
    p1, p2, t1, t2 = (torch.randn(4, 3, requires_grad=True) for _ in range(4))
    loss = direct_prediction(p1, p2, t1, t2, normalise=normalise)
    assert torch.autograd.grad(loss, (t1, t2), allow_unused=True) == (None, None)


def test_correlation_is_the_mean_outer_product() -> None:
    views = torch.randn(2, 4, 3, dtype=torch.float64)
    expected = sum(torch.outer(f, f) for f in views.flatten(0, 1)) / 8
    first = update_correlation(None, views)
    torch.testing.assert_close(first, expected)
    second = update_correlation(first, 2 * views, rho=0.3)
    torch.testing.assert_close(second, 0.3 * expected + 0.7 * 4 * expected)


@pytest.mark.parametrize("inside", [False, True])
def test_predictor_shares_the_eigenvectors(inside: bool) -> None:
    f = correlation()
    w = direct_predictor(f, epsilon=0.1, epsilon_inside=inside)
    torch.testing.assert_close(w, w.T)
    torch.testing.assert_close(w @ f, f @ w)
    s = torch.linalg.eigvalsh(f)
    p = (s / s[-1] + 0.1).sqrt() if inside else (s / s[-1]).sqrt() + 0.1
    torch.testing.assert_close(torch.linalg.eigvalsh(w), p)


def test_predictor_does_not_depend_on_scale_but_the_papers_does() -> None:
    f = correlation()
    torch.testing.assert_close(direct_predictor(9 * f), direct_predictor(f))
    s = torch.linalg.eigvalsh(f)
    published = torch.linalg.eigvalsh(direct_predictor(f, epsilon=0.1, as_published=True))
    torch.testing.assert_close(published, s.sqrt() + 0.1 * s[-1])


def test_floor_clip_and_shrink() -> None:
    f = torch.diag(torch.tensor([4.0, 1.0, -1.0], dtype=torch.float64))
    expected = torch.tensor([0.9, 0.4, 1e-4], dtype=torch.float64)
    torch.testing.assert_close(direct_predictor(f, epsilon=-0.1), expected.diag())
    torch.testing.assert_close(
        direct_predictor(f, epsilon=-0.1, shrink=0.25), 0.75 * expected.diag()
    )
    inside = torch.tensor([0.9, 0.15, 1e-4], dtype=torch.float64).sqrt()
    torch.testing.assert_close(
        direct_predictor(f, epsilon=-0.1, epsilon_inside=True), inside.diag()
    )


def test_directions_that_were_never_seen_get_epsilon_alone() -> None:
    f = correlation(dimension=6, samples=3)
    values = torch.linalg.eigvalsh(direct_predictor(f, epsilon=0.1))
    torch.testing.assert_close(
        values[:3], torch.full((3,), 0.1, dtype=torch.float64), rtol=1e-13, atol=0
    )


def test_set_holds_both_other_predictors() -> None:
    f = correlation()
    torch.testing.assert_close(
        direct_set(f, power=0.5, epsilon=0.1), direct_predictor(f, epsilon=0.1)
    )
    torch.testing.assert_close(direct_set(f, power=1.0), direct_copy(f))


@pytest.mark.parametrize("make", [direct_predictor, direct_set, direct_copy])
def test_nothing_seen_yet_gives_a_multiple_of_the_identity(make: Any) -> None:
    found = make(torch.zeros(3, 3), epsilon=0.3)
    torch.testing.assert_close(found, 0.3 * torch.eye(3))


def state(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_invariant_decays_at_twice_the_weight_decay() -> None:
    dynamics = LinearDynamics(predictor_rate=2.0, decay=0.05)
    start = state(0.5, 0.4, 0.7)
    path = dynamics.simulate(start, rows=4, steps=100)
    gap = path[:, 1] - path[:, 0].square() / 2.0
    torch.testing.assert_close(gap, gap[0] * torch.exp(-2 * 0.05 * torch.arange(4.0).double()))


def test_fixed_points_do_not_move_and_split_fate() -> None:
    dynamics = LinearDynamics(decay=0.04)
    low, high = dynamics.fixed_points(torch.ones((), dtype=torch.float64))
    assert high.item() == pytest.approx(0.867, abs=1e-3)
    for p in (low, high, torch.zeros_like(low)):
        velocity = dynamics.velocity(torch.stack([p, p.square(), torch.ones_like(p)]))
        torch.testing.assert_close(velocity[:2], torch.zeros(2, dtype=torch.float64))
    starts = torch.stack([state(p, p * p, 1.0) for p in (0.5 * low.item(), 2 * low.item())])
    ends = LinearDynamics(decay=0.04, momentum_rate=2.0).simulate(
        starts, rows=2, steps=600, step=0.25
    )[-1]
    assert ends[0, 0] < 0.01 * low
    assert ends[1, 0].item() == pytest.approx(high.item(), rel=0.01)


def test_specified_starts_collapse_and_settle() -> None:
    collapsed = LinearDynamics(decay=0.1).simulate(
        state(0.05, 0.0025, 1.0), rows=2, steps=400, step=0.1
    )[-1]
    assert collapsed[:2].abs().max() < 0.01
    dynamics = LinearDynamics(decay=0.04)
    settled = dynamics.simulate(state(0.3, 0.2, 1.0), rows=2, steps=400, step=0.1)[-1]
    assert (settled[0] - dynamics.fixed_points(settled[2])[1]).abs() < 1e-3


def test_strong_decay_leaves_collapse_alone() -> None:
    low, high = LinearDynamics(decay=0.3).fixed_points(torch.ones(()))
    assert low.isnan()
    assert high.isnan()


def test_matrix_flow_is_the_flow_of_its_modes() -> None:
    """With W_p and F = W W^T of the same eigenvectors and W_a = tau W, matrices move as their
    eigenvalues do.
    """
    dynamics = LinearDynamics(predictor_rate=1.5, momentum_rate=0.3, decay=0.07, variance=0.2)
    basis = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64)).Q
    p = torch.rand(3).double()
    s = torch.rand(3).double() + 0.1
    tau = 0.8
    predictor = basis @ p.diag() @ basis.T
    weight = basis @ s.sqrt().diag()
    moved = dynamics.matrix_velocity(predictor, weight, tau * weight)
    modes = dynamics.velocity(torch.stack([p, s, torch.full_like(p, tau)], dim=1))
    torch.testing.assert_close((basis.T @ moved[0] @ basis), modes[:, 0].diag())
    growth = moved[1] @ weight.T + weight @ moved[1].T
    torch.testing.assert_close(basis.T @ growth @ basis, modes[:, 1].diag())
    target = moved[2] @ weight.T + tau * weight @ moved[1].T  # d(W_a W^T)/dt = d(tau s)/dt
    torch.testing.assert_close(
        basis.T @ target @ basis, (modes[:, 2] * s + tau * modes[:, 1]).diag()
    )


@pytest.mark.parametrize("z", degenerate())
@pytest.mark.parametrize("normalise", [True, False])
def test_degenerate_embeddings_stay_finite(z: Tensor, normalise: bool) -> None:
    for rows in (z, z[1:3]):
        p1 = rows.clone().requires_grad_()
        p2 = rows.flip(0).clone().requires_grad_()
        finite_with_gradient(direct_prediction(p1, p2, rows, rows, normalise=normalise), p1, p2)
        average = update_correlation(None, rows)
        for make in (direct_predictor, direct_set, direct_copy):
            assert make(average).isfinite().all()


def test_lower_precision() -> None:
    agrees_in_lower_precision(direct_prediction, *torch.randn(4, 16, 8))
    rows = torch.randn(64, 6).to(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        low = direct_predictor(update_correlation(None, rows))
    torch.testing.assert_close(
        low.double(),
        direct_predictor(update_correlation(None, rows.double())),
        rtol=1e-4,
        atol=1e-5,
    )


def test_gradcheck() -> None:
    p1, p2, t1, t2 = torch.randn(4, 3, 4, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda a, b: direct_prediction(a, b, t1, t2), (p1.requires_grad_(), p2.requires_grad_())
    )
