"""Linear probes against scikit-learn, and what they promise about validation."""

from __future__ import annotations

import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import r2_score
from sklearn.preprocessing import StandardScaler
from torch.nn import functional as F

from nearfar.errors import UserError
from nearfar.evaluation.features import Labelled
from nearfar.evaluation.kernels.lbfgs import minimise
from nearfar.evaluation.kernels.principal import principal
from nearfar.evaluation.probes.linear import (
    PENALTIES,
    RIDGE_PENALTIES,
    Probe,
    fit_logistic,
    fit_ridge,
    linear_probes,
    ridge_probes,
)

from .toys import blobs


def objective(data: Labelled, logits: torch.Tensor, weight: torch.Tensor, penalty: float) -> float:
    return float(
        F.cross_entropy(logits.double(), data.labels) + penalty / 2 * weight.double().square().sum()
    )


def uneven(samples: int, dimension: int, seed: int = 0) -> Labelled:
    """Correlated, badly scaled features, as encoders give them, with a constant one among them."""
    data = blobs(samples, dimension=dimension, spread=2.0, seed=seed)
    mixing = torch.randn(dimension, dimension, generator=torch.Generator().manual_seed(7))
    scale = torch.logspace(-3, 3, dimension)
    features = (data.features @ mixing).relu() * scale + 5
    features[:, 3] = 2.0
    return Labelled(features, data.labels, data.classes)


@pytest.mark.parametrize(("samples", "dimension"), [(600, 24), (40, 100)])
def test_every_penalty_reaches_scikit_learns_optimum(samples: int, dimension: int) -> None:
    data = uneven(samples, dimension)
    standard = StandardScaler().fit_transform(data.features.double().numpy())
    deviation = data.features.double().std(dim=0, correction=0)
    for penalty, model in zip(PENALTIES, fit_logistic(data, PENALTIES), strict=True):
        reference = LogisticRegression(C=1 / (penalty * samples), tol=1e-6, max_iter=20_000).fit(
            standard, data.labels.numpy()
        )
        logits = torch.from_numpy(reference.decision_function(standard))
        expected = objective(data, logits, torch.from_numpy(reference.coef_), penalty)
        ours = model(data.features)
        found = objective(data, ours, model.weight * deviation[:, None], penalty)
        assert found == pytest.approx(expected, abs=1e-3)
        agreement = (ours.argmax(dim=1) == logits.argmax(dim=1)).double().mean()
        assert agreement >= 0.995


def test_in_float64_the_optimum_is_sharp() -> None:
    data = Labelled(torch.randn(100, 8).double(), torch.randint(3, (100,)), 3)
    (model,) = fit_logistic(data, (0.01,), tolerance=1e-9)
    standard = StandardScaler().fit_transform(data.features.numpy())
    reference = LogisticRegression(C=1 / (0.01 * 100), tol=1e-10, max_iter=5000).fit(
        standard, data.labels.numpy()
    )
    ours = model(data.features).log_softmax(dim=1)
    torch.testing.assert_close(
        ours, torch.from_numpy(reference.predict_log_proba(standard)), rtol=1e-5, atol=1e-6
    )


def test_penalties_solved_together_equal_penalties_solved_alone() -> None:
    data = Labelled(torch.randn(80, 6).double(), torch.randint(4, (80,)), 4)
    together = fit_logistic(data, PENALTIES, tolerance=1e-8)
    for penalty, model in zip(PENALTIES, together, strict=True):
        (alone,) = fit_logistic(data, (penalty,), tolerance=1e-8)
        torch.testing.assert_close(model.weight, alone.weight, rtol=1e-3, atol=1e-4)


def test_logistic_probe_does_not_depend_on_scale_shift_and_blocks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = blobs(150, spread=2.0)
    data = Labelled(data.features.double(), data.labels, 4)
    (model,) = fit_logistic(data, (0.01,), tolerance=1e-7)
    moved = Labelled(100 * data.features - 30, data.labels, 4)
    (other,) = fit_logistic(moved, (0.01,), tolerance=1e-7)
    torch.testing.assert_close(
        other(moved.features).softmax(1), model(data.features).softmax(1), rtol=1e-5, atol=1e-6
    )
    monkeypatch.setattr("nearfar.evaluation.probes.linear._BLOCK", 64)
    (blocked,) = fit_logistic(data, (0.01,), tolerance=1e-7)
    torch.testing.assert_close(
        blocked(data.features).softmax(1), model(data.features).softmax(1), rtol=1e-6, atol=1e-8
    )


@pytest.mark.parametrize(("samples", "dimension"), [(200, 10), (20, 50)])
def test_ridge_equals_scikit_learn(samples: int, dimension: int) -> None:
    features = torch.randn(samples, dimension).double()
    targets = features[:, 0] - 2 * features[:, 1] + torch.randn(samples).double() + 40
    standard = StandardScaler().fit_transform(features.numpy())
    for penalty, model in zip(
        RIDGE_PENALTIES, fit_ridge(features, targets, RIDGE_PENALTIES), strict=True
    ):
        reference = (
            Ridge(alpha=penalty * samples, tol=1e-10)
            .fit(standard, targets.numpy())
            .predict(standard)
        )
        torch.testing.assert_close(
            model(features)[:, 0], torch.from_numpy(reference), rtol=1e-6, atol=1e-6
        )


