"""Reference cases by name pattern, for parametrised tests; and the comparison of a value and its
gradients with them.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from tests.references import reference_names as named

__all__ = ["close", "degenerate", "finite_with_gradient", "leaves", "named"]


def leaves(case: Mapping[str, Tensor], *names: str) -> list[Tensor]:
    """Inputs ``in_NAME`` as fresh tensors that collect gradients."""
    return [case[f"in_{name}"].clone().requires_grad_() for name in names]


def close(found: Tensor, expected: Tensor, rtol: float = 1e-8) -> None:
    """Equal to a relative error of ``rtol``, measured against the largest entry."""
    scale = expected.abs().max().item() if expected.numel() else 0.0
    torch.testing.assert_close(
        found.detach().to(expected.dtype), expected, rtol=rtol, atol=rtol * scale
    )


def degenerate(dimension: int = 4) -> list[pytest.param]:
    """Embeddings on which every loss must stay finite with finite gradients."""
    zero = torch.randn(
        6, dimension, generator=torch.Generator().manual_seed(3), dtype=torch.float64
    )
    zero[2] = 0
    identical = torch.ones(6, dimension, dtype=torch.float64)
    orthogonal = torch.eye(6, dimension, dtype=torch.float64)
    return [
        pytest.param(z, id=name)
        for z, name in ((zero, "a zero row"), (identical, "identical"), (orthogonal, "orthogonal"))
    ]


def finite_with_gradient(loss: Tensor, *inputs: Tensor) -> None:
    """The loss and its gradient with respect to each input are finite."""
    assert torch.isfinite(loss)
    for gradient in torch.autograd.grad(loss, inputs, allow_unused=True):
        assert gradient is None or torch.isfinite(gradient).all()
