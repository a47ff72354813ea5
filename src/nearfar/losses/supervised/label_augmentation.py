"""Joint labels of class and transformation, their aggregation and its distillation (SLA)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, log_softmax, softmax

from nearfar.losses.kernels.similarity import expect_shapes, expect_temperature, full_precision

__all__ = ["aggregated", "joint_labels", "label_augmentation", "self_distillation", "single"]


def joint_labels(label: Tensor, transformations: int) -> Tensor:
    """(N,) classes to (N * M,) joint labels ``class * M + transformation``, sample-major."""
    steps = torch.arange(transformations, device=label.device)
    return (label[:, None] * transformations + steps).flatten()


@full_precision
def label_augmentation(
    joint_logits: Tensor, label: Tensor, transformations: int, *, total: bool = False
) -> Tensor:
    """Cross-entropy of the joint labels.

    Args:
        joint_logits: (N * M, C * M), rows sample-major.
        label: (N,) int64 classes.
        transformations: M.
        total: sum over the transformations of a sample instead of their mean (M times as much).

    Example:
        >>> import torch
        >>> from nearfar.losses.supervised.label_augmentation import label_augmentation
        >>> label_augmentation(torch.zeros(4, 6), torch.tensor([0, 1]), transformations=2)
        tensor(1.7918)

    Source: Lee et al. 2020 (SLA), equation 2; the sum as in its large-scale experiments.
    """
    _expect_joint(joint_logits, label, transformations)
    loss = cross_entropy(joint_logits, joint_labels(label, transformations))
    return loss * transformations if total else loss


@full_precision
def aggregated(joint_logits: Tensor, transformations: int) -> Tensor:
    """Class logits (N, C) by averaging, over the transformations, the joint logits of the
    transformation that was applied.

        A_nc = 1/M sum_m J[n M + m, c M + m]

    Source: Lee et al. 2020 (SLA), equation 3.
    """
    samples, classes = (length // transformations for length in joint_logits.shape)
    rows = joint_logits.reshape(samples, transformations, classes, transformations)
    return rows.diagonal(dim1=1, dim2=3).mean(-1)


def single(joint_logits: Tensor, transformations: int) -> Tensor:
    """Class logits (N, C) of the untransformed rows alone. Source: Lee et al. 2020 (SLA), single
    inference."""
    return joint_logits[::transformations, ::transformations]


@full_precision
def self_distillation(
    single_logits: Tensor,
    joint_logits: Tensor,
    label: Tensor,
    transformations: int,
    *,
    temperature: float = 1.0,
) -> Tensor:
    """Train a plain head on the labels and on the aggregated prediction.

        CE(u, y) + T^2 KL( softmax(sg(A) / T) || softmax(u / T) )

    Args:
        single_logits: u, (N, C) of the plain head on the untransformed samples.
        joint_logits: (N * M, C * M); no gradient reaches them.
        label: (N,) int64.
        transformations: M.
        temperature: T, above 0.

    Example:
        >>> import torch
        >>> from nearfar.losses.supervised.label_augmentation import self_distillation
        >>> single, joint = torch.zeros(2, 3), torch.zeros(4, 6)
        >>> self_distillation(single, joint, torch.tensor([0, 1]), transformations=2)
        tensor(1.0986)

    Source: Lee et al. 2020 (SLA), equation 4.
    """
    _expect_joint(joint_logits, label, transformations)
    expect_shapes(single_logits=(single_logits, "N C"), label=(label, "N"))
    expect_temperature(temperature)
    teacher = softmax(aggregated(joint_logits.detach(), transformations) / temperature, dim=1)
    divergence = kl_div(
        log_softmax(single_logits / temperature, dim=1), teacher, reduction="batchmean"
    )
    return cross_entropy(single_logits, label) + temperature**2 * divergence


def _expect_joint(joint_logits: Tensor, label: Tensor, transformations: int) -> None:
    """Raise ValueError unless there is a row for each sample and transformation, and a column for
    each class and transformation."""
    fits = joint_logits.ndim == 2 and label.ndim == 1 and 0 not in joint_logits.shape
    if (
        not fits
        or len(joint_logits) != len(label) * transformations
        or joint_logits.shape[1] % transformations
    ):
        found = f"{tuple(joint_logits.shape)} and {tuple(label.shape)} with M = {transformations}"
        raise ValueError(
            f"Expected joint_logits (N M, C M) and label (N,), none of them empty; found {found}."
        )
