"""COMET: contrast of time steps, windows, trials and patients at once.

Source: Wang et al. 2023, "Contrast Everything: A Hierarchical Contrastive Framework for Medical
Time-Series".
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import max_pool1d

from nearfar.losses.kernels.similarity import (
    expect_shapes,
    expect_temperature,
    full_precision,
    unit,
)

__all__ = ["hierarchical", "identity_contrast", "observation_contrast", "sample_contrast"]


@full_precision
def sample_contrast(z1: Tensor, z2: Tensor) -> Tensor:
    """At each time step, a window must find its other view among all windows of both views.

        loss = mean over steps t and rows i of -log softmax over j != i of r_i . r_j at the partner

    r are the 2 B vectors of step t, as they are.

    Args:
        z1: (B, T, D) of the first view.
        z2: (B, T, D) of the second.

    Returns:
        Scalar; 0 for one window.

    Example:
        >>> import torch
        >>> sample_contrast(torch.zeros(2, 3, 4), torch.zeros(2, 3, 4))
        tensor(1.0986)

    Source: Yue et al. 2022 (TS2Vec), equation 2; Wang et al. 2023, equation 4.
    """
    expect_shapes(z1=(z1, "B T D"), z2=(z2, "B T D"))
    return _contrast(z1.transpose(0, 1), z2.transpose(0, 1))


@full_precision
def observation_contrast(z1: Tensor, z2: Tensor) -> Tensor:
    """In each window, a time step must find itself in the other view among all steps of both.

    The formula is that of ``sample_contrast`` with steps and windows exchanged.

    Args:
        z1: (B, T, D) of the first view.
        z2: (B, T, D) of the second.

    Returns:
        Scalar; 0 for one step.

    Example:
        >>> import torch
        >>> observation_contrast(torch.zeros(2, 3, 4), torch.zeros(2, 3, 4))
        tensor(1.6094)

    Source: Yue et al. 2022 (TS2Vec), equation 1; Wang et al. 2023, equation 3.
    """
    expect_shapes(z1=(z1, "B T D"), z2=(z2, "B T D"))
    return _contrast(z1, z2)


def hierarchical(loss: Callable[[Tensor, Tensor], Tensor], z1: Tensor, z2: Tensor) -> Tensor:
    """The mean of a loss over scales of time, each of maxima over pairs of steps.

        mean over levels l of loss(pool^l(z1), pool^l(z2)), while more than one step is there

    Args:
        loss: ``sample_contrast`` or ``observation_contrast``.
        z1: (B, T, D).
        z2: (B, T, D).

    Returns:
        Scalar; 0 for one step.

    Example:
        >>> import torch
        >>> z = torch.zeros(2, 4, 3)
        >>> hierarchical(sample_contrast, z, z)
        tensor(1.0986)

    Source: Wang et al. 2023; Yue et al. 2022, section 3.3.
    """
    expect_shapes(z1=(z1, "B T D"), z2=(z2, "B T D"))
    found = []
    while z1.shape[1] > 1:
        found.append(loss(z1, z2))
        z1, z2 = (max_pool1d(x.transpose(1, 2), 2).transpose(1, 2) for x in (z1, z2))
    return torch.stack(found).mean() if found else 0 * (z1.sum() + z2.sum())


@full_precision
def identity_contrast(
    z1: Tensor, z2: Tensor, label: Tensor, *, temperature: float | Tensor = 0.1
) -> Tensor:
    """Windows of one trial, or of one patient, must find each other in the other view.

        E = exp(cos(a_i, b_k) / tau) of windows flattened after each channel is made unit over time
        loss = 1/2 [ mean over i < k, same id, of -log(E_ik / sum_l E_il)
                     + mean over i > k, same id, of -log(E_ik / sum_l E_lk) ]

    A window's own other view is no positive.

    Args:
        z1: (B, T, D) of the first view.
        z2: (B, T, D) of the second.
        label: (B,) trial or patient of each window.
        temperature: tau, above 0; a scalar tensor receives its gradient.

    Returns:
        Scalar; 0 where no two windows share an id.

    Example:
        >>> import torch
        >>> z = torch.ones(3, 2, 1)
        >>> identity_contrast(z, z, torch.tensor([0, 0, 1]))
        tensor(1.0986)

    Source: Wang et al. 2023, equations 5 and 6, in the authors' code.
    """
    expect_shapes(z1=(z1, "B T D"), z2=(z2, "B T D"), label=(label, "B"))
    expect_temperature(temperature)
    a, b = (unit(unit(z.transpose(1, 2)).flatten(1)) for z in (z1, z2))
    similarity = a @ b.T / temperature
    same = (label[:, None] == label).to(similarity)
    above, below = same.triu(1), same.tril(-1)
    count = above.sum()
    scale = torch.where(count > 0, count, 1)
    rows = -(above * similarity.log_softmax(dim=1)).sum() / scale
    columns = -(below * similarity.log_softmax(dim=0)).sum() / scale
    return (rows + columns) / 2


def _contrast(first: Tensor, second: Tensor) -> Tensor:
    """The mean over groups (G, M, D) of contrast among the 2 M vectors of each group."""
    count = first.shape[1]
    if count == 1:
        return 0 * (first.sum() + second.sum())
    rows = torch.cat([first, second], dim=1)
    itself = torch.eye(2 * count, dtype=torch.bool, device=rows.device)
    logs = (rows @ rows.transpose(1, 2)).masked_fill(itself, -torch.inf).log_softmax(dim=2)
    forth = logs.diagonal(count, dim1=1, dim2=2)
    back = logs.diagonal(-count, dim1=1, dim2=2)
    return -torch.cat([forth, back], dim=1).mean()
