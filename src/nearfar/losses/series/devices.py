"""Devices worn at the same time: each is a view of what the others see.

Source: Jain et al. 2022, "ColloSSL: Collaborative Self-Supervised Learning for Human Activity
Recognition".
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from nearfar.errors import unknown_name
from nearfar.losses.kernels.similarity import (
    expect_shapes,
    expect_temperature,
    full_precision,
    unit,
)

__all__ = ["acceleration_distance", "choose_devices", "device_contrast", "kernel_distance"]

SIGMAS = (1e-4, 1e-3, 1e-2, 0.1, 1.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 100.0)
"""Squared widths of the twelve kernels."""


@torch.no_grad()
def kernel_distance(first: Tensor, second: Tensor, *, sigmas: Sequence[float] = SIGMAS) -> Tensor:
    """Maximum mean discrepancy of two samples under a sum of Gaussian kernels.

        k(x, y) = sum_s exp(-|x - y|^2 / (2 s))
        distance = max( mean k(x, x) + mean k(y, y) - 2 mean k(x, y), 1e-4 ), diagonals included

    Args:
        first: (N, D).
        second: (M, D).
        sigmas: s, above 0.

    Returns:
        Scalar, at least 1e-4, without gradient.

    Example:
        >>> import torch
        >>> kernel_distance(torch.zeros(2, 1), torch.zeros(3, 1)).item() < 2e-4
        True

    Source: Gretton et al. 2012, "A Kernel Two-Sample Test", equation 5; the kernels of ColloSSL.
    """
    expect_shapes(first=(first, "N D"), second=(second, "M D"))
    widths = first.new_tensor(list(sigmas))

    def mean(x: Tensor, y: Tensor) -> Tensor:
        squared = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").square()
        return (-squared[..., None] / (2 * widths)).exp().sum(dim=2).mean()

    found = mean(first, first) + mean(second, second) - 2 * mean(first, second)
    return found.clamp(min=1e-4)


@torch.no_grad()
def acceleration_distance(
    first: Tensor, second: Tensor, *, by_axis: bool = False, sigmas: Sequence[float] = SIGMAS
) -> Tensor:
    """How unlike two devices move, by their acceleration.

        distance = kernel_distance of sqrt(ax^2 + ay^2 + az^2), or its mean over the three axes

    Args:
        first: (N, T, C) windows, of which the first three channels are acceleration.
        second: (N, T, C) of another device.
        by_axis: Whether each axis is compared by itself.
        sigmas: As in ``kernel_distance``.

    Example:
        >>> import torch
        >>> windows = torch.ones(2, 4, 3)
        >>> acceleration_distance(windows, windows) < acceleration_distance(windows, windows + 1)
        tensor(True)

    Source: Jain et al. 2022, section 4.2.
    """
    expect_shapes(first=(first, "N T C"), second=(second, "M T C"))
    if first.shape[2] < 3:
        raise ValueError(f"Acceleration takes 3 channels; found {first.shape[2]}.")
    pair = first[..., :3], second[..., :3]
    if by_axis:
        axes = [kernel_distance(*(x[..., c] for x in pair), sigmas=sigmas) for c in range(3)]
        return torch.stack(axes).mean()
    return kernel_distance(*(x.norm(dim=2) for x in pair), sigmas=sigmas)


@full_precision
def device_contrast(
    query: Tensor,
    positives: Tensor,
    negatives: Tensor,
    positive_weight: Tensor,
    negative_weight: Tensor,
    *,
    temperature: float | Tensor = 0.05,
) -> Tensor:
    """An anchor device must find the same moment on positive devices, among other moments.

        P = sum_p w_p exp(cos(a_b, p_b) / tau),  Q = sum_n w_n exp(cos(a_b, n_b) / tau)
        loss = mean_b -log( P / (P + Q) )

    Weights are divided by the largest of all, which changes nothing but rounding. The released code
    negates the cosine by mistake.

    Args:
        query: (B, D) embeddings of the anchor device.
        positives: (P, B, D) of positive devices at the same moments.
        negatives: (Q, B, D) of negative devices at other moments: each device's rows permuted.
        positive_weight: (P, B) or (P,) above 0, 1 in the paper; constants.
        negative_weight: (Q, B) or (Q,) above 0, 1 / distance in the paper; constants.
        temperature: tau, above 0; a scalar tensor receives its gradient.

    Example:
        >>> import torch
        >>> a, n = torch.eye(2), torch.eye(2).flip(0)
        >>> device_contrast(a, a[None], n[None], torch.ones(1), torch.ones(1), temperature=1.0)
        tensor(0.3133)

    Source: Jain et al. 2022, equation 2.
    """
    expect_shapes(
        query=(query, "B D"), positives=(positives, "P B D"), negatives=(negatives, "Q B D")
    )
    expect_temperature(temperature)
    anchor = unit(query)

    def log_sum(rows: Tensor, weight: Tensor) -> Tensor:
        held = weight.detach().to(rows)
        held = held if held.ndim == 2 else held[:, None].expand(-1, rows.shape[1])
        expect_shapes(rows=(rows, "K B D"), weight=(held, "K B"))
        return ((unit(rows) * anchor).sum(dim=2) / temperature + held.log()).logsumexp(dim=0)

    pull, push = log_sum(positives, positive_weight), log_sum(negatives, negative_weight)
    return -logsigmoid(pull - push).mean()


def choose_devices(
    distance: Tensor,
    *,
    rule: str = "closest_pos_all_neg",
    generator: torch.Generator | None = None,
) -> tuple[list[int], list[int]]:
    """Which other devices are positives of an anchor device, and which are negatives.

        closest_pos_all_neg  the nearest;  all, the nearest among them
        closest_only         the nearest;  the nearest
        hard_negative        the nearest;  the second and third nearest
        closest_two          the two nearest;  all
        random               one at random;  all

    Args:
        distance: (K,) of each other device, such as ``acceleration_distance``.
        rule: One of the above.
        generator: Source of the draw of "random".

    Returns:
        Numbers of the positives and of the negatives among the K devices.

    Example:
        >>> import torch
        >>> choose_devices(torch.tensor([0.5, 0.1, 0.9]))
        ([1], [0, 1, 2])

    Source: Jain et al. 2022, section 4.2.
    """
    order = distance.argsort(stable=True).tolist()
    if not order:
        raise ValueError("An anchor device needs at least one other device; found none.")
    everyone = list(range(len(order)))
    if rule == "random":
        drawn = torch.randint(len(order), (1,), generator=generator)
        return [int(drawn)], everyone
    rules = {
        "closest_pos_all_neg": (order[:1], everyone),
        "closest_only": (order[:1], order[:1]),
        "hard_negative": (order[:1], order[1:3] or order[:1]),
        "closest_two": (sorted(order[:2]), everyone),
    }
    if rule not in rules:
        raise unknown_name("rule of devices", rule, [*rules, "random"])
    return rules[rule]
