"""What DINOv2 adds to DINO: hidden patches that give the teacher's shares, and features that keep
apart.
"""

from __future__ import annotations

from torch import Tensor

from nearfar.losses.kernels.blocks import nearest_rows
from nearfar.losses.kernels.similarity import expect_temperature, full_precision, unit

__all__ = ["koleo", "masked_distillation"]

_EPSILON = 1e-8


@full_precision
def masked_distillation(
    student: Tensor, target: Tensor, counted: Tensor, *, temperature: float = 0.1
) -> Tensor:
    """iBOT's loss: at each hidden patch the student gives the teacher's shares.

        loss = 1 / N sum_n 1 / max(1, |m_n|) sum_{l in m_n} - sum_k target_nlk
               log softmax(student_nl / tau)_k

    Args:
        student: (N, M, K) logits of at most M hidden patches of each sample.
        target: (N, M, K) the teacher's shares, constants.
        counted: (N, M) bool, whether there is such a patch: the m_n of sample n.
        temperature: tau, above 0.

    Returns:
        The mean over all samples; those without a hidden patch count as 0.

    Raises:
        ValueError: If shapes do not fit.

    Example:
        >>> import torch
        >>> from nearfar.losses import masked_distillation
        >>> student, target = torch.zeros(2, 1, 4), torch.full((2, 1, 4), 0.25)
        >>> masked_distillation(student, target, torch.tensor([[True], [False]]))
        tensor(0.6931)

    Source: Zhou et al. 2022, "iBOT: Image BERT Pre-Training with Online Tokenizer", equation 2; the
    weights are those of Oquab et al. 2023 (DINOv2), authors' code.
    """
    expect_temperature(temperature)
    fits = student.ndim == 3 and student.shape == target.shape
    if not fits or counted.shape != student.shape[:2] or 0 in student.shape:
        shapes = ", ".join(str(tuple(x.shape)) for x in (student, target, counted))
        raise ValueError(
            "Expected student and target (N, M, K) and counted (N, M), none of them empty; found "
            f"{shapes}."
        )
    logits = student / temperature
    target = target.detach()
    patches = target.sum(dim=2) * logits.logsumexp(dim=2) - (target * logits).sum(dim=2)
    weight = counted.to(patches.dtype)
    return ((patches * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)).mean()


@full_precision
def koleo(z: Tensor) -> Tensor:
    """The KoLeo regulariser: each sample's unit vector is pushed away from its nearest one, which
    spreads a batch evenly.

        loss = - mean_n log(|z_n - z_nearest(n)| + 1e-8)

    Args:
        z: (N, D), N at least 2; brought to unit length here.

    Raises:
        ValueError: If there are fewer than two rows.

    Example:
        >>> import torch
        >>> from nearfar.losses import koleo
        >>> koleo(torch.tensor([[1.0, 0.0], [-2.0, 0.0]]))
        tensor(-0.6931)

    Source: Sablayrolles et al. 2019, "Spreading vectors for similarity search", equation 2; as in
    Oquab et al. 2023 (DINOv2), section 4.
    """
    if z.ndim != 2 or len(z) < 2:
        raise ValueError(f"Expected (N, D) with N at least 2, found {tuple(z.shape)}.")
    z = unit(z)
    nearest = nearest_rows(z.detach()[None], z.detach()[None], 1, exclude=(0,))[0, :, 0]
    apart = z - z[nearest] + _EPSILON
    distance: Tensor = apart.norm(dim=1)
    return -(distance + _EPSILON).log().mean()
