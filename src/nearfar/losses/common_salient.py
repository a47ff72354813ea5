"""Contrastive analysis: a common space for all samples, a salient space for what only targets have (SepCLR).

All kernels are Gaussian: k(a, b) = exp(-||a - b||^2 / (2 tau)).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize


def alignment(first: Tensor, second: Tensor, *, temperature: float = 0.5) -> Tensor:
    """mean_i ||a_i - b_i||^2 / (2 tau) of (N, D) rows; 0 for N = 0.

    Source: Louiset et al. 2024 (SepCLR), equation 3.
    """
    return (first - second).square().sum(1).sum() / (2 * temperature * max(len(first), 1))


def log_uniformity(z: Tensor, *, temperature: float = 0.5) -> Tensor:
    """log mean_{i < j} k(z_i, z_j) of (N, D) rows, N at least 2. Source: Louiset et al. 2024; Wang and Isola 2020."""
    count = len(z)
    exponents = -_squared_distances(z) / (2 * temperature)
    pairs = torch.ones(count, count, dtype=torch.bool, device=z.device).triu(1)
    return exponents[pairs].logsumexp(0) - torch.tensor(count * (count - 1) / 2, dtype=z.dtype, device=z.device).log()


def joint_entropy(common: Tensor, salient: Tensor, *, temperature: float = 0.5) -> Tensor:
    """k-JEM, mean_i log mean_j k(c_i, c_j) k(s_i, s_j), j running over all rows: minus an estimate of the joint entropy.

    Args:
        common: (N, D) common embeddings.
        salient: (N, E) salient embeddings.

    Source: Louiset et al. 2024 (SepCLR), kernel joint entropy.
    """
    exponents = -(_squared_distances(common) + _squared_distances(salient)) / (2 * temperature)
    return (exponents.logsumexp(1) - torch.tensor(float(len(common)), dtype=common.dtype, device=common.device).log()).mean()


def sepclr(common: tuple[Tensor, Tensor], salient: tuple[Tensor, Tensor], target: Tensor, *, temperature: float = 0.5) -> dict[str, Tensor]:
    """The four unweighted terms of SepCLR without attributes.

    Args:
        common: projections of two views in the common space, (N, D) each, normalised here.
        salient: projections of two views in the salient space, (N, E) each, not normalised.
        target: (N,) bool, true for targets, false for background; both must be there for their terms.

    Returns:
        "common" (alignment + 2 x uniformity), "salient" (the same on targets, with background rows at 0 in the uniformity),
        "background" (salient rows of background to 0), "joint_entropy".

    Source: Louiset et al. 2024 (SepCLR), objective and the authors' code for the factor 2.
    """
    c1, c2 = (normalize(c, dim=1) for c in common)
    s1, s2 = salient
    kept = target[:, None].to(s1.dtype)
    t1, t2 = s1 * kept, s2 * kept  # a background row becomes the constant 0
    uniformity = [log_uniformity(z, temperature=temperature) for z in (c1, c2, t1, t2)]
    background = ~target
    zero = torch.zeros_like(s1[background])
    return {
        "common": alignment(c1, c2, temperature=temperature) + uniformity[0] + uniformity[1],
        "salient": alignment(s1[target], s2[target], temperature=temperature) + uniformity[2] + uniformity[3],
        "background": sum((alignment(zero, s[background], temperature=temperature) for s in (s1, s2)), torch.zeros_like(c1[0, 0])) / 2,
        "joint_entropy": (joint_entropy(c1, t1, temperature=temperature) + joint_entropy(c2, t2, temperature=temperature)) / 2,
    }


def attribute_alignment(latent: Tensor, attribute: Tensor, *, bandwidth: float = 0.025) -> Tensor:
    """mean_{i < j} exp(-(a_i - a_j)^2 / (2 bandwidth)) (x_i - x_j)^2: alike attributes, alike latents.

    Args:
        latent: (N,) one salient dimension.
        attribute: (N,) its attribute; a discrete one takes a tiny bandwidth such as 5e-6.

    Source: Louiset et al. 2024 (SepCLR), supervised salient attributes.
    """
    likeness = (-(attribute[:, None] - attribute).square() / (2 * bandwidth)).exp()
    count = len(latent)
    return (likeness * (latent[:, None] - latent).square()).sum() / (count * (count - 1))


def _squared_distances(z: Tensor) -> Tensor:
    """(N, N), through differences: exact zeros on the diagonal and no cancellation."""
    return (z[:, None] - z).square().sum(2)
