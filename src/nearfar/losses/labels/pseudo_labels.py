"""Training with noisy labels: mixed cross-entropy and contrast with pseudo-labels and weights.

Source: Albert et al. 2024, "An accurate detection is not all you need to combat label noise in
web-noisy datasets" (PLS-LSA).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from nearfar.losses.kernels.similarity import (
    expect_shapes,
    expect_temperature,
    full_precision,
    unit,
)

__all__ = ["mixed_class_contrast", "mixed_pseudo_cross_entropy", "pseudo_targets", "uniform_prior"]


@torch.no_grad()
def pseudo_targets(
    logits: Tensor, label: Tensor, noisy: Tensor, *, gamma: float = 2.0
) -> tuple[Tensor, Tensor]:
    """Sharpened predictions, and what each sample is trained on.

        g = softmax(logits)^gamma / sum,   t_i = g_i if i is noisy, else one-hot label

    Args:
        logits: (N, C) of a weak view.
        label: (N,) int64 given classes.
        noisy: (N,) bool.
        gamma: Sharpness, above 0.

    Returns:
        (N, C) g and (N, C) t.

    Example:
        >>> import torch
        >>> noisy = torch.tensor([True, False])
        >>> _, t = pseudo_targets(torch.zeros(2, 2), torch.tensor([1, 1]), noisy)
        >>> t
        tensor([[0.5000, 0.5000],
                [0.0000, 1.0000]])

    Source: Albert et al. 2024, section 3.4.
    """
    expect_shapes(logits=(logits, "N C"), label=(label, "N"), noisy=(noisy, "N"))
    expect_temperature(gamma, "gamma")
    guess = (gamma * logits.log_softmax(dim=1)).softmax(dim=1)
    given = one_hot(label, logits.shape[1]).to(guess)
    return guess, torch.where(noisy.bool()[:, None], guess, given)


@full_precision
def mixed_pseudo_cross_entropy(
    logits: Tensor, target: Tensor, weight: Tensor, order: Tensor, *, share: float
) -> Tensor:
    """Weighted cross-entropy of mixed inputs.

        L = share sum_i w_i CE(t_i, l_i) / sum w + (1 - share) sum_i w_o(i) CE(t_o(i), l_i) / sum w

    Where all weights are 0 the loss is 0.

    Args:
        logits: (N, C) of share x_i + (1 - share) x_o(i).
        target: (N, C) distributions; constants.
        weight: (N,) from 0 to 1; constants.
        order: (N,) int64 permutation o.
        share: Of the first input, from 0 to 1.

    Example:
        >>> import torch
        >>> order, one = torch.tensor([1, 0]), torch.ones(2)
        >>> mixed_pseudo_cross_entropy(torch.zeros(2, 2), torch.eye(2), one, order, share=0.7)
        tensor(0.6931)

    Source: Albert et al. 2024, equation 5; Zhang et al. 2018 (mixup).
    """
    expect_shapes(
        logits=(logits, "N C"), target=(target, "N C"), weight=(weight, "N"), order=(order, "N")
    )
    _check_share(share)
    logs = logits.log_softmax(dim=1)
    scale = weight.detach().to(logits)
    held = target.detach().to(logits) * scale[:, None]
    mixed = share * held + (1 - share) * held[order]
    total = scale.sum()
    return -(mixed * logs).sum() / torch.where(total > 0, total, 1)


@full_precision
def mixed_class_contrast(
    first: Tensor,
    second: Tensor,
    target: Tensor,
    order: Tensor,
    *,
    share: float,
    temperature: float | Tensor = 0.2,
) -> Tensor:
    """A mixed image must find the second views of its two classes.

        s = cos(first_i, second_j) / tau
        M_ij = 1 if argmax t_i = argmax t_j, else 0, rows divided by their sum
        L = mean_i [ share CE(M_i, s_i) + (1 - share) CE(M_o(i), s_i) ]

    Args:
        first: (N, D) of mixed images, made unit rows here.
        second: (N, D) of a second view of the unmixed images.
        target: (N, C) distributions; constants.
        order: (N,) int64 permutation o.
        share: Of the first image, from 0 to 1.
        temperature: tau, above 0; a scalar tensor receives its gradient.

    Example:
        >>> import torch
        >>> z = torch.eye(2)
        >>> mixed_class_contrast(z, z, z, torch.tensor([0, 1]), share=1.0, temperature=1.0)
        tensor(0.3133)

    Source: Albert et al. 2024, equation 6.
    """
    expect_shapes(
        first=(first, "N D"), second=(second, "N D"), target=(target, "N C"), order=(order, "N")
    )
    expect_temperature(temperature)
    _check_share(share)
    logs = (unit(first) @ unit(second).T / temperature).log_softmax(dim=1)
    group = target.detach().argmax(dim=1)
    same = (group[:, None] == group).to(logs)
    same = same / same.sum(dim=1, keepdim=True)
    return -((share * same + (1 - share) * same[order]) * logs).sum(dim=1).mean()


@full_precision
def uniform_prior(logits: Tensor) -> Tensor:
    """The mean prediction of a batch must be uniform.

        L = sum_c 1/C log( (1/C) / mean_i softmax(logits_i)_c )

    Args:
        logits: (N, C).

    Example:
        >>> import torch
        >>> uniform_prior(torch.zeros(2, 4)).abs() < 1e-6
        tensor(True)

    Source: Tanaka et al. 2018, "Joint Optimization Framework for Learning with Noisy Labels",
    equation 8.
    """
    expect_shapes(logits=(logits, "N C"))
    mean_log = logits.log_softmax(dim=1).logsumexp(dim=0) - math.log(len(logits))
    return -mean_log.mean() - math.log(logits.shape[1])


def _check_share(share: float) -> None:
    if not 0 <= share <= 1:
        raise ValueError(f"The share of the first input is {share}; expected 0 to 1.")
