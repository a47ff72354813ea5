"""AMCL: several projection heads, each pair of views with its own learned temperature, read as a
Gaussian's variance.

With Omega(tau) = (d / 2) log tau + 1 / tau from -log N(z | z', tau I) of unit vectors z, z' in d
dimensions,

    loss = sum over heads of  -s+ / tau+ + s- / tau-  + beta Omega(tau+) - beta Omega(tau-)

with s+ the positive's similarity and s- the hardest negative's. The released code cannot run; these
are the paper's tables. With beta < 1 the loss falls without bound as temperatures leave a finite
range, so ``pair_temperature`` keeps them in one.

Source: Wang et al. 2024, "Adaptive Multi-head Contrastive Learning", section 3 and table 2.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from nearfar.losses.kernels.blocks import gathered, nearest_rows
from nearfar.losses.kernels.similarity import expect_shapes, full_precision, unit
from nearfar.losses.redundancy.mixed_redundancy import standardise_exactly

__all__ = [
    "amcl",
    "amcl_barlow_twins",
    "amcl_info_nce",
    "amcl_simsiam",
    "gaussian_regulariser",
    "pair_temperature",
]

Temperature = Callable[[Tensor, Tensor], Tensor] | Tensor | float
"""Of pairs: a function of two sets of unit rows (..., D) that gives (...), or the values
themselves."""


def pair_temperature(
    first: Tensor, second: Tensor, *, lowest: float = 0.05, highest: float = 2.0
) -> Tensor:
    """Temperature (...) of pairs from a small network's outputs (..., E) for both: low + (high -
    low) sigmoid(<a, b>).

    Args:
        first, second: (..., E), outputs of one network shared by heads and views.
        lowest: above 0; the released sketch has 1e-5, with which the loss can fall to -1e5.
        highest: above ``lowest``.
    """
    return lowest + (highest - lowest) * torch.sigmoid((first * second).sum(dim=-1))


def gaussian_regulariser(temperature: Tensor, dimension: int) -> Tensor:
    """Omega = (dimension / 2) log tau + 1 / tau, elementwise; least at tau = 2 / dimension."""
    return 0.5 * dimension * temperature.log() + 1.0 / temperature


@full_precision
def amcl(
    z1: Tensor,
    z2: Tensor,
    *,
    temperature: Temperature,
    queue: Tensor | None = None,
    beta: float = 0.1,
    hardest: int = 1,
) -> Tensor:
    """The SimCLR and MoCo form: every row of the first view against its partner and its hardest
    negatives.

    Args:
        z1, z2: (C, N, D) projections of both views by C heads, any length; N at least 2 without a
            queue.
        temperature: of pairs. As values: (C, N, N) for all pairs of the batch, positives on the
            diagonal; with a queue (C, N, 1 + K), positives first; or anything that broadcasts to
            that.
        queue: (C, K, D) unit keys that are the negatives, without gradient; None: the other rows of
            ``z2``.
        beta: weight of the regulariser.
        hardest: number of negatives with the largest similarity, over which the two negative terms
            are averaged.

    Returns:
        the mean over rows of the sum over heads.

    Raises:
        ValueError: if shapes differ or there are no negatives.

    Example:
        >>> import torch
        >>> from nearfar.losses.instance.multi_head import amcl
        >>> z = torch.eye(3).repeat(2, 1, 1)  # two heads
        >>> amcl(z, z, temperature=0.5)
        tensor(-4.)
    """
    if z1.ndim != 3 or z1.shape != z2.shape or (queue is None and z1.shape[1] < 2):
        raise ValueError(
            "AMCL needs two tensors (C, N, D), with N at least 2 unless there is a queue; found "
            f"{tuple(z1.shape)} and {tuple(z2.shape)}."
        )
    if queue is not None:
        expect_shapes(z1=(z1, "C N D"), queue=(queue, "C K D"))
        queue = queue.to(z1.dtype)
    first = unit(z1)
    second = unit(z2)
    others = second if queue is None else queue.detach()
    count = min(hardest, others.shape[1] - (queue is None))
    nearest = nearest_rows(first, others, count, exclude=(0,) if queue is None else ())
    return _contrast(first, second, others, nearest, temperature, in_batch=queue is None, beta=beta)


@full_precision
def amcl_info_nce(z1: Tensor, z2: Tensor, *, temperature: Temperature, beta: float = 0.1) -> Tensor:
    """The form for methods whose softmax holds the positive too (LGP, CAN): the hardest of the
    negatives and the positive.

    Args:
        z1, z2, temperature, beta: as in ``amcl`` without queue.

    Example:
        >>> import torch
        >>> from nearfar.losses.instance.multi_head import amcl_info_nce
        >>> z = torch.eye(3).repeat(2, 1, 1)  # two heads
        >>> amcl_info_nce(z, z, temperature=0.5)
        tensor(0.)
    """
    expect_shapes(z1=(z1, "C N D"), z2=(z2, "C N D"))
    first = unit(z1)
    second = unit(z2)
    nearest = nearest_rows(first, second, 1)
    return _contrast(first, second, second, nearest, temperature, in_batch=True, beta=beta)


def _contrast(
    first: Tensor,
    second: Tensor,
    others: Tensor,
    nearest: Tensor,
    temperature: Temperature,
    *,
    in_batch: bool,
    beta: float,
) -> Tensor:
    """The loss of unit rows (C, N, D) against ``others`` (C, M, D) at the places ``nearest`` (C, N,
    k)."""
    heads, samples, dimension = first.shape
    negative = gathered(others, nearest)
    if callable(temperature):
        attracting = temperature(first, second)
        repelling = temperature(first[:, :, None], negative)
    else:
        columns = others.shape[1] + (not in_batch)
        table = torch.as_tensor(temperature, dtype=first.dtype, device=first.device).expand(
            heads, samples, columns
        )
        attracting = table.diagonal(dim1=1, dim2=2) if in_batch else table[..., 0]
        repelling = (table if in_batch else table[..., 1:]).gather(-1, nearest)
    attraction = (
        beta * gaussian_regulariser(attracting, dimension) - (first * second).sum(-1) / attracting
    )
    repulsion = torch.einsum(
        "cnd,cnkd->cnk", first, negative
    ) / repelling - beta * gaussian_regulariser(repelling, dimension)
    return (attraction + repulsion.mean(dim=-1)).sum(dim=0).mean()


@full_precision
def amcl_simsiam(
    p1: Tensor,
    p2: Tensor,
    z1: Tensor,
    z2: Tensor,
    *,
    temperature: Callable[[Tensor, Tensor], Tensor] | float,
    beta: float = 0.1,
) -> Tensor:
    """The SimSiam form: sum over heads of -sim / (2 tau) + beta Omega(tau), over both directions.

    Args:
        p1, p2: (C, N, D) predictions from views 1 and 2, any length.
        z1, z2: (C, N, D) projections of views 1 and 2; receive no gradient.
        temperature: of pairs (prediction, projection), as a function of unit rows or one number.
        beta: weight of the regulariser.

    Example:
        >>> import torch
        >>> from nearfar.losses.instance.multi_head import amcl_simsiam
        >>> z = torch.eye(3).repeat(2, 1, 1)  # two heads
        >>> amcl_simsiam(z, z, z, z, temperature=0.5)
        tensor(-3.6159)
    """
    expect_shapes(p1=(p1, "C N D"), p2=(p2, "C N D"), z1=(z1, "C N D"), z2=(z2, "C N D"))
    total = p1.new_zeros(())
    for p, z in ((p1, z2), (p2, z1)):
        p = unit(p)
        z = unit(z.detach())
        tau = temperature(p, z) if callable(temperature) else p.new_tensor(temperature)
        losses = beta * gaussian_regulariser(tau, p.shape[-1]) - (p * z).sum(dim=-1) / (2.0 * tau)
        total = total + losses.sum(dim=0).mean()
    return total


@full_precision
def amcl_barlow_twins(
    z1: Tensor, z2: Tensor, *, temperature: Tensor, off_diagonal: float = 0.0051, beta: float = 0.1
) -> Tensor:
    """The Barlow Twins form: one temperature for each entry of each head's cross-correlation matrix
    C.

    sum_l (1 - C_ll / tau_l)^2 + lambda sum_{l != m} C_lm^2 / tau_lm + beta (sum_l Omega(tau_l) -
    sum_{l != m} Omega(tau_lm))

    Args:
        z1, z2: (C, N, D) projections, not normalised; N at least 2.
        temperature: (C, D, D), above 0.
        off_diagonal: lambda.
        beta: weight of the regulariser.

    Returns:
        the sum over heads.

    Example:
        >>> import torch
        >>> from nearfar.losses.instance.multi_head import amcl_barlow_twins
        >>> z = torch.eye(3).repeat(2, 1, 1)  # two heads
        >>> amcl_barlow_twins(z, z, temperature=torch.ones(2, 3, 3))
        tensor(-0.5847)
    """
    expect_shapes(z1=(z1, "C N D"), z2=(z2, "C N D"))
    if temperature.shape[-2:] != (z1.shape[2],) * 2:
        raise ValueError(
            f"temperature must be (C, D, D) with D = {z1.shape[2]}; found "
            f"{tuple(temperature.shape)}."
        )
    samples, dimension = z1.shape[1:]
    correlation = (
        standardise_exactly(z1, correction=0).mT @ standardise_exactly(z2, correction=0) / samples
    )
    omega = gaussian_regulariser(temperature, dimension)
    on = (1.0 - correlation / temperature).square() + beta * omega
    off = off_diagonal * correlation.square() / temperature - beta * omega
    return torch.where(torch.eye(dimension, dtype=torch.bool, device=z1.device), on, off).sum()
