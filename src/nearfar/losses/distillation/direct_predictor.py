"""DirectPred: BYOL whose linear predictor is computed from the correlation of its inputs instead of
trained.

In a linear network the predictor's eigenvectors turn towards those of F = E[f f^T], f the online
projections, and its eigenvalues p become proportional to the square roots of F's eigenvalues s. So
the predictor is set to that (DirectPred), to another power of F (DirectSet), or to F itself
(DirectCopy), which needs no eigenvectors. ``LinearDynamics`` is the theory.

Rulings where paper and code differ: eigenvalues are divided by the largest before the root, as
coded; DirectCopy divides F by its spectral norm (the paper does not say by which; the authors' code
does not divide).

Source: Tian, Chen and Ganguli 2021, "Understanding self-supervised Learning Dynamics without
Contrastive Pairs"; Wang et al. 2021, "Towards Demystifying Representation Learning with
Non-contrastive Self-supervision" (DirectSet, DirectCopy).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nearfar.losses.distillation.distillation import byol
from nearfar.losses.kernels.similarity import expect_rows, full_precision, reduce

__all__ = [
    "LinearDynamics",
    "direct_copy",
    "direct_prediction",
    "direct_predictor",
    "direct_set",
    "update_correlation",
]

_TINY = 1e-12


@full_precision
def direct_prediction(
    p1: Tensor,
    p2: Tensor,
    target1: Tensor,
    target2: Tensor,
    *,
    normalise: bool = True,
    reduction: str = "mean",
) -> Tensor:
    """Each view's prediction against the other view's target: -2 cos(p1, target2) - 2 cos(p2,
    target1), BYOL's loss minus 4.

    Args:
        p1: (N, D) predictions from view 1.
        p2: (N, D) from view 2.
        target1: (N, D) momentum projections of view 1; no gradient reaches them.
        target2: (N, D) of view 2.
        normalise: False for the squared distances of the rows as they are.
        reduction: "mean", or "none" for (N,).

    Example:
        >>> import torch
        >>> from nearfar.losses.distillation.direct_predictor import direct_prediction
        >>> p = torch.eye(3)
        >>> direct_prediction(p, p, p, p)
        tensor(-4.)
    """
    if normalise:
        return byol(p1, p2, target1, target2, reduction=reduction) - 4.0
    expect_rows(p1=p1, p2=p2, target1=target1, target2=target2)
    forth = (p1 - target2.detach()).square()
    back = (p2 - target1.detach()).square()
    return reduce((forth + back).sum(dim=1), reduction)


@torch.no_grad()
@full_precision
def update_correlation(average: Tensor | None, projections: Tensor, *, rho: float = 0.3) -> Tensor:
    """Running average of f f^T: rho average + (1 - rho) batch mean; the first batch starts it.

    Args:
        average: (D, D) so far, or None before the first batch.
        projections: (..., D) online projections of all views, of any length and not centred.
        rho: share of the past, in [0, 1].
    """
    rows = projections.flatten(0, -2)
    batch = rows.T @ rows / len(rows)
    return batch if average is None else torch.lerp(batch, average, rho)


@torch.no_grad()
@full_precision
def direct_predictor(
    correlation: Tensor,
    *,
    epsilon: float = 0.01,
    epsilon_inside: bool = False,
    shrink: float = 0.0,
    as_published: bool = False,
) -> Tensor:
    """DirectPred's symmetric predictor U diag(p) U^T, for the correlation U diag(s) U^T: p = sqrt(s
    / max s) + epsilon.

    Args:
        correlation: (D, D) symmetric, negative eigenvalues count as 0; for the centred option, less
            the mean's outer product.
        epsilon: lifts small eigenvalues; it may be negative, since p is at least 1e-4.
        epsilon_inside: p = sqrt(s / max s + epsilon) with at least 1e-4 under the root, an option
            of the authors' code.
        shrink: share that is taken off p in the end.
        as_published: p = sqrt(s) + epsilon max s, the paper's formula, where epsilon weighs
            sqrt(max s) times as much.
    """
    values, vectors = _spectrum(correlation)
    relative = _relative(values)
    if as_published:
        p = values.sqrt() + epsilon * values.max()
    elif epsilon_inside:
        p = (relative + epsilon).clamp(min=1e-4).sqrt()
    else:
        p = (relative.sqrt() + epsilon).clamp(min=1e-4)
    return _compose(vectors, p * (1.0 - shrink))


@torch.no_grad()
@full_precision
def direct_set(correlation: Tensor, *, power: float = 0.5, epsilon: float = 0.3) -> Tensor:
    """DirectSet's predictor U diag((s / max s)^power) U^T + epsilon I; the power 1/2 is DirectPred,
    1 is DirectCopy."""
    values, vectors = _spectrum(correlation)
    return _compose(vectors, _relative(values) ** power + epsilon)


@torch.no_grad()
@full_precision
def direct_copy(
    correlation: Tensor, *, epsilon: float = 0.3, norm: float | str | None = 2
) -> Tensor:
    """DirectCopy's predictor F / |F| + epsilon I, without eigenvectors.

    Args:
        correlation: F, (D, D).
        epsilon: added to the diagonal.
        norm: of ``torch.linalg.matrix_norm``: 2 spectral, "fro" Frobenius; None does not divide, as
            the authors' code.
    """
    if norm is not None:
        correlation = correlation / torch.linalg.matrix_norm(correlation, norm).clamp(min=_TINY)
    return correlation + epsilon * torch.eye(
        len(correlation), dtype=correlation.dtype, device=correlation.device
    )


def _spectrum(correlation: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues and eigenvectors. Eigenvalues within rounding of 0 become 0: a root would make
    1e-8 of a rounding error of 1e-16, in a direction that rounding has chosen."""
    values, vectors = torch.linalg.eigh(correlation)
    rounding = len(values) * torch.finfo(values.dtype).eps * values.abs().max()
    return torch.where(values > rounding, values, 0.0), vectors