def test_r2_equals_scikit_learn() -> None:
    features = torch.randn(50, 3)
    targets = torch.randn(50)
    (probe,) = ridge_probes(features, targets)
    assert probe.explained(features, targets) == pytest.approx(
        r2_score(targets, probe.model(features)[:, 0]), abs=1e-6
    )
    assert torch.tensor(probe.explained(features, torch.ones(50))).isnan()


def test_the_penalty_follows_the_data() -> None:
    """Pure noise calls for a strong penalty, a clean signal for a weak one."""
    noise = Labelled(torch.randn(120, 60), torch.arange(120) % 3, 3)
    clean = blobs(400, spread=0.8)
    assert linear_probes(noise)[0].penalty > linear_probes(clean)[0].penalty
    features = torch.randn(300, 30)
    assert (
        ridge_probes(features, torch.randn(300))[0].penalty
        > ridge_probes(features, features @ torch.randn(30))[0].penalty
    )


def test_a_seed_gives_the_same_probe_and_a_linear_task_is_solved() -> None:
    train = blobs(300)
    test = blobs(200, seed=1)
    first, again, other = linear_probes(train, seeds=(0, 0, 1))
    assert first.penalty == again.penalty
    assert torch.equal(first.model.weight, again.model.weight)
    assert min(first.accuracy(test), other.accuracy(test)) > 0.95
    reference = LogisticRegression(max_iter=1000).fit(train.features.numpy(), train.labels.numpy())
    assert first.accuracy(test) == pytest.approx(
        reference.score(test.features.numpy(), test.labels.numpy()), abs=0.03
    )


def test_one_sample_a_class_has_no_validation_and_still_a_probe() -> None:
    data = blobs(200, spread=0.3)
    rows = torch.stack([(data.labels == label).nonzero()[0, 0] for label in range(4)])
    (probe,) = linear_probes(data[rows])
    assert probe.accuracy(data) > 0.9


def test_fewer_samples_than_classes() -> None:
    train = Labelled(torch.randn(3, 5), torch.tensor([0, 7, 9]), 10)
    (probe,) = linear_probes(train)
    assert probe.accuracy(train) == 1.0


def test_errors() -> None:
    with pytest.raises(
        UserError, match="All 5 training labels are class 2; a probe needs two classes or more"
    ):
        linear_probes(Labelled(torch.randn(5, 3), torch.full((5,), 2), 4))
    with pytest.raises(UserError, match=r"Targets have shape \(4,\); expected 6 finite values"):
        ridge_probes(torch.randn(6, 2), torch.randn(4))
    with pytest.raises(UserError, match="expected 6 finite values"):
        ridge_probes(torch.randn(6, 2), torch.tensor([1, 2, 3, 4, 5, float("nan")]))
    with pytest.raises(UserError, match="3 training samples; a regression probe needs at least 5"):
        ridge_probes(torch.randn(3, 2), torch.randn(3))


def test_constant_features_predict_the_commonest_class_and_the_mean() -> None:
    labels = torch.tensor([0, 1, 1, 1, 2, 1, 1, 0])
    data = Labelled(torch.full((8, 4), 3.0), labels, 3)
    (probe,) = linear_probes(data)
    assert probe.accuracy(data) == pytest.approx(5 / 8)
    (probe,) = ridge_probes(data.features, labels.float())
    torch.testing.assert_close(probe.model(data.features)[:, 0], labels.float().mean().expand(8))


@pytest.mark.parametrize(("samples", "dimension"), [(60, 8), (8, 60)])
def test_principal_coordinates_are_uncorrelated_and_keep_all_distances(
    samples: int, dimension: int
) -> None:
    features = torch.randn(samples, dimension).double() * torch.logspace(-2, 2, dimension) + 3
    turn = principal(features)
    z = turn(features)
    torch.testing.assert_close(z.T @ z / samples, turn.variance.diag(), rtol=1e-7, atol=1e-8)
    standard = torch.from_numpy(StandardScaler().fit_transform(features.numpy()))
    torch.testing.assert_close(
        torch.cdist(z, z), torch.cdist(standard, standard), rtol=1e-6, atol=1e-6
    )


def test_minimise_solves_independent_quadratics_at_once() -> None:
    curvature = torch.tensor([[1.0, 10.0, 100.0], [5.0, 5.0, 5.0], [1e-2, 1.0, 1e2]]).double()
    centre = torch.randn(3, 3).double()
    asked: list[int] = []

    def quadratic(point: torch.Tensor, which: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        asked.append(len(which))
        away = point - centre[which]
        return (curvature[which] * away.square()).sum(dim=1) / 2, curvature[which] * away

    found = minimise(quadratic, torch.zeros(3, 3).double(), tolerance=1e-10)
    torch.testing.assert_close(found, centre, rtol=0, atol=1e-7)
    assert asked[-1] < 3, "a solved function is still being evaluated"


def test_a_probe_of_values_returns_errors_with_a_sign() -> None:
    features = torch.randn(40, 2)
    (probe,) = ridge_probes(features, features[:, 0])
    assert isinstance(probe, Probe)
    torch.testing.assert_close(
        probe.errors(features, features[:, 0] + 1).mean(), torch.tensor(-1.0), rtol=0, atol=0.01
    )
