"""Semantic cluster distillation: a video's tokens must fall into the clusters of its images.

Source: "Self-supervised Learning of Echocardiographic Video Representations via Online Cluster
Distillation" (DISCOVR) 2025.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from nearfar.losses.kernels.similarity import (
    expect_shapes,
    expect_temperature,
    full_precision,
    unit,
)
from nearfar.targets.sinkhorn import sinkhorn

__all__ = ["cluster_distillation", "masked_self_distillation", "standard_tokens"]


@torch.no_grad()
def standard_tokens(features: Tensor) -> Tensor:
    """Patch features of frames, standardised over the patches of each frame.

        (f - mean over patches) / (deviation over patches (n - 1) + 1e-6)

    Args:
        features: (..., P, D).

    Example:
        >>> import torch
        >>> standard_tokens(torch.tensor([[[1.0], [3.0]]])).round(decimals=3)
        tensor([[[-0.7070],
                 [ 0.7070]]])

    Source: DISCOVR 2025, authors' code.
    """
    mean = features.mean(dim=-2, keepdim=True)
    return (features - mean) / (features.std(dim=-2, keepdim=True) + 1e-6)


@full_precision
def cluster_distillation(
    student: Tensor,
    teacher: Tensor,
    prototypes: Tensor,
    *,
    temperature: float = 0.1,
    epsilon: float = 0.05,
    iterations: int = 10,
    soft: bool = False,
) -> dict[str, Tensor]:
    """Student tokens predict the teacher's cluster, and the reverse without gradient.

        s = cos(student token, prototype), t likewise;  Q = sinkhorn of all tokens of the batch
        student = CE(s / tau, argmax Q(t)),  teacher = CE(t / tau, argmax Q(s)), a constant

    Args:
        student: (N, L, D) tokens in the order of space and time.
        teacher: (N, L, D) in the same order; constants.
        prototypes: (K, D) unit rows; NOT made unit rows here.
        temperature: tau, above 0.
        epsilon: Softness of the assignment, above 0.
        iterations: Of Sinkhorn's.
        soft: Whether targets are Q itself in the place of its largest entry.

    Returns:
        "student", which has the gradient, and "teacher".

    Example:
        >>> import torch
        >>> tokens = torch.eye(2)[None]
        >>> cluster_distillation(tokens, tokens, torch.eye(2), temperature=1.0)["student"]
        tensor(0.3133)

    Source: DISCOVR 2025, equation 6.
    """
    expect_shapes(
        student=(student, "N L D"), teacher=(teacher, "N L D"), prototypes=(prototypes, "K D")
    )
    expect_temperature(temperature)
    expect_temperature(epsilon, "epsilon")
    scores = unit(student.flatten(0, 1)) @ prototypes.T
    given = unit(teacher.detach().flatten(0, 1)) @ prototypes.detach().T
    codes = [
        sinkhorn(one.detach(), epsilon=epsilon, iterations=iterations) for one in (given, scores)
    ]
    wanted, other = codes if soft else [one.argmax(dim=1) for one in codes]
    return {
        "student": cross_entropy(scores / temperature, wanted),
        "teacher": cross_entropy(given / temperature, other),
    }


@full_precision
def masked_self_distillation(
    student: Tensor,
    teacher: Tensor,
    centre: Tensor,
    *,
    temperature: float = 0.1,
    teacher_temperature: float = 0.07,
) -> Tensor:
    """Masked views must predict what a teacher says of the whole.

        loss = mean over views v and samples n of -sum_k p_nk log softmax(s_vn / tau)_k
        p = softmax((t - centre) / teacher temperature), a constant

    Args:
        student: (V, N, K) logits of masked views.
        teacher: (N, K) logits of the whole; constants.
        centre: (K,) or (1, K), the running mean of raw teacher logits.
        temperature: tau, above 0.
        teacher_temperature: Above 0.

    Example:
        >>> import torch
        >>> masked_self_distillation(torch.zeros(2, 3, 4), torch.zeros(3, 4), torch.zeros(4))
        tensor(1.3863)

    Source: Caron et al. 2021 (DINO), as DISCOVR 2025 has it.
    """
    expect_shapes(student=(student, "V N K"), teacher=(teacher, "N K"))
    expect_temperature(temperature)
    expect_temperature(teacher_temperature, "teacher_temperature")
    target = ((teacher.detach() - centre) / teacher_temperature).softmax(dim=1)
    return -(target * (student / temperature).log_softmax(dim=2)).sum(dim=2).mean()
