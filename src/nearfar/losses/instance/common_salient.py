"""Contrastive analysis: a common space for all samples, a salient space for what only targets have
(SepCLR).

All kernels are Gaussian: k(a, b) = exp(-||a - b||^2 / (2 tau)). Matrices of all pairs are made in
blocks (see ``blocks``).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nearfar.losses.kernels.blocks import in_row_blocks, squared_distances
from nearfar.losses.kernels.similarity import (
    expect_rows,
    expect_shapes,
    expect_temperature,
    expect_values,
    full_precision,
    unit,
)

__all__ = [
    "alignment",
    "attribute_alignment",
    "joint_entropy",
    "log_uniformity",
    "sepclr",
    "sepclr_with_attributes",
]


@full_precision
def alignment(first: Tensor, second: Tensor, *, temperature: float = 0.5) -> Tensor:
    """mean_i ||a_i - b_i||^2 / (2 tau) of (N, D) rows; 0 for N = 0.

    Example:
        >>> import torch
        >>> from nearfar.losses.instance.common_salient import alignment
        >>> alignment(torch.eye(3), torch.zeros(3, 3))
        tensor(1.)

    Source: Louiset et al. 2024 (SepCLR), equation 3.
    """
    expect_temperature(temperature)
    if first.ndim != 2 or first.shape != second.shape:
        found = f"{tuple(first.shape)} and {tuple(second.shape)}"
        raise ValueError(f"first and second must be matrices of one shape (N, D); found {found}.")
    return (first - second).square().sum() / (2 * temperature * max(len(first), 1))


@full_precision
def log_uniformity(z: Tensor, *, temperature: float = 0.5) -> Tensor:
    """log mean_{i < j} k(z_i, z_j) of (N, D) rows, N at least 2. Source: Louiset et al. 2024; Wang
    and Isola 2020.

    Example:
        >>> import torch
        >>> from nearfar.losses.instance.common_salient import log_uniformity
        >>> log_uniformity(torch.eye(3))
        tensor(-2.)
    """
    expect_rows(least=2, z=z)
    expect_temperature(temperature)
    wide = _centred(z)

    def rows(block: slice) -> Tensor:
        exponents = (squared_distances(wide[block], wide) / (-2 * temperature)).to(z.dtype)
        exponents.diagonal(block.start).fill_(-math.inf)
        return exponents.logsumexp(dim=1)

    return in_row_blocks(rows, z).logsumexp(dim=0) - math.log(
        len(z) * (len(z) - 1)
    )  # each pair in both orders


def _centred(z: Tensor) -> Tensor:
    """The rows less their mean, which changes no distance, in float64.

    A distance is put together from products: between rows 1,000 apart, float32 would err by 0.1.
    Only MPS lacks float64.
    """
    wide = z if z.device.type == "mps" else z.double()
    return wide - wide.mean(dim=0)


def _expect_views(
    common: tuple[Tensor, Tensor], salient: tuple[Tensor, Tensor], target: Tensor
) -> None:
    """Raise ValueError unless both views of both spaces have a row for each entry of ``target``."""
    c1, c2, s1, s2 = (
        (view, axes) for space, axes in ((common, "N D"), (salient, "N E")) for view in space
    )
    expect_shapes(c1=c1, c2=c2, s1=s1, s2=s2, target=(target, "N"))
    types = {view.dtype for view in (*common, *salient)}
    if len(types) > 1 or not common[0].is_floating_point():
        found = ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in types))
        raise ValueError(
            f"All embeddings must be of one floating-point type; found {found}: convert them to "
            "one."
        )


def _expect_spaces(common: Tensor, salient: Tensor) -> None:
    if common.ndim != 2 or salient.ndim != 2 or len(common) != len(salient) or len(common) == 0:
        found = f"{tuple(common.shape)} and {tuple(salient.shape)}"
        raise ValueError(
            "common (N, D) and salient (N, E) must be matrices with a row for each of N samples; "
            f"found {found}."
        )


@full_precision
def joint_entropy(common: Tensor, salient: Tensor, *, temperature: float = 0.5) -> Tensor:
    """k-JEM, mean_i log mean_j k(c_i, c_j) k(s_i, s_j), j running over all rows: minus an estimate
    of the joint entropy.

    Args:
        common: (N, D) common embeddings.
        salient: (N, E) salient embeddings.

    Example:
        >>> import torch
        >>> from nearfar.losses.instance.common_salient import joint_entropy
        >>> joint_entropy(torch.eye(3), torch.zeros(3, 2))
        tensor(-0.8591)

    Source: Louiset et al. 2024 (SepCLR), kernel joint entropy.
    """
    _expect_spaces(common, salient)
    expect_temperature(temperature)
    both = _centred(torch.cat([common, salient], dim=1))

    def rows(block: slice) -> Tensor:
        exponents = (squared_distances(both[block], both) / (-2 * temperature)).to(common.dtype)
        exponents.diagonal(block.start).fill_(0.0)
        return exponents.logsumexp(dim=1)

    return in_row_blocks(rows, both).mean() - math.log(len(both))


@full_precision
def sepclr(
    common: tuple[Tensor, Tensor],
    salient: tuple[Tensor, Tensor],
    target: Tensor,
    *,
    temperature: float = 0.5,
) -> dict[str, Tensor]:
    """The four unweighted terms of SepCLR without attributes.

    Args:
        common: projections of two views in the common space, (N, D) each, normalised here.
        salient: projections of two views in the salient space, (N, E) each, not normalised.
        target: (N,) bool, true for targets, false for background; both must be there for their
            terms.

    Returns:
        "common" (alignment + 2 x uniformity), "salient" (the same on targets, with background rows
        at 0 in the uniformity), "background" (salient rows of background to 0), "joint_entropy".

    Example:
        >>> import torch
        >>> from nearfar.losses.instance.common_salient import sepclr
        >>> c, s, target = torch.eye(4), torch.eye(4), torch.tensor([True, True, False, False])
        >>> terms = sepclr((c, c), (s, s), target)
        >>> sorted(terms)
        ['background', 'common', 'joint_entropy', 'salient']
        >>> terms["background"]
        tensor(1.)

    Source: Louiset et al. 2024 (SepCLR), objective and the authors' code for the factor 2.
    """
    _expect_views(common, salient, target)
    (c1, c2) = (unit(view) for view in common)
    (s1, s2) = salient
    kept = target[:, None].to(s1.dtype)
    # rows of the other kind become the constant 0
    t1 = s1 * kept
    t2 = s2 * kept
    b1 = s1 * (1 - kept)
    b2 = s2 * (1 - kept)
    targets, background = (len(s1) / count.clamp(min=1) for count in (kept.sum(), (1 - kept).sum()))
    uniformity = [log_uniformity(z, temperature=temperature) for z in (c1, c2, t1, t2)]
    return {
        "common": alignment(c1, c2, temperature=temperature) + uniformity[0] + uniformity[1],
        "salient": targets * alignment(t1, t2, temperature=temperature)
        + uniformity[2]
        + uniformity[3],
        "background": background
        * alignment(
            torch.cat([b1, b2]), torch.zeros_like(s1).repeat(2, 1), temperature=temperature
        ),
        "joint_entropy": (
            joint_entropy(c1, t1, temperature=temperature)
            + joint_entropy(c2, t2, temperature=temperature)
        )
        / 2,
    }


@full_precision
def attribute_alignment(latent: Tensor, attribute: Tensor, *, bandwidth: float = 0.025) -> Tensor:
    """mean_{i < j} exp(-(a_i - a_j)^2 / (2 bandwidth)) (x_i - x_j)^2: alike attributes, alike
    latents.

    Args:
        latent: (N,) one salient dimension, N at least 2.
        attribute: (N,) its attribute; a discrete one takes a tiny bandwidth such as 5e-6.

    Example:
        >>> import torch
        >>> from nearfar.losses.instance.common_salient import attribute_alignment
        >>> attribute_alignment(torch.tensor([0.0, 1.0, 2.0]), torch.tensor([5.0, 5.0, 6.0]))
        tensor(0.3333)

    Source: Louiset et al. 2024 (SepCLR), supervised salient attributes.
    """
    expect_shapes(least=2, latent=(latent, "N"), attribute=(attribute, "N"))
    count = len(latent)

    def rows(block: slice) -> Tensor:
        likeness = (-(attribute[block, None] - attribute).square() / (2 * bandwidth)).exp()
        return (likeness * (latent[block, None] - latent).square()).sum(dim=1)

    return in_row_blocks(rows, latent).sum() / (count * (count - 1))


@full_precision
def sepclr_with_attributes(
    common: tuple[Tensor, Tensor],
    latents: Tensor,
    attributes: Tensor,
    target: Tensor,
    *,
    discrete: bool = False,
    temperature: float = 0.5,
    bandwidth: float = 0.025,
) -> dict[str, Tensor]:
    """The unweighted terms of SepCLR when attributes of the targets are known: a salient dimension
    for each, ordered by it.

        salient = mean over attributes a of  log_uniformity(x~_a) +
                ( attribute_alignment(x_a on targets) + mean x_a^2 / (2 tau) ) / 2,
        the mean over background, x~_a the latent with background at 0, tau the bandwidth (discrete:
        the temperature)

    Args:
        common: projections of two views in the common space, (N, D) each, normalised here.
        latents: (N, A) salient projection of the first view.
        attributes: (N, A) of the targets; rows of background are not looked at.
        target: (N,) bool, true for targets; at least two.
        discrete: whether attributes are classes, alike only when equal.
        temperature: of the kernels, above 0.
        bandwidth: of likeness in a continuous attribute, above 0.

    Returns:
        "common" (alignment + mean uniformity), "salient", "joint_entropy".

    ``torch.compile`` breaks the graph where the targets are picked out, since their number depends
    on the data.

    Source: Louiset et al. 2024 (SepCLR), supervised objective, as in the authors' code.
    """
    expect_values("sepclr_with_attributes", target=target)
    expect_shapes(latents=(latents, "N A"), attributes=(attributes, "N A"), target=(target, "N"))
    _expect_views(common, (latents, latents), target)
    c1, c2 = (unit(view) for view in common)
    masked = latents * target[:, None].to(latents.dtype)
    background = latents[~target]
    near, pull = (5e-6, temperature) if discrete else (bandwidth, bandwidth)
    terms = [
        log_uniformity(masked[:, a : a + 1], temperature=temperature)
        + attribute_alignment(latents[target, a], attributes[target, a], bandwidth=near) / 2
        + alignment(background[:, a : a + 1], torch.zeros_like(background[:, :1]), temperature=pull)
        / 2
        for a in range(latents.shape[1])
    ]
    spread = (
        log_uniformity(c1, temperature=temperature) + log_uniformity(c2, temperature=temperature)
    ) / 2
    return {
        "common": alignment(c1, c2, temperature=temperature) + spread,
        "salient": torch.stack(terms).mean(),
        "joint_entropy": joint_entropy(c1, masked, temperature=temperature),
    }
