"""Contrastive learning of transitions, and bonuses for what is little known.

Source: Qiu et al. 2022, "Contrastive UCB: Provably Efficient Contrastive Self-Supervised Learning
in Online Reinforcement Learning".
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from nearfar.losses.kernels.similarity import (
    expect_rows,
    expect_shapes,
    expect_temperature,
    full_precision,
)

__all__ = [
    "bonus_return",
    "elliptical_bonus",
    "latent_prediction",
    "projected_distribution",
    "transition_contrast",
]


@full_precision
def transition_contrast(first: Tensor, second: Tensor, label: Tensor) -> Tensor:
    """Tell transitions that were seen from pairs that were not, by a product of features.

        f = first . second > 0;  loss = mean y log(1 + 1/f) + (1 - y) log(1 + f)

    Its minimum is at f = P(s' | s, a) / P(s').

    Args:
        first: (N, d) features of state and action, not negative.
        second: (N, d) features of the next state, not negative.
        label: (N,) y, 1 for a transition and 0 for a pair.

    Example:
        >>> import torch
        >>> ones = torch.ones(2, 1)
        >>> transition_contrast(ones, ones, torch.tensor([1, 0]))
        tensor(0.6931)

    Source: Qiu et al. 2022, equation 4.
    """
    expect_rows(first=first, second=second)
    expect_shapes(first=(first, "N d"), label=(label, "N"))
    ratio = (first * second).sum(dim=1).clamp(min=torch.finfo(first.dtype).tiny)
    y = label.to(first)
    # log(1 + 1/f) = log(1 + f) - log f, and log(1 + f) does not overflow where f is finite.
    return (ratio.log1p() - y * ratio.log()).mean()


@torch.no_grad()
def elliptical_bonus(
    features: Tensor, covariance: Tensor | None = None, *, ridge: float = 1e-5, scale: float = 1.0
) -> tuple[Tensor, Tensor]:
    """How little is known where features point, after they were counted.

        S <- S + sum_i f_i f_i^T, S = ridge I at first;  bonus_i = scale sqrt(f_i^T S^-1 f_i)

    Args:
        features: (N, d).
        covariance: (d, d) S of before; None for the first.
        ridge: Above 0.
        scale: From 0 on.

    Returns:
        (N,) bonuses, 0 where one is not a number, and (d, d) the new S.

    Example:
        >>> import torch
        >>> bonus, _ = elliptical_bonus(torch.eye(2), ridge=1.0)
        >>> bonus
        tensor([0.7071, 0.7071])

    Source: Qiu et al. 2022, equation 7.
    """
    if features.ndim != 2 or not ridge > 0:
        found = f"{tuple(features.shape)} and ridge {ridge}"
        raise ValueError(f"features (N, d) and a ridge above 0; found {found}.")
    eye = torch.eye(features.shape[1], dtype=features.dtype, device=features.device)
    grown = (ridge * eye if covariance is None else covariance) + features.T @ features
    inner = (features * torch.linalg.solve(grown, features.T).T).sum(dim=1)
    return scale * torch.nan_to_num(inner.clamp(min=0).sqrt(), nan=0.0), grown


def bonus_return(bonus: Tensor, done: Tensor, *, steps: int = 10, discount: float = 0.99) -> Tensor:
    """Bonuses of the next steps, added up.

        B_t = sum over i < steps of discount^i bonus_{t+i} (1 - done_t)

    Args:
        bonus: (T, ...) of each step.
        done: (T', ...), T' >= T - steps, whether an episode ended; read at t alone.
        steps: n, from 1 to T - 1.
        discount: From 0 to 1.

    Returns:
        (T, ...); 0 where fewer than n steps follow t.

    Example:
        >>> import torch
        >>> bonus_return(torch.ones(4), torch.zeros(2), steps=2, discount=0.5)
        tensor([1.5000, 1.5000, 0.0000, 0.0000])

    Source: SPR-UCB, Qiu et al. 2022, section 6.
    """
    whole = len(bonus) - steps
    if steps < 1 or whole < 1 or len(done) < whole:
        found = f"{len(bonus)} bonuses, {len(done)} ends and {steps} steps"
        raise ValueError(f"More bonuses than steps, and an end for each sum; found {found}.")
    total = sum(
        (discount**i * bonus[i : i + whole] for i in range(steps)), torch.zeros_like(bonus[:whole])
    )
    result = torch.zeros_like(bonus)
    result[:whole] = total * (1 - done[:whole].to(bonus))
    return result


@torch.no_grad()
def projected_distribution(
    probability: Tensor, returns: Tensor, done: Tensor, atoms: Tensor, *, discount: float
) -> Tensor:
    """A distribution of values moved by a return and put back on the atoms.

        each atom z moves to clip(return + (1 - done) discount z), and its probability is shared
        linearly by the two atoms around it

    Args:
        probability: (N, A).
        returns: (N,), with bonuses where they are wanted.
        done: (N,) whether the episode ended.
        atoms: (A,) evenly spaced, rising.
        discount: gamma to the number of steps.

    Returns:
        (N, A).

    Example:
        >>> import torch
        >>> atoms, p = torch.tensor([0.0, 1.0]), torch.tensor([[1.0, 0.0]])
        >>> projected_distribution(p, torch.tensor([0.25]), torch.zeros(1), atoms, discount=1.0)
        tensor([[0.7500, 0.2500]])

    Source: Bellemare et al. 2017, "A Distributional Perspective on Reinforcement Learning",
    algorithm 1.
    """
    expect_shapes(
        probability=(probability, "N A"),
        returns=(returns, "N"),
        done=(done, "N"),
        atoms=(atoms, "A"),
    )
    keep = (1 - done.to(probability))[:, None]
    moved = (returns[:, None] + keep * discount * atoms).clamp(atoms[0], atoms[-1])
    width = (atoms[-1] - atoms[0]) / (len(atoms) - 1)
    near = (1 - (moved[:, None] - atoms[:, None]).abs() / width).clamp(0, 1)
    return (near * probability[:, None]).sum(dim=2)


@full_precision
def latent_prediction(
    prediction: Tensor, target: Tensor, there: Tensor, *, weight: float = 5.0
) -> Tensor:
    """Latents rolled out by a transition model must be those that a target network sees.

        l_tn = |unit(p_tn) - unit(q_tn)|^2 = 2 - 2 cos
        loss = weight * mean over steps t >= 1 and rows n of there_tn l_tn

    Args:
        prediction: (K + 1, N, D) p of steps 0 to K.
        target: (K + 1, N, D) q; constants.
        there: (K + 1, N), 0 after an episode's end.
        weight: From 0 on.

    Example:
        >>> import torch
        >>> p = torch.eye(2)[:, None]
        >>> latent_prediction(p, p.flip(0), torch.ones(2, 1))
        tensor(10.)

    Source: Schwarzer et al. 2021, "Data-Efficient Reinforcement Learning with Self-Predictive
    Representations", equation 3.
    """
    expect_shapes(
        2, prediction=(prediction, "K N D"), target=(target, "K N D"), there=(there, "K N")
    )
    expect_temperature(weight, "weight", zero=True)
    p, q = (normalize(x, dim=2, eps=1e-3) for x in (prediction[1:], target[1:].detach()))
    errors = (p - q).square().sum(dim=2) * there[1:].to(p)
    return weight * errors.mean()
