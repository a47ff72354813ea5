"""Standardised features in their principal axes: the coordinates in which the linear probes are
solved.

An L2 penalty on the weights does not notice a rotation, and weights outside the span of the data
are 0 at the optimum. Turning features into their principal axes therefore changes no solution, but
makes the curvature diagonal (ridge regression is closed form for all penalties, logistic regression
well conditioned) and few samples few dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Affine:
    """A linear model on plain features: ``features @ weight + bias``, with weight (D, K) and bias
    (K,).
    """

    weight: Tensor
    bias: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """(N, D) to (N, K)."""
        return features @ self.weight + self.bias


@dataclass(frozen=True)
class Principal:
    """The turn from features (N, D) to coordinates (N, R), with R at most N and D.

    Attributes:
        mean: (D,) of the features.
        axes: (D, R); the coordinates are ``(features - mean) @ axes``. Division by the deviation is
            part of them.
        variance: (R,) of each coordinate, above 0.
    """

    mean: Tensor
    axes: Tensor
    variance: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """Coordinates (N, R) of features (N, D)."""
        return (features - self.mean) @ self.axes

    def unturned(self, weight: Tensor, bias: Tensor) -> Affine:
        """The model on plain features that equals ``coordinates @ weight + bias``."""
        weight = self.axes @ weight
        return Affine(weight, bias - self.mean @ weight)


def principal(features: Tensor) -> Principal:
    """Principal axes of the standardised features (N, D); constant features take no part.

    Axes with less than a millionth of the largest variance are rounding noise in float32 and are
    dropped.
    """
    mean = features.mean(dim=0)
    deviation = features.std(dim=0, correction=0)
    varies = deviation > 10 * torch.finfo(features.dtype).eps * mean.abs()
    scale = torch.where(varies, 1 / deviation.where(varies, deviation.new_ones(())), 0)
    x = (features - mean) * scale
    if len(x) >= x.shape[1]:
        variance, axes = torch.linalg.eigh(x.T @ x / len(x))
    else:  # the same axes from the smaller (N, N) matrix
        variance, left = torch.linalg.eigh(x @ x.T / len(x))
        axes = x.T @ left / (len(x) * variance.clamp(min=torch.finfo(x.dtype).tiny)).sqrt()
    kept = variance > 1e-6 * variance[-1]
    return Principal(mean, scale[:, None] * axes[:, kept], variance[kept])
