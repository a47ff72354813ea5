"""Mixed Barlow Twins: embeddings of mixed inputs must correlate with both views as the same mix of
the unmixed would.

    x_m = a x1 + (1 - a) x2[p],   R = z_m - a z1 - (1 - a) z2[p]
    loss = Barlow Twins + lambda_reg lambda ( |R^T z1 / N|^2 + |R^T z2 / N|^2 )

with every embedding standardised over the batch by its own statistics (unbiased, and without the
constant that Barlow Twins adds). R^T z1 / N is the paper's difference between the mixed batch's
correlation with the first view and its target; targets pass gradients. The authors' ImageNet script
has a wrong second target, which ``as_coded`` reproduces.

Source: Bandara et al. 2023, "Guarding Barlow Twins Against Overfitting with Mixed Samples", section
3.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nearfar.losses.kernels.similarity import expect_rows, full_precision

__all__ = [
    "Mix",
    "draw_mix",
    "mixed_barlow_twins",
    "mixed_barlow_twins_terms",
    "mixing_regulariser",
    "standardise_exactly",
]


@dataclass(frozen=True)
class Mix:
    """How one batch is mixed; called with two views of N samples, or with their embeddings, it
    gives their mix.

    Attributes:
        share: a, of the first view, in [0, 1], one for the whole batch.
        partner: (N,) int64, the second view that each first view is mixed with.
    """

    share: Tensor | float
    partner: Tensor

    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        return self.share * first + (1.0 - self.share) * second[self.partner]


def draw_mix(samples: int, *, generator: torch.Generator) -> Mix:
    """A uniform share, the paper's Beta(1, 1), and a permutation of ``samples``, on the generator's
    device."""
    share = torch.rand((), generator=generator, device=generator.device)
    return Mix(share, torch.randperm(samples, generator=generator, device=generator.device))


@full_precision
def mixed_barlow_twins(
    z1: Tensor,
    z2: Tensor,
    mixed: Tensor,
    mix: Mix,
    *,
    off_diagonal: float = 0.0078125,
    regularisation: float = 4.0,
) -> Tensor:
    """The sum of the two terms of ``mixed_barlow_twins_terms``.

    Args:
        z1: (N, D) projections of view 1, N at least 2; the authors bring rows to unit length on
            small data, not on ImageNet.
        z2: (N, D) of view 2.
        mixed: (N, D) of the mixed inputs.
        mix: how the inputs were mixed.
        off_diagonal: lambda, of the squared off-diagonal correlations.
        regularisation: lambda_reg, relative to lambda; the ImageNet script has 0.5.

    Example:
        >>> import torch
        >>> from nearfar.losses.redundancy.mixed_redundancy import Mix, mixed_barlow_twins
        >>> z = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
        >>> mix = Mix(0.5, torch.tensor([0, 1, 2, 3]))
        >>> mixed_barlow_twins(z, z, mix(z, z), mix) < 1e-6
        tensor(False)
    """
    terms = mixed_barlow_twins_terms(z1, z2, mixed, mix, off_diagonal=off_diagonal)
    return terms["barlow_twins"] + regularisation * terms["mixing"]


@full_precision
def mixed_barlow_twins_terms(
    z1: Tensor,
    z2: Tensor,
    mixed: Tensor,
    mix: Mix,
    *,
    off_diagonal: float = 0.0078125,
    as_coded: bool = False,
) -> dict[str, Tensor]:
    """The loss without lambda_reg: "barlow_twins" and "mixing", which has lambda in it.

    Args:
        z1: (N, D), N at least 2.
        z2: (N, D).
        mixed: (N, D).
        mix: how the inputs were mixed.
        off_diagonal: lambda.
        as_coded: see ``mixing_regulariser``.
    """
    expect_rows(least=2, z1=z1, z2=z2, mixed=mixed)
    z1, z2, mixed = (standardise_exactly(z, correction=1) for z in (z1, z2, mixed))
    correlation = z1.T @ z2 / len(z1)
    diagonal = correlation.diagonal()
    off = correlation - diagonal.diag()
    return {
        "barlow_twins": (diagonal - 1.0).square().sum() + off_diagonal * off.square().sum(),
        "mixing": off_diagonal * mixing_regulariser(z1, z2, mixed, mix, as_coded=as_coded),
    }


@full_precision
def mixing_regulariser(
    z1: Tensor, z2: Tensor, mixed: Tensor, mix: Mix, *, as_coded: bool = False
) -> Tensor:
    """|R^T z1 / N|^2 + |R^T z2 / N|^2; exactly 0 where the mixed embedding is the mix of the
    embeddings.

    Args:
        z1: (N, D), standardised already.
        z2: (N, D), likewise.
        mixed: (N, D), likewise.
        mix: how the inputs were mixed.
        as_coded: mix z2 with itself in the second term, as the authors' ImageNet script does by
            mistake.
    """
    expect_rows(z1=z1, z2=z2, mixed=mixed)
    first = mixed - mix(z1, z2)
    second = mixed - mix(z2, z2) if as_coded else first
    return (first.T @ z1 / len(z1)).square().sum() + (second.T @ z2 / len(z2)).square().sum()


def standardise_exactly(z: Tensor, *, correction: int) -> Tensor:
    """Columns of (..., N, D) to mean 0 and variance 1 over N, with nothing added to the variance; a
    constant column becomes 0.

    Args:
        z: (..., N, D).
        correction: 1 for the unbiased variance, 0 for the biased one.
    """
    variance, mean = torch.var_mean(z, dim=-2, correction=correction, keepdim=True)
    return (z - mean) * variance.clamp(min=1e-12).rsqrt()
