"""An assignment under noise as a loss, with the gradient of implicit likelihood."""

from __future__ import annotations

from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from nearfar.losses.kernels.similarity import expect_shapes, full_precision

__all__ = ["assignment_by_noise"]


@full_precision
def assignment_by_noise(
    scores: Tensor,
    noise: Tensor,
    *,
    strength: float = 2.0,
    input_temperature: float = 1.0,
    target_temperature: float = 1.0,
) -> Tensor:
    """The Hamming loss of an assignment with noise, with the gradient of implicit likelihood.

        v_s = MAP(theta + T noise_s),  loss = mean over draws s of the Hamming loss of v_s
        dloss/dtheta = mean_s [ v_s - MAP(theta - lambda dloss/dv_s + T' noise_s) ]

    Args:
        scores: (n, n) theta; the assignment with the highest sum is wanted.
        noise: (S, n, n) draws.
        strength: lambda, above 0; the difference is not divided by it.
        input_temperature: T.
        target_temperature: T'.

    Returns:
        Scalar loss of the identity as the truth.

    Example:
        >>> import torch
        >>> theta = torch.zeros(2, 2, requires_grad=True)
        >>> draws = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
        >>> assignment_by_noise(theta, draws).item()
        4.0

    Source: Niepert et al. 2021, "Implicit MLE: Backpropagating Through Discrete Exponential Family
    Distributions", algorithm 1.
    """
    expect_shapes(noise=(noise, "S n n"), scores=(scores, "n n"))
    if not strength > 0:
        raise ValueError(f"The strength of the target is {strength}; expected above 0.")
    matched: Tensor = _NoisyAssignment.apply(
        scores, noise, strength, input_temperature, target_temperature
    )
    truth = torch.eye(len(scores), dtype=scores.dtype, device=scores.device)
    return (matched * (1 - truth) + (1 - matched) * truth).sum() / len(noise)


class _NoisyAssignment(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, scores: Tensor, noise: Tensor, strength: float, warm: float, target: float
    ) -> Tensor:
        matched = _assigned(scores + warm * noise)
        ctx.save_for_backward(scores, noise, matched)
        ctx.how = strength, target
        return matched

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        scores, noise, matched = ctx.saved_tensors
        strength, target = ctx.how
        again = _assigned(scores - strength * upstream + target * noise)
        return (matched - again).mean(dim=0), None, None, None, None


def _assigned(scores: Tensor) -> Tensor:
    """The permutation with the highest sum of each of (S, n, n)."""
    found = torch.zeros_like(scores)
    for place, one in enumerate(scores.detach().cpu().double().numpy()):
        rows, columns = linear_sum_assignment(one, maximize=True)
        found[place, torch.from_numpy(rows), torch.from_numpy(columns)] = 1
    return found