def _relative(values: Tensor) -> Tensor:
    """Eigenvalues at least 0 as shares of the largest; all 0 if that is 0."""
    return values / values.max().clamp(min=_TINY)


def _compose(vectors: Tensor, values: Tensor) -> Tensor:
    matrix: Tensor = (vectors * values) @ vectors.T
    return matrix


@dataclass(frozen=True)
class LinearDynamics:
    """Gradient flow of linear BYOL on isotropic data, one eigenmode: predictor p, correlation s,
    target W_a = tau W.

        dp/dt = rate s (tau - (1 + variance) p) - decay p,
          ds/dt = 2 p s (tau - (1 + variance) p) - 2 decay s,
        s dtau/dt = momentum (1 - tau) s - (tau / 2) ds/dt

    s - p^2 / rate decays as exp(-2 decay t), hence p proportional to sqrt(s).

    Attributes:
        predictor_rate: alpha_p, learning rate of the predictor relative to the network's.
        momentum_rate: beta, speed at which the target follows.
        decay: eta, weight decay of both.
        variance: sigma^2, of the augmentations.
    """

    predictor_rate: float = 1.0
    momentum_rate: float = 0.4
    decay: float = 0.04
    variance: float = 0.1

    def velocity(self, state: Tensor) -> Tensor:
        """Time derivative (..., 3) of states (p, s, tau) (..., 3)."""
        p, s, tau = state.unbind(-1)
        pull = tau - (1.0 + self.variance) * p
        growth = p * pull - self.decay
        return torch.stack(
            [
                self.predictor_rate * s * pull - self.decay * p,
                2.0 * s * growth,
                self.momentum_rate * (1.0 - tau) - tau * growth,
            ],
            dim=-1,
        )

    def simulate(self, state: Tensor, *, rows: int, steps: int = 500, step: float = 0.01) -> Tensor:
        """The trajectory by the classical Runge-Kutta method: (rows, ..., 3), the start first, then
        every ``steps`` steps."""
        trajectory = [state]
        for _ in range(rows - 1):
            for _ in range(steps):
                k1 = self.velocity(state)
                k2 = self.velocity(state + 0.5 * step * k1)
                k3 = self.velocity(state + 0.5 * step * k2)
                k4 = self.velocity(state + step * k3)
                state = state + step / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
            trajectory.append(state)
        return torch.stack(trajectory)

    def fixed_points(self, tau: Tensor) -> tuple[Tensor, Tensor]:
        """The unstable p- and the stable p+ on s = p^2 / rate; NaN where weight decay leaves 0
        alone.

        A mode collapses to 0 if p starts below p-.
        """
        stretch = 1.0 + self.variance
        root = (tau.square() - 4.0 * self.decay * stretch).sqrt()
        return (tau - root) / (2.0 * stretch), (tau + root) / (2.0 * stretch)

    def matrix_velocity(
        self, predictor: Tensor, weight: Tensor, target: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The same flow before the modes are separated: derivatives of W_p (D, D), W (D, M) and W_a
        (D, M)."""
        error = target - (1.0 + self.variance) * predictor @ weight
        return (
            self.predictor_rate * error @ weight.T - self.decay * predictor,
            predictor.T @ error - self.decay * weight,
            self.momentum_rate * (weight - target),
        )
