"""Shuffled tuples of clips, their class, and a rotation of frames."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nearfar.errors import UserError

__all__ = ["order_class", "order_of_class", "rotated"]


def order_class(order: Tensor) -> Tensor:
    """The lexicographic rank (...,) of orders (..., m); order[k] is where the k-th clip was first.

    >>> order_class(torch.tensor([[0, 1, 2], [2, 1, 0]]))
    tensor([0, 5])

    Source: Xu et al. 2019, "Self-Supervised Spatiotemporal Learning via Video Clip Order
    Prediction".
    """
    count = order.shape[-1]
    smaller = (order[..., None, :] < order[..., :, None]).triu(1)
    weight = torch.tensor([math.factorial(count - 1 - place) for place in range(count)])
    return (smaller.sum(dim=-1) * weight.to(order.device)).sum(dim=-1)


def order_of_class(label: int, count: int) -> list[int]:
    """The order with a lexicographic rank.

    >>> order_of_class(5, 3)
    [2, 1, 0]

    Source: Xu et al. 2019.
    """
    if not 0 <= label < math.factorial(count):
        raise UserError(
            f"Order {label} of {count} clips; expected 0 to {math.factorial(count) - 1}."
        )
    left = list(range(count))
    found = []
    for place in range(count):
        step, label = divmod(label, math.factorial(count - 1 - place))
        found.append(left.pop(step))
    return found


def rotated(clip: Tensor, quarters: int) -> Tensor:
    """All frames (..., H, W) of a clip turned by quarters of a circle, against the clock.

    >>> rotated(torch.tensor([[1, 2], [3, 4]]), 1)
    tensor([[2, 4],
            [1, 3]])

    Source: Jing et al. 2018, "Self-Supervised Spatiotemporal Feature Learning via Video Rotation
    Prediction".
    """
    return torch.rot90(clip, quarters, (-2, -1))
