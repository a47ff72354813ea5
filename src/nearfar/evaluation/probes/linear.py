"""Linear probes on standardised features: multinomial logistic regression, and ridge regression for
values.

Both have an L2 penalty and are solved for a grid of penalties at once. The penalty is picked on a
validation split of the training data and the probe refitted on all of them with it; test data take
no part in either.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from nearfar.errors import UserError
from nearfar.evaluation.features import Labelled, check_features
from nearfar.evaluation.kernels.lbfgs import minimise
from nearfar.evaluation.kernels.principal import Affine, Principal, principal
from nearfar.evaluation.splits import stratified

PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
RIDGE_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
UNVALIDATED_PENALTY = 0.1  # where no class has a second sample to validate on
VALIDATION_SHARE = 0.2
_BLOCK = 2**22  # logits held at once


@dataclass(frozen=True)
class Probe:
    """A linear model with the penalty that validation picked."""

    penalty: float
    model: Affine

    def accuracy(self, test: Labelled) -> float:
        """Share of samples, in [0, 1], whose largest logit is that of their label."""
        return float(self.right(test).mean())

    def right(self, test: Labelled) -> Tensor:
        """(N,) float64: 1 for each sample whose largest logit is that of its label, otherwise 0."""
        return (self.model(test.features).argmax(dim=1) == test.labels).double()

    def errors(self, features: Tensor, targets: Tensor) -> Tensor:
        """Predicted minus true value of each sample, (N,), for a probe of values."""
        return self.model(features)[:, 0] - targets.to(features)

    def explained(self, features: Tensor, targets: Tensor) -> float:
        """R2: the share of the targets' variance that is explained, at most 1; NaN where all
        targets are equal.
        """
        variance = float(targets.double().var(correction=0))
        return (
            1 - float(self.errors(features, targets).double().square().mean()) / variance
            if variance
            else math.nan
        )


def linear_probes(train: Labelled, *, seeds: Sequence[int] = (0,)) -> list[Probe]:
    """One logistic regression a seed; the seed draws the stratified validation split of 20 %.

    Raises:
        UserError: if the training labels hold fewer than two classes.
    """
    present = torch.unique(train.labels)
    if len(present) < 2:
        raise UserError(
            f"All {len(train):,} training labels are class {int(present[0])}; a probe needs two "
            "classes or more."
        )
    problem = _Logistic.of(train)
    chosen = [_validated_logistic_penalty(problem, seed) for seed in seeds]
    return _refitted(chosen, lambda penalty: problem.turn.unturned(*problem.solve((penalty,))[0]))


def ridge_probes(features: Tensor, targets: Tensor, *, seeds: Sequence[int] = (0,)) -> list[Probe]:
    """One ridge regression a seed; the seed draws the validation split of 20 %.

    Args:
        features: (N, D), N at least 5.
        targets: (N,) finite real values.

    Raises:
        UserError: if features or targets do not fit this.
    """
    check_features(features, "regression")
    if targets.shape != (len(features),) or not torch.isfinite(targets).all():
        raise UserError(
            f"Targets have shape {tuple(targets.shape)}; expected {len(features):,} finite values, "
            "one a sample."
        )
    if len(features) < 5:
        raise UserError(
            f"There are {len(features)} training samples; a regression probe needs at least 5."
        )
    targets = targets.to(features)
    chosen = [_validated_ridge_penalty(features, targets, seed) for seed in seeds]
    return _refitted(chosen, lambda penalty: fit_ridge(features, targets, (penalty,))[0])


def fit_logistic(
    train: Labelled, penalties: Sequence[float], *, tolerance: float = 1e-4
) -> list[Affine]:
    """For each penalty the minimum of mean cross-entropy + penalty / 2 * |weight|^2 on standardised
    features, bias free.

    scikit-learn's ``C`` is 1 / (penalty * N). ``tolerance`` is of ``minimise``, in units of unit
    curvature.
    """
    problem = _Logistic.of(train)
    return [
        problem.turn.unturned(*weights) for weights in problem.solve(penalties, tolerance=tolerance)
    ]


@dataclass(frozen=True)
class _Logistic:
    """Logistic regression in principal coordinates, which are found once: each validation split is
    some of their rows.
    """

    turn: Principal
    coordinates: Tensor  # (N, R + 1), the last column 1: it carries the bias
    labels: Tensor
    classes: int

    @classmethod
    def of(cls, train: Labelled) -> _Logistic:
        turn = principal(train.features)
        return cls(
            turn, F.pad(turn(train.features), (0, 1), value=1.0), train.labels, train.classes
        )

    def __getitem__(self, rows: Tensor) -> _Logistic:
        return replace(self, coordinates=self.coordinates[rows], labels=self.labels[rows])

    def solve(
        self, penalties: Sequence[float], *, tolerance: float = 1e-4
    ) -> list[tuple[Tensor, Tensor]]:
        """For each penalty the weight (R, C) and bias (C,)."""
        z = self.coordinates
        penalty = F.pad(z.new_tensor(penalties)[:, None].expand(-1, z.shape[1] - 1), (0, 1))[
            :, :, None
        ]
        spread = F.pad(self.turn.variance, (0, 1), value=1.0)[:, None]
        unit = (
            spread / self.classes + penalty
        ).rsqrt()  # in these units the curvature at zero weights is 1 along every axis
        shape = z.shape[1], self.classes

        def objective(point: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
            weight = unit[which] * point.view(-1, *shape)
            value, gradient = _cross_entropy(z, self.labels, weight)
            value = value + (penalty[which] * weight.square()).sum(dim=(1, 2)) / 2
            return value, (unit[which] * (gradient + penalty[which] * weight)).flatten(1)

        point = minimise(
            objective, z.new_zeros(len(penalties), *shape).flatten(1), tolerance=tolerance
        )
        return [(weight[:-1], weight[-1]) for weight in unit * point.view(-1, *shape)]

    def judge(self, weight: Tensor, bias: Tensor) -> tuple[float, float]:
        """Error rate and mean cross-entropy."""
        logits = self.coordinates[:, :-1] @ weight + bias
        return float((logits.argmax(dim=1) != self.labels).double().mean()), float(
            F.cross_entropy(logits, self.labels)
        )


def fit_ridge(features: Tensor, targets: Tensor, penalties: Sequence[float]) -> list[Affine]:
    """For each penalty the minimum of mean squared error + penalty * |weight|^2 on standardised
    features, bias free.
    """
    turn = principal(features)
    covariance = turn(features).T @ (targets - targets.mean()) / len(targets)
    weights = [covariance / (turn.variance + penalty) for penalty in penalties]
    return [turn.unturned(weight[:, None], targets.mean()[None]) for weight in weights]


def _refitted(penalties: Sequence[float], fit: Callable[[float], Affine]) -> list[Probe]:
    """One probe a penalty, fitted once where seeds agree."""
    probes = {penalty: Probe(penalty, fit(penalty)) for penalty in set(penalties)}
    return [probes[penalty] for penalty in penalties]


def _validated_logistic_penalty(problem: _Logistic, seed: int) -> float:
    """The penalty with the best validation accuracy; of equals, that with the lowest validation
    loss.
    """
    held_out = stratified(problem.labels, VALIDATION_SHARE, seed=seed, leave=1)
    if not held_out.any():
        return UNVALIDATED_PENALTY
    fitted = problem[~held_out].solve(PENALTIES)
    validation = problem[held_out]
    return min(
        (*validation.judge(*weights), penalty)
        for weights, penalty in zip(fitted, PENALTIES, strict=True)
    )[-1]


def _validated_ridge_penalty(features: Tensor, targets: Tensor, seed: int) -> float:
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(seed)).to(
        features.device
    )
    held_out, fitted = order.tensor_split([round(VALIDATION_SHARE * len(order))])
    models = fit_ridge(features[fitted], targets[fitted], RIDGE_PENALTIES)
    probes = [Probe(penalty, model) for penalty, model in zip(RIDGE_PENALTIES, models, strict=True)]
    return min(
        probes,
        key=lambda probe: float(
            probe.errors(features[held_out], targets[held_out]).square().mean()
        ),
    ).penalty


def _cross_entropy(z: Tensor, labels: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy (G,) and its gradient (G, R, C) for G weights (G, R, C) at once, in blocks
    of samples.
    """
    models, dimension, classes = weight.shape
    flat = weight.transpose(0, 1).reshape(dimension, models * classes)
    value = z.new_zeros(models)
    gradient = torch.zeros_like(flat)
    rows = max(1, _BLOCK // (models * classes))
    for start in range(0, len(z), rows):
        x = z[start : start + rows]
        label = labels[start : start + rows]
        logits = (x @ flat).view(len(x), models, classes)
        log_sum = logits.logsumexp(dim=2)
        own = label[:, None, None].expand(-1, models, 1)
        value += (log_sum - logits.gather(2, own).squeeze(2)).sum(dim=0)
        residual = (logits - log_sum[:, :, None]).exp_()
        residual.scatter_add_(2, own, residual.new_full((1,), -1.0).expand(own.shape))
        gradient += x.T @ residual.view(len(x), -1)
    return value / len(z), gradient.view(dimension, models, classes).transpose(0, 1) / len(z)
