"""Hints: a student's features are drawn to a teacher's of the same sample.

    mse:     1 / D |s - t|^2          cosine:  1 - cos(s, t)

The teacher is a constant. Of maps the mean over their places is taken.

Source: Romero et al. 2015, "FitNets: Hints for Thin Deep Nets", equation 3, which halves the sum
over dimensions instead of averaging it; the cosine compares directions alone.
"""

from __future__ import annotations

from torch import Tensor

from nearfar.losses.kernels.similarity import full_precision, reduce, unit

__all__ = ["hint"]


@full_precision
def hint(student: Tensor, teacher: Tensor, *, form: str = "mse", reduction: str = "mean") -> Tensor:
    """The distance of a student's features from a teacher's.

    Args:
        student: (N, D) features, or (N, L, D) of L places.
        teacher: The same shape; receives no gradient.
        form: "mse" or "cosine".
        reduction: "mean" over the N samples, or "none": (N,).

    Raises:
        ValueError: If shapes differ, or the form is unknown.

    Example:
        >>> import torch
        >>> from nearfar.losses.distillation.hints import hint
        >>> student, teacher = torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 0.0]])
        >>> hint(student, teacher), hint(student, teacher, form="cosine")
        (tensor(0.5000), tensor(0.))
    """
    if student.shape != teacher.shape or student.ndim not in (2, 3) or 0 in student.shape:
        raise ValueError(
            "Expected features (N, D) or (N, L, D) of student and teacher, of one shape and not "
            f"empty; found {tuple(student.shape)} and {tuple(teacher.shape)}."
        )
    target = teacher.detach().to(student.dtype)
    if form == "mse":
        places = (student - target).square().mean(dim=-1)
    elif form == "cosine":
        places = 1 - (unit(student) * unit(target)).sum(dim=-1)
    else:
        raise ValueError(f"Unknown form {form!r}: valid are 'mse' and 'cosine'.")
    return reduce(places.flatten(1).mean(dim=1) if places.ndim > 1 else places, reduction)
