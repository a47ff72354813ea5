"""How alike two sets of features of the same samples are."""

from __future__ import annotations

from torch import Tensor

from nearfar.errors import UserError

__all__ = ["linear_alignment"]


def linear_alignment(first: Tensor, second: Tensor) -> float:
    """Linear centred kernel alignment, from 0 to 1.

        |X^T Y|^2 / ( |X^T X| |Y^T Y| ), columns centred, Frobenius norms

    Args:
        first: (N, D) X.
        second: (N, E) Y of the same samples.

    Returns:
        The alignment; NaN where one set does not vary.

    Example:
        >>> x = torch.tensor([[0.0, 1.0], [1.0, 0.0], [2.0, 5.0]])
        >>> round(linear_alignment(x, 3 * x.flip(1) + 1), 6)
        1.0

    Source: Kornblith et al. 2019, "Similarity of Neural Network Representations Revisited",
    equation 3 in its linear form.
    """
    if first.ndim != 2 or second.ndim != 2 or len(first) != len(second):
        found = f"{tuple(first.shape)} and {tuple(second.shape)}"
        raise UserError(f"Features (N, D) and (N, E) of the same samples; found {found}.")
    x, y = (one.detach().cpu().double() for one in (first, second))
    x, y = x - x.mean(dim=0), y - y.mean(dim=0)
    return float((x.T @ y).square().sum() / ((x.T @ x).norm() * (y.T @ y).norm()))
