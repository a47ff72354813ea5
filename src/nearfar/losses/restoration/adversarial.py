"""Adversarial losses: a critic tells real images from made ones, and a generator deceives it.

With r the critic's logits of real images and f those of made ones:

| kind | critic | generator |
|---|---|---|
| bce | mean -log s(r) + mean -log(1 - s(f)) | mean -log s(f) |
| lsgan | mean (r - 1)^2 / 2 + mean f^2 / 2 | mean (f - 1)^2 / 2 |
| hinge | mean max(0, 1 - r) + mean max(0, 1 + f) | -mean f |
| hinge-of-mean | max(0, 1 - mean r) + max(0, 1 + mean f) | -mean f |
| wgan | mean f - mean r | -mean f |
| rsgan | mean -log s(r - f) | mean -log s(f - r) |
| rasgan | (mean -log s(r - E f) + mean -log(1 - s(f - E r))) / 2 | r and f exchanged |
| dual-contrast | h(r, f) + h(-f, -r) | h(f, r) + h(-r, -f) |

s is the logistic function, E the mean over the batch, and
h(u, v) = mean_i -log( exp(u_i) / (exp(u_i) + sum_j exp(v_j)) ) over all logits of the batch.

The caller detaches the made images while the critic is moved, and holds the critic's parameters
(not its activations) while the generator is moved. Where a term holds the real logits as well
(rsgan, rasgan, dual-contrast), the generator needs them.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import relu, softplus

from nearfar.errors import UserError
from nearfar.losses.kernels.similarity import full_precision
from nearfar.losses.restoration.inputs import expect_choice, expect_pictures

__all__ = ["KINDS", "critic", "generator"]

KINDS = ("bce", "lsgan", "hinge", "hinge-of-mean", "wgan", "rsgan", "rasgan", "dual-contrast")
"""The adversarial losses that ``critic`` and ``generator`` know."""
_COMPARED = ("rsgan", "rasgan", "dual-contrast")


@full_precision
def critic(real: Tensor, made: Tensor, *, kind: str = "bce") -> Tensor:
    """The critic's loss: high logits for real images, low ones for made ones.

    Args:
        real: (N, ...) logits of real images; one or several (patches) an image.
        made: Logits of made images; of the same shape for "rsgan" and, but for N, "rasgan".
        kind: The row of the table above, one of ``KINDS``.

    Returns:
        A scalar.

    Raises:
        UserError: If ``kind`` is unknown, or the logits are empty or no floating-point numbers.

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.adversarial import critic
        >>> critic(torch.tensor([2.0]), torch.tensor([-2.0]), kind="hinge")
        tensor(0.)

    Source: Goodfellow et al. 2014 (bce); Mao et al. 2017 (lsgan); Lim and Ye 2017 (hinge); Arjovsky
    et al. 2017 (wgan); Jolicoeur-Martineau 2018 (rsgan, rasgan); Yu et al. 2021 (dual-contrast).
    """
    _expect_logits(kind, real, made)
    if kind == "bce":
        return softplus(-real).mean() + softplus(made).mean()
    if kind == "lsgan":
        return (real - 1).square().mean() / 2 + made.square().mean() / 2
    if kind == "hinge":
        return relu(1 - real).mean() + relu(1 + made).mean()
    if kind == "hinge-of-mean":
        return relu(1 - real.mean()) + relu(1 + made.mean())
    if kind == "wgan":
        return made.mean() - real.mean()
    if kind == "rsgan":
        return softplus(made - real).mean()
    if kind == "rasgan":
        return _above_average(real, made)
    return _picked_out(real, made) + _picked_out(-made, -real)


@full_precision
def generator(made: Tensor, real: Tensor | None = None, *, kind: str = "bce") -> Tensor:
    """The generator's loss: made images are taken for real ones.

    Args:
        made: (N, ...) logits of made images.
        real: Logits of real images; needed by "rsgan", "rasgan" and "dual-contrast" and ignored by
            the other kinds.
        kind: The row of the table above, one of ``KINDS``.

    Returns:
        A scalar.

    Raises:
        UserError: If ``kind`` is unknown, if ``real`` is needed and missing, or if the logits are
            empty or no floating-point numbers.

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.adversarial import generator
        >>> generator(torch.tensor([0.0, 0.0]), kind="bce")
        tensor(0.6931)

    Source: As ``critic``. The mean over the batch is taken where SRGAN's paper sums.
    """
    if kind in _COMPARED:
        if real is None:
            raise UserError(
                f"The generator's loss of kind {kind!r} needs the logits of real images."
            )
        return critic(made, real, kind=kind)
    _expect_logits(kind, made, made)
    if kind == "bce":
        return softplus(-made).mean()
    if kind == "lsgan":
        return (made - 1).square().mean() / 2
    return -made.mean()


def _expect_logits(kind: str, real: Tensor, made: Tensor) -> None:
    expect_choice("kind", kind, KINDS)
    for name, logits in (("real", real), ("made", made)):
        axes = " ".join(f"{name}{axis}" for axis in range(logits.ndim))
        expect_pictures(**{name: (logits, axes or "N")})
    if real.dtype != made.dtype:
        raise UserError(f"real and made must be of one type; found {real.dtype} and {made.dtype}.")
    same = real.shape == made.shape if kind == "rsgan" else real.shape[1:] == made.shape[1:]
    if kind in ("rsgan", "rasgan") and not same:
        raise UserError(
            f"The kind {kind!r} compares logits of one shape;"
            f" found real {tuple(real.shape)} and made {tuple(made.shape)}."
        )


def _above_average(high: Tensor, low: Tensor) -> Tensor:
    """(mean -log s(high - E low) + mean -log(1 - s(low - E high))) / 2."""
    above = softplus(low.mean(dim=0, keepdim=True) - high).mean()
    below = softplus(low - high.mean(dim=0, keepdim=True)).mean()
    return (above + below) / 2


def _picked_out(one: Tensor, others: Tensor) -> Tensor:
    """mean_i -log( exp(one_i) / (exp(one_i) + sum_j exp(others_j)) ) over all logits."""
    among = others.flatten().logsumexp(dim=0)
    return softplus(among - one).mean()
