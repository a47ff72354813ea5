"""Hide busy patches more often: the entropy of patches, and masks drawn by it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nearfar.errors import UserError
from nearfar.losses.restoration.inputs import expect_pictures

__all__ = ["entropy_mask", "normalised_entropy", "patch_entropy"]


def patch_entropy(patches: Tensor) -> Tensor:
    """Bits of the histogram of each patch over 256 bins of width 1, averaged over channels.

    Args:
        patches: (N, C, H, W) with values from 0 to 255; others fall into no bin.

    Returns:
        (N,) float64.

    Example:
        >>> import torch
        >>> from nearfar.networks.dense.entropy_masking import patch_entropy
        >>> patch_entropy(torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]]))
        tensor([1.], dtype=torch.float64)

    Source: Shannon 1948; as in Uni4Eye++ (Cai et al. 2024).
    """
    expect_pictures(patches=(patches, "N C H W"))
    values = patches.flatten(2).double()
    inside = (values >= 0) & (values <= 256)
    bins = values.floor().clamp(0, 255).long()
    counts = torch.zeros(*bins.shape[:2], 256, dtype=torch.float64, device=patches.device)
    counts = counts.scatter_add(2, bins, inside.double())
    shares = counts / counts.sum(dim=2, keepdim=True).clamp(min=1)
    nats = -torch.special.xlogy(shares, shares).sum(dim=2)
    bits: Tensor = nats.mean(dim=1) / math.log(2)
    return bits


def normalised_entropy(entropy: Tensor) -> Tensor:
    """Entropies of each sample's patches from 0 for the least to 1 for the largest.

    Args:
        entropy: (N, L).

    Example:
        >>> import torch
        >>> from nearfar.networks.dense.entropy_masking import normalised_entropy
        >>> normalised_entropy(torch.tensor([[1.0, 3.0, 2.0]]))
        tensor([[0.0000, 1.0000, 0.5000]])

    Source: Uni4Eye++ (Cai et al. 2024).
    """
    expect_pictures(entropy=(entropy, "N L"))
    low, high = entropy.amin(dim=1, keepdim=True), entropy.amax(dim=1, keepdim=True)
    return (entropy - low) / (high - low).clamp(min=torch.finfo(entropy.dtype).tiny)


def entropy_mask(entropy: Tensor, noise: Tensor, *, ratio: float = 0.5) -> Tensor:
    """Keep the int(L (1 - ratio)) patches of the least noise times entropy.

    Args:
        entropy: (N, L) ``normalised_entropy``.
        noise: (N, L) drawn from U(0, 1).
        ratio: Share that is hidden, from 0 to 1.

    Returns:
        (N, L) 1 where a patch is hidden.

    Example:
        >>> import torch
        >>> from nearfar.networks.dense.entropy_masking import entropy_mask
        >>> entropy_mask(torch.tensor([[0.9, 0.1]]), torch.ones(1, 2))
        tensor([[1., 0.]])

    Source: Uni4Eye++ (Cai et al. 2024).
    """
    expect_pictures(entropy=(entropy, "N L"), noise=(noise, "N L"))
    if not 0 <= ratio <= 1:
        raise UserError(f"ratio is {ratio}; expected from 0 to 1.")
    kept = int(entropy.shape[1] * (1 - ratio))
    order = (noise * entropy).argsort(dim=1, stable=True)
    mask = torch.ones_like(entropy)
    mask[:, :kept] = 0
    return mask.gather(1, order.argsort(dim=1))
