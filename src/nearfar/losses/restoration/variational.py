"""The expected-loss variational autoencoder: any image distance in place of the likelihood."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor

from nearfar.losses.kernels.similarity import full_precision
from nearfar.losses.restoration.inputs import expect_number, expect_pictures, per_image
from nearfar.ranges import above

__all__ = ["expected_loss", "gaussian_kl", "reparametrised"]


@full_precision
def gaussian_kl(mean: Tensor, log_variance: Tensor, *, reduction: str = "mean") -> Tensor:
    """Divergence of a diagonal Gaussian from the standard one.

        kl_n = sum_d ( mean_nd^2 + exp(log_variance_nd) - 1 - log_variance_nd ) / 2

    Args:
        mean: (N, D).
        log_variance: (N, D).
        reduction: "mean" for a scalar, or "none" for (N,).

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.variational import gaussian_kl
        >>> gaussian_kl(torch.ones(1, 2), torch.zeros(1, 2))
        tensor(1.)

    Source: Kingma and Welling 2014, appendix B.
    """
    expect_pictures(mean=(mean, "N D"), log_variance=(log_variance, "N D"))
    each = mean.square() + log_variance.exp() - 1 - log_variance
    return per_image(each.sum(dim=1) / 2, reduction)


@full_precision
def expected_loss(
    mean: Tensor,
    log_variance: Tensor,
    distance: Tensor,
    *,
    weight: float = 1000.0,
    reduction: str = "mean",
) -> Tensor:
    """Divergence of the code plus the weighted image distance of one sample's reconstruction.

        loss_n = KL( N(mean_n, exp(log_variance_n)) || N(0, 1) ) + weight distance_n

    Args:
        mean: (N, D) of the code.
        log_variance: (N, D).
        distance: (N,) image distance, such as 1 - MS-SSIM, of the input and of what the decoder
            makes of ``reparametrised`` codes.
        weight: C, above 0; balances the distance against the divergence, 100 to 1000 as a start.
        reduction: "mean" for a scalar, or "none" for (N,).

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.variational import expected_loss
        >>> expected_loss(torch.ones(1, 2), torch.zeros(1, 2), torch.tensor([0.5]), weight=10.0)
        tensor(6.)

    Source: Snell et al. 2017, "Learning to Generate Images with Perceptual Similarity Metrics".
    """
    expect_number(Annotated[float, above(0)], weight=weight)
    expect_pictures(
        mean=(mean, "N D"), log_variance=(log_variance, "N D"), distance=(distance, "N")
    )
    divergence = gaussian_kl(mean, log_variance, reduction="none")
    return per_image(divergence + weight * distance, reduction)


def reparametrised(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """A code drawn from the Gaussian: mean + exp(log_variance / 2) noise, with gradient to both.

    Args:
        mean: (N, D).
        log_variance: (N, D).
        noise: (N, D) standard normal numbers, drawn by the caller.

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.variational import reparametrised
        >>> reparametrised(torch.ones(1, 1), torch.zeros(1, 1), torch.tensor([[2.0]]))
        tensor([[3.]])

    Source: Kingma and Welling 2014.
    """
    expect_pictures(mean=(mean, "N D"), log_variance=(log_variance, "N D"), noise=(noise, "N D"))
    return mean + (log_variance / 2).exp() * noise
