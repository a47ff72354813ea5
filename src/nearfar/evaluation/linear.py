"""Linear probes on standardised features: multinomial logistic regression, and ridge regression for values.

Both have an L2 penalty and are solved for a grid of penalties at once. The penalty is picked on a validation split of
the training data and the probe refitted on all of them with it; test data take no part in either.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from nearfar.errors import UserError
from nearfar.evaluation.features import Labelled, check_features
from nearfar.evaluation.lbfgs import minimise
from nearfar.evaluation.principal import Affine, principal
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
        return float((self.model(test.features).argmax(dim=1) == test.labels).float().mean())

    def errors(self, features: Tensor, targets: Tensor) -> Tensor:
        """Predicted minus true value of each sample, (N,), for a probe of values."""
        return self.model(features)[:, 0] - targets.to(features)

    def explained(self, features: Tensor, targets: Tensor) -> float:
        """R2: the share of the targets' variance that is explained, at most 1; NaN where all targets are equal."""
        variance = float(targets.double().var(correction=0))
        return 1 - float(self.errors(features, targets).double().square().mean()) / variance if variance else math.nan


def linear_probes(train: Labelled, *, seeds: Sequence[int] = (0,)) -> list[Probe]:
    """One logistic regression a seed; the seed draws the stratified validation split of 20 %.

    Raises:
        UserError: if the training labels hold fewer than two classes.
    """
    present = torch.unique(train.labels)
    if len(present) < 2:
        raise UserError(f"All {len(train):,} training labels are class {int(present[0])}; a probe needs two classes or more.")
    chosen = [_validated_logistic_penalty(train, seed) for seed in seeds]
    return _refitted(chosen, lambda penalty: fit_logistic(train, (penalty,))[0])


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
        raise UserError(f"Targets have shape {tuple(targets.shape)}; expected {len(features):,} finite values, one a sample.")
    if len(features) < 5:
        raise UserError(f"There are {len(features)} training samples; a regression probe needs at least 5.")
    targets = targets.to(features)
    chosen = [_validated_ridge_penalty(features, targets, seed) for seed in seeds]
    return _refitted(chosen, lambda penalty: fit_ridge(features, targets, (penalty,))[0])


def fit_logistic(train: Labelled, penalties: Sequence[float], *, tolerance: float = 1e-4) -> list[Affine]:
    """For each penalty the minimum of mean cross-entropy + penalty / 2 * |weight|^2 on standardised features, bias free.

    scikit-learn's ``C`` is 1 / (penalty * N). ``tolerance`` is of ``minimise``, in units of unit curvature.
    """
    turn = principal(train.features)
    z = F.pad(turn(train.features), (0, 1), value=1.0)  # the last column carries the bias
    penalty = F.pad(z.new_tensor(penalties)[:, None].expand(-1, z.shape[1] - 1), (0, 1))[:, :, None]
    spread = F.pad(turn.variance, (0, 1), value=1.0)[:, None]
    unit = (spread / train.classes + penalty).rsqrt()  # in these units the curvature at zero weights is 1 along every axis
    shape = len(penalties), z.shape[1], train.classes

    def objective(point: Tensor) -> tuple[Tensor, Tensor]:
        weight = unit * point.view(shape)
        value, gradient = _cross_entropy(z, train.labels, weight)
        value = value + (penalty * weight.square()).sum(dim=(1, 2)) / 2
        return value, (unit * (gradient + penalty * weight)).flatten(1)

    point = minimise(objective, z.new_zeros(shape).flatten(1), tolerance=tolerance)
    return [turn.unturned(weight[:-1], weight[-1]) for weight in unit * point.view(shape)]


def fit_ridge(features: Tensor, targets: Tensor, penalties: Sequence[float]) -> list[Affine]:
    """For each penalty the minimum of mean squared error + penalty * |weight|^2 on standardised features, bias free."""
    turn = principal(features)
    covariance = turn(features).T @ (targets - targets.mean()) / len(targets)
    weights = [covariance / (turn.variance + penalty) for penalty in penalties]
    return [turn.unturned(weight[:, None], targets.mean()[None]) for weight in weights]


def _refitted(penalties: Sequence[float], fit: Callable[[float], Affine]) -> list[Probe]:
    """One probe a penalty, fitted once where seeds agree."""
    probes = {penalty: Probe(penalty, fit(penalty)) for penalty in set(penalties)}
    return [probes[penalty] for penalty in penalties]


def _validated_logistic_penalty(train: Labelled, seed: int) -> float:
    """The penalty with the best validation accuracy; of equals, that with the lowest validation loss."""
    held_out = stratified(train.labels, VALIDATION_SHARE, seed=seed, leave=1)
    if not held_out.any():
        return UNVALIDATED_PENALTY
    fitted, validation = train[~held_out], train[held_out]
    scores = []
    for penalty, model in zip(PENALTIES, fit_logistic(fitted, PENALTIES), strict=True):
        loss = float(F.cross_entropy(model(validation.features), validation.labels))
        scores.append((-Probe(penalty, model).accuracy(validation), loss, penalty))
    return min(scores)[-1]


def _validated_ridge_penalty(features: Tensor, targets: Tensor, seed: int) -> float:
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(seed)).to(features.device)
    held_out, fitted = order.tensor_split([round(VALIDATION_SHARE * len(order))])
    models = fit_ridge(features[fitted], targets[fitted], RIDGE_PENALTIES)
    probes = [Probe(penalty, model) for penalty, model in zip(RIDGE_PENALTIES, models, strict=True)]
    return min(probes, key=lambda probe: float(probe.errors(features[held_out], targets[held_out]).square().mean())).penalty


def _cross_entropy(z: Tensor, labels: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy (G,) and its gradient (G, R, C) for G weights (G, R, C) at once, in blocks of samples."""
    models, dimension, classes = weight.shape
    flat = weight.transpose(0, 1).reshape(dimension, models * classes)
    value, gradient = z.new_zeros(models), torch.zeros_like(flat)
    rows = max(1, _BLOCK // (models * classes))
    for start in range(0, len(z), rows):
        x, label = z[start : start + rows], labels[start : start + rows]
        logits = (x @ flat).view(len(x), models, classes)
        log_sum = logits.logsumexp(dim=2)
        own = label[:, None, None].expand(-1, models, 1)
        value += (log_sum - logits.gather(2, own).squeeze(2)).sum(dim=0)
        residual = (logits - log_sum[:, :, None]).exp_()
        residual.scatter_add_(2, own, residual.new_full((1,), -1.0).expand(own.shape))
        gradient += x.T @ residual.view(len(x), -1)
    return value / len(z), gradient.view(dimension, models, classes).transpose(0, 1) / len(z)
