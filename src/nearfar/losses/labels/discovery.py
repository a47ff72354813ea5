"""Discovery of classes under long tails: two branches that tell each other what they know.

Source: Bai et al. 2023, "Towards Distribution-Agnostic Generalized Category Discovery" (BaCon).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nearfar.losses.kernels.similarity import expect_shapes, expect_temperature, full_precision
from nearfar.losses.labels.masked_supcon import masked_supcon

__all__ = [
    "class_prior_entropy",
    "cross_view_distillation",
    "keep_confident",
    "soft_contrast",
    "soft_labels",
]


@full_precision
def cross_view_distillation(
    logits: Tensor, *, temperature: float = 0.1, teacher_temperature: float = 0.04
) -> Tensor:
    """Each view must predict what the other view says, which is sharpened and held constant.

        loss = 1/2 [ mean_i -t1_i . log s2_i + mean_i -t2_i . log s1_i ]
        t = softmax(logits / teacher temperature), without gradient
        s = softmax(logits / temperature)

    Args:
        logits: (2, N, K) of the two views.
        temperature: Of the student, above 0.
        teacher_temperature: Above 0.

    Example:
        >>> import torch
        >>> cross_view_distillation(torch.zeros(2, 3, 4))
        tensor(1.3863)

    Source: Caron et al. 2021 without a centre, as in Bai et al. 2023.
    """
    expect_shapes(logits=(logits, "views N K"))
    expect_temperature(temperature)
    expect_temperature(teacher_temperature, "teacher_temperature")
    if len(logits) != 2:
        raise ValueError(f"cross_view_distillation takes 2 views; found {len(logits)}.")
    target = (logits.detach() / teacher_temperature).softmax(dim=2)
    logs = (logits / temperature).log_softmax(dim=2)
    return -(target.flip(0) * logs).sum(dim=2).mean()


@full_precision
def class_prior_entropy(
    logits: Tensor, counts: Tensor, *, power: float = 1.1, temperature: float = 0.1
) -> Tensor:
    """Predictions must follow the sizes of classes on average.

        loss = log K + sum_c q_c log q_c,   q_c ~ mean_i softmax(logits_i / tau)_c / counts_c^power

    q sums to 1. Equal counts, or ``power`` 0, give the mean-entropy term of SimGCD.

    Args:
        logits: (M, K) rows of all views.
        counts: (K,) sizes of the classes, above 0; constants.
        power: p, from 0 on.
        temperature: tau, above 0.

    Example:
        >>> import torch
        >>> class_prior_entropy(torch.zeros(3, 4), torch.ones(4)).abs() < 1e-6
        tensor(True)

    Source: Bai et al. 2023, equation 4; Wen et al. 2023 (SimGCD).
    """
    expect_shapes(logits=(logits, "M K"), counts=(counts, "K"))
    expect_temperature(temperature)
    mean_log = (logits / temperature).log_softmax(dim=1).logsumexp(dim=0) - math.log(len(logits))
    scaled = mean_log - power * counts.detach().to(logits).log()
    share = scaled.log_softmax(dim=0)
    return math.log(logits.shape[1]) + (share.exp() * share).sum()


@torch.no_grad()
def soft_labels(
    logits: Tensor, counts: Tensor, *, strength: float = 0.5, temperature: float = 0.1
) -> Tensor:
    """Class probabilities of each sample after the sizes of classes are taken out.

        p = mean over views of softmax( logits / tau - log(pi^strength + 1e-12) )
        pi = counts / sum of counts

    Args:
        logits: (V, N, K).
        counts: (K,) sizes of the classes.
        strength: rho, 0 for no adjustment.
        temperature: tau, above 0.

    Returns:
        (N, K), rows sum to 1.

    Example:
        >>> import torch
        >>> soft_labels(torch.zeros(1, 1, 2), torch.tensor([4.0, 1.0]))
        tensor([[0.3333, 0.6667]])

    Source: Bai et al. 2023, equation 7; Menon et al. 2021, "Long-tail learning via logit
    adjustment".
    """
    expect_shapes(logits=(logits, "V N K"), counts=(counts, "K"))
    expect_temperature(temperature)
    prior = counts.to(logits) / counts.to(logits).sum()
    adjusted = logits / temperature - (prior**strength + 1e-12).log()
    return adjusted.softmax(dim=2).mean(dim=0)


@torch.no_grad()
def keep_confident(
    label: Tensor,
    target: Tensor,
    known: Tensor,
    counts: Tensor,
    *,
    alpha: float = 0.0,
    beta: float = 0.5,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Which samples take part: all with a label, and a random number of each predicted class.

        of the k samples that are predicted as c, the b most confident stay, b ~ Binomial(k, r_c)
        r_c = (min counts / counts_c)^e,  e = alpha if c is among the labels of the batch, else beta

    Args:
        label: (N,) int64 given classes; read where ``known``.
        target: (N, K) soft labels.
        known: (N,) bool, samples with a label.
        counts: (K,) sizes of the classes.
        alpha: Of classes among the labels, from 0 on.
        beta: Of other classes, from 0 on.
        generator: Source of the draws.

    Returns:
        (N,) bool.

    Example:
        >>> import torch
        >>> p, known = torch.tensor([[0.9, 0.1], [0.2, 0.8]]), torch.tensor([True, False])
        >>> keep_confident(torch.tensor([0, 0]), p, known, torch.ones(2))
        tensor([True, True])

    Source: Bai et al. 2023, section 3.3 (re-balanced sampling).
    """
    expect_shapes(target=(target, "N K"), label=(label, "N"), known=(known, "N"))
    classes = target.shape[1]
    share = counts.to(target).min() / counts.to(target)
    seen = torch.zeros(classes, dtype=torch.bool, device=target.device)
    seen[label[known]] = True
    rate = share ** torch.where(seen, alpha, beta)
    confidence, predicted = target.max(dim=1)
    members = torch.bincount(predicted[~known], minlength=classes)
    wanted = torch.binomial(members.to(target), rate.clamp(max=1), generator=generator)
    order = torch.argsort(confidence.masked_fill(known, -1), descending=True, stable=True)
    one_hot = torch.nn.functional.one_hot(predicted[order], classes)
    one_hot = one_hot * (~known[order])[:, None]
    rank = (one_hot.cumsum(dim=0) - one_hot).gather(1, predicted[order][:, None])[:, 0]
    chosen = torch.zeros_like(known)
    chosen[order] = (rank < wanted[predicted[order]]) & ~known[order]
    return chosen | known


@full_precision
def soft_contrast(
    first: Tensor, second: Tensor, target: Tensor, *, temperature: float | Tensor = 0.07
) -> Tensor:
    """Samples attract one another by how alike their soft labels are, in both views.

        w_ij = p_i . p_j, w_ii = 1 for the two views of a sample;  loss as in ``masked_supcon``

    Args:
        first: (N, D) of the first view, made unit rows here.
        second: (N, D) of the second.
        target: (N, K) soft labels; constants.
        temperature: tau, above 0.

    Example:
        >>> import torch
        >>> z = torch.eye(2)
        >>> soft_contrast(z, z, z, temperature=0.5)
        tensor(0.2395)

    Source: Bai et al. 2023, equation 8.
    """
    expect_shapes(first=(first, "N D"), second=(second, "N D"), target=(target, "N K"))
    weight = (target @ target.T).fill_diagonal_(1).repeat(2, 2)
    return masked_supcon(torch.cat([first, second]), weight, temperature=temperature)
