"""Label-agnostic forgetting: embeddings leave the space of what is to be forgotten."""

from __future__ import annotations

import torch
from torch import Tensor

from nearfar.losses.kernels.similarity import expect_shapes, expect_temperature, full_precision

__all__ = [
    "embedding_vae_loss",
    "extractor_unlearning",
    "reconstruction_score",
    "representation_alignment",
]

_SQUARES = 1e-12
"""Added to each squared norm of a cosine."""


@full_precision
def reconstruction_score(features: Tensor, prediction: Tensor) -> Tensor:
    """How badly embeddings are reconstructed, summed; each counts from 1 to e.

        S = sum_i exp(l_i / (l_i + 1)),   l_i = |prediction_i - features_i|^2

    Args:
        features: (N, D) embeddings.
        prediction: (N, D) their reconstructions; both receive gradient.

    Example:
        >>> import torch
        >>> reconstruction_score(torch.zeros(2, 3), torch.zeros(2, 3))
        tensor(2.)

    Source: Shen et al. 2024, "Label-Agnostic Forgetting", equation 7.
    """
    expect_shapes(features=(features, "N D"), prediction=(prediction, "N D"))
    distance = (prediction - features).square().sum(dim=1)
    return (distance / (distance + 1)).exp().sum()


@full_precision
def extractor_unlearning(
    remain: Tensor, remain_prediction: Tensor, forget: Tensor, forget_prediction: Tensor
) -> Tensor:
    """Remaining embeddings keep to the model of all data, forgotten ones leave theirs.

        loss = S(remain, remain_prediction) - S(forget, forget_prediction)
        S = reconstruction_score

    Args:
        remain: (N, D) embeddings of data that stay.
        remain_prediction: (N, D) their reconstruction by the model of all data.
        forget: (M, D) embeddings of data to be forgotten.
        forget_prediction: (M, D) their reconstruction by the model of these data.

    Example:
        >>> import torch
        >>> z = torch.zeros(2, 3)
        >>> extractor_unlearning(z, z, z, z)
        tensor(0.)

    Source: Shen et al. 2024, "Label-Agnostic Forgetting", equation 8.
    """
    kept = reconstruction_score(remain, remain_prediction)
    return kept - reconstruction_score(forget, forget_prediction)


@full_precision
def representation_alignment(
    features: Tensor,
    teacher: Tensor,
    forget: Tensor,
    forget_teacher: Tensor,
    *,
    temperature: float | Tensor = 20.0,
) -> Tensor:
    """Remaining embeddings return to the frozen teacher's, forgotten ones move away from it.

        loss = sum_i [ d_i - log sum_j exp(d'_j / tau) ],   d = 1 - cos(embedding, teacher's)

    i runs over remaining samples, j over those to be forgotten.

    Args:
        features: (N, D) of remaining samples.
        teacher: (N, D) the frozen extractor's; constants.
        forget: (M, D).
        forget_teacher: (M, D); constants.
        temperature: tau, above 0; divides the distances of forgotten samples only.

    Example:
        >>> import torch
        >>> z = torch.eye(2)
        >>> representation_alignment(z, z, z, z.flip(0), temperature=1.0)
        tensor(-3.3863)

    Source: Shen et al. 2024, "Label-Agnostic Forgetting", equation 9.
    """
    expect_shapes(
        features=(features, "N D"),
        teacher=(teacher, "N D"),
        forget=(forget, "M D"),
        forget_teacher=(forget_teacher, "M D"),
    )
    expect_temperature(temperature)
    remaining = 1 - _cosine(features, teacher.detach())
    forgotten = 1 - _cosine(forget, forget_teacher.detach())
    return remaining.sum() - len(features) * (forgotten / temperature).logsumexp(dim=0)


@full_precision
def embedding_vae_loss(
    prediction: Tensor, features: Tensor, mean: Tensor, deviation: Tensor, *, weight: float = 0.025
) -> Tensor:
    """Loss of a variational autoencoder of embeddings.

        1/N sum_i |prediction_i - features_i|^2
          - weight / 2 * 1/N sum_i sum_k [ log(s_ik^2 + 1e-8) + 1 - m_ik^2 - s_ik^2 ]

    Args:
        prediction: (N, D) reconstructions.
        features: (N, D) embeddings.
        mean: (N, K) m.
        deviation: (N, K) s, standard deviations.
        weight: Of the divergence from a standard normal, from 0 on.

    Example:
        >>> import torch
        >>> z, m = torch.zeros(2, 3), torch.zeros(2, 1)
        >>> embedding_vae_loss(z + 1, z, m, m + 1)
        tensor(3.)

    Source: Kingma and Welling 2014 in the form of Shen et al. 2024.
    """
    expect_shapes(
        prediction=(prediction, "N D"),
        features=(features, "N D"),
        mean=(mean, "N K"),
        deviation=(deviation, "N K"),
    )
    if not weight >= 0:
        raise ValueError(f"The weight of the divergence is {weight}; expected at least 0.")
    error = (prediction - features).square().sum(dim=1)
    variance = deviation.square()
    divergence = ((variance + 1e-8).log() + 1 - mean.square() - variance).sum(dim=1)
    return (error - weight / 2 * divergence).mean()


def _cosine(first: Tensor, second: Tensor) -> Tensor:
    lengths = [(x.square().sum(dim=1) + _SQUARES).sqrt() for x in (first, second)]
    return (first * second).sum(dim=1) / torch.mul(*lengths)
