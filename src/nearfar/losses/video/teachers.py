"""One student of several teachers that were trained on different tasks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nearfar.losses.kernels.similarity import expect_shapes, expect_temperature, full_precision

__all__ = ["teachers_divergence"]


@full_precision
def teachers_divergence(
    student: Tensor, teachers: Sequence[Tensor], *, temperature: float = 4.0
) -> Tensor:
    """The student must answer as each teacher does.

        loss = T^2 mean over teachers t and rows of KL( softmax(t / T) || softmax(student / T) )

    Args:
        student: (N, K) logits.
        teachers: (N, K) logits of each; constants.
        temperature: T, above 0.

    Example:
        >>> import torch
        >>> teachers_divergence(torch.zeros(1, 2), [torch.tensor([[4.0, 0.0]])])
        tensor(1.7751)

    Source: Hinton et al. 2015, "Distilling the Knowledge in a Neural Network", for several
    teachers.
    """
    expect_temperature(temperature)
    if not teachers:
        raise ValueError("A student needs at least one teacher; found none.")
    logs = (student / temperature).log_softmax(dim=1)
    losses = []
    for teacher in teachers:
        expect_shapes(student=(student, "N K"), teacher=(teacher, "N K"))
        said = (teacher.detach().to(student) / temperature).log_softmax(dim=1)
        losses.append((said.exp() * (said - logs)).sum(dim=1).mean())
    return temperature**2 * torch.stack(losses).mean()
