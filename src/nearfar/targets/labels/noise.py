"""Which labels are noisy: by small losses, and by a line that small losses have taught.

Source: Arazo et al. 2019 and Li et al. 2020 (DivideMix) for the mixture; Albert et al. 2024, "An
accurate detection is not all you need to combat label noise in web-noisy datasets", for the line.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar.errors import UserError

__all__ = ["confidence_weights", "high_mode", "linear_noise", "small_loss_noise"]


def high_mode(values: Tensor, *, seed: int = 0) -> Tensor:
    """Probability (N,) of the higher of two Gaussians that are mixed in (N,) values.

    The values are first scaled to 0 and 1. Of equal values none is high.

    Args:
        values: At least 2; infinite ones count as the largest finite one.
        seed: Of the mixture's start.

    Example:
        >>> high_mode(torch.tensor([0.0, 0.1, 0.1, 5.0, 5.1])).round().tolist()
        [0.0, 0.0, 0.0, 1.0, 1.0]
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    held = values.detach().cpu().double().numpy().copy()
    finite = np.isfinite(held)
    if held.ndim != 1 or len(held) < 2 or np.isnan(held).any() or not finite.any():
        raise UserError(f"A mixture needs at least 2 finite numbers (N,); found {held.shape}.")
    held[~finite] = np.where(held[~finite] > 0, held[finite].max(), held[finite].min())
    span = held.max() - held.min()
    if span == 0:
        return torch.zeros(len(held), dtype=torch.float64)
    scaled = ((held - held.min()) / span)[:, None]
    mixture = GaussianMixture(2, max_iter=10, tol=1e-2, reg_covar=5e-4, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # ten rounds are the rule
        chance = mixture.fit(scaled).predict_proba(scaled)
    return torch.from_numpy(chance[:, mixture.means_.argmax()])


def small_loss_noise(losses: Tensor, *, threshold: float = 0.95, seed: int = 0) -> Tensor:
    """Labels (N,) bool of which the loss is of the high mode with more than a probability.

    Args:
        losses: (N,).
        threshold: Least probability, exclusive.
        seed: Of the mixture's start.

    >>> small_loss_noise(torch.tensor([0.0, 0.1, 0.1, 5.0, 5.1])).tolist()
    [False, False, False, True, True]
    """
    return high_mode(losses, seed=seed) > threshold


def linear_noise(features: Tensor, noisy: Tensor, *, unit: bool = True) -> tuple[Tensor, Tensor]:
    """Labels that a line through features finds noisy, and their probability.

    Unpenalised logistic regression with balanced classes, fitted on a first decision. Where that
    decision has one kind only it is returned as it is.

    Args:
        features: (N, D).
        noisy: (N,) bool, such as by small losses.
        unit: Whether features become unit rows and are standardised first.

    Returns:
        (N,) bool, and (N,) probabilities.

    Example:
        >>> features = torch.tensor([[0.0], [1.0], [2.0], [9.0], [8.0]])
        >>> first = torch.tensor([False, False, True, True, True])
        >>> linear_noise(features, first, unit=False)[0].tolist()
        [False, False, True, True, True]
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    rows = features.detach().cpu().double()
    if rows.ndim != 2 or noisy.shape != (len(rows),):
        raise UserError(
            f"Features (N, D) and flags (N,); found {tuple(rows.shape)} and {tuple(noisy.shape)}."
        )
    target = noisy.cpu().bool().numpy()
    if target.all() or not target.any():
        return torch.from_numpy(target), torch.from_numpy(target.astype(np.float64))
    if unit:
        rows = torch.nn.functional.normalize(rows, dim=1)
        spread = rows.std(dim=0, correction=0)
        rows = (rows - rows.mean(dim=0)) / torch.where(spread > 0, spread, 1)
    model = LogisticRegression(C=np.inf, class_weight="balanced", max_iter=10_000, tol=1e-8)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", ConvergenceWarning
        )  # separable flags: any steep line will do
        warnings.simplefilter("ignore", RuntimeWarning)
        chance = model.fit(rows.numpy(), target).predict_proba(rows.numpy())[:, 1]
    return torch.from_numpy(chance > 0.5), torch.from_numpy(chance)


def confidence_weights(pseudo_losses: Tensor, noisy: Tensor, *, seed: int = 0) -> Tensor:
    """How much each sample counts: 1 with a clean label, else more with a lower pseudo-loss.

        w_i = probability of the low mode among the pseudo-losses of noisy samples

    Args:
        pseudo_losses: (N,) cross-entropy of predictions with pseudo-labels; infinity is allowed.
        noisy: (N,) bool; of two or fewer noisy samples each weighs 1.
        seed: Of the mixture's start.

    Example:
        >>> noisy = torch.tensor([False, True, True, True, True])
        >>> confidence_weights(torch.tensor([9.0, 0.1, 0.1, 5.0, 5.0]), noisy).round().tolist()
        [1.0, 1.0, 1.0, 0.0, 0.0]
    """
    flags: NDArray[np.bool_] = noisy.cpu().bool().numpy()
    weights = torch.ones(len(pseudo_losses), dtype=torch.float64)
    if flags.sum() > 2:
        place = torch.from_numpy(flags)
        weights[place] = 1 - high_mode(pseudo_losses.detach().cpu()[place], seed=seed)
    return weights
