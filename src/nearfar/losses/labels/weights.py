"""Weights of samples by how much their labels can be trusted, learned on the way."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from nearfar.losses.kernels.similarity import expect_shapes, full_precision

__all__ = ["inner_step", "relative_scales", "trust_features"]

_LEAST = 1e-8
"""Added to the deviation of losses, so that equal losses have z-scores of 0."""


def _alone(x: Tensor) -> Tensor:
    return x


@torch.no_grad()
def trust_features(
    logits: Tensor, label: Tensor, total: Callable[[Tensor], Tensor] = _alone
) -> Tensor:
    """Nine numbers of a sample from several stochastic passes: what a rescaler of losses sees.

        mean p_y, std p_y, mean max_c p_c, mean (p_y - max_{c != y} p_c), mean H(p) / log C,
        share of passes with argmax p = y, mean l, std l, (mean l - m) / (s + 1e-8)

    with l = -log p_y, and m and s the mean and deviation of the mean losses of the whole batch. All
    deviations divide by the number of passes or samples.

    Args:
        logits: (G, N, C) of G passes, C at least 2.
        label: (N,) int64 given classes, right or wrong.
        total: Sums a tensor over all processes that hold a part of the batch; by default there is
            one process.

    Returns:
        (N, 9) without gradient, in the logits' dtype, float32 for half types.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[[0.0, 0.0], [2.0, 0.0]]])
        >>> trust_features(logits, torch.tensor([0, 0]))[:, [0, 6, 8]]
        tensor([[ 0.5000,  0.6931,  1.0000],
                [ 0.8808,  0.1269, -1.0000]])

    Source: "Learning from Noisy Labels via Self-Taught On-the-Fly Meta Loss Rescaling", 2024; the
    list is chosen here, as the paper names only losses and probabilities.
    """
    expect_shapes(logits=(logits, "G N C"), label=(label, "N"))
    classes = logits.shape[2]
    if classes < 2:
        raise ValueError(f"trust_features needs at least 2 classes; found {classes}.")
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    logs = wide.log_softmax(dim=2)
    chance = logs.exp()
    place = label.view(1, -1, 1).expand(len(logits), -1, 1)
    own = chance.gather(2, place)[..., 0]
    best_other = chance.scatter(2, place, -1.0).amax(dim=2)
    entropy = -(chance * logs).sum(dim=2) / math.log(classes)
    losses = -logs.gather(2, place)[..., 0]
    mean_loss = losses.mean(dim=0)
    count = total(torch.ones_like(mean_loss).sum())
    centred = mean_loss - total(mean_loss.sum()) / count
    spread = (total(centred.square().sum()) / count).sqrt()
    columns = [
        own.mean(dim=0),
        own.std(dim=0, correction=0),
        chance.amax(dim=2).mean(dim=0),
        (own - best_other).mean(dim=0),
        entropy.mean(dim=0),
        (chance.argmax(dim=2) == label).to(own).mean(dim=0),
        mean_loss,
        losses.std(dim=0, correction=0),
        centred / (spread + _LEAST),
    ]
    return torch.stack(columns, dim=1)


@full_precision
def relative_scales(logits: Tensor, total: Callable[[Tensor], Tensor] = _alone) -> Tensor:
    """Scales of losses that are 1 on average over the whole batch.

        s_i = sigmoid(o_i) / mean_j sigmoid(o_j)

    Without the division the direct gradient of the outer loss drives all scales to 0.

    Args:
        logits: (N,) o, a rescaler's outputs.
        total: Sums a tensor over all processes, with its gradient; by default there is one.

    Example:
        >>> import torch
        >>> relative_scales(torch.tensor([0.0, 0.0, 100.0]))
        tensor([0.7500, 0.7500, 1.5000])

    Source: STORM 2024, with the normalisation chosen here.
    """
    expect_shapes(logits=(logits, "N"))
    scale = logits.sigmoid()
    count = total(torch.ones_like(scale).sum())
    return scale * count / total(scale.sum())


def inner_step(
    loss: Tensor, parameters: Mapping[str, Tensor], *, learning_rate: float
) -> dict[str, Tensor]:
    """Parameters after one step of gradient descent, as functions of all that the loss depends on.

        theta' = theta - r grad_theta loss

    Args:
        loss: Scalar, such as the mean of rescaled losses.
        parameters: theta by name; each must be part of the loss's graph.
        learning_rate: r, from 0 on.

    Returns:
        theta' by name, with the graph that leads through the gradient.

    Example:
        >>> import torch
        >>> theta = torch.tensor(1.0, requires_grad=True)
        >>> scale = torch.tensor(2.0, requires_grad=True)
        >>> moved = inner_step(scale * theta**2, {"theta": theta}, learning_rate=0.1)
        >>> moved["theta"].item(), torch.autograd.grad(moved["theta"], scale)[0].item()
        (0.6000000238418579, -0.20000000298023224)

    Source: STORM 2024; Finn et al. 2017, "Model-Agnostic Meta-Learning", equation 1.
    """
    if not learning_rate >= 0:
        raise ValueError(f"The inner learning rate is {learning_rate}; expected at least 0.")
    slopes = torch.autograd.grad(loss, list(parameters.values()), create_graph=True)
    pairs = zip(parameters.items(), slopes, strict=True)
    return {name: theta - learning_rate * slope for (name, theta), slope in pairs}
