"""Cone attention: logits from how high in a hierarchy two points meet.

Each vector is split into a position and a height. Two points that lie in a common cone with a low
apex share much of the hierarchy, so the logit is minus the height of their lowest common apex.

Source: Tseng et al. 2023, "Coneheads: Hierarchy Aware Attention", sections 3.1 and 3.2.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nearfar.errors import UserError

__all__ = ["penumbral_links", "penumbral_logits", "umbral_logits"]


def penumbral_logits(
    query: Tensor, key: Tensor, *, radius: float = 1.0, gamma: float = 1.0, epsilon: float = 1e-6
) -> Tensor:
    """Logits of a light source at infinity that makes half shadows.

    With (v, s) a vector's first D - 1 numbers and its last, y = r sigmoid(s), x = v y,
    A = sqrt(r^2 - y_q^2 + e), B = sqrt(r^2 - y_k^2 + e) and d = |x_q - x_k|:

        inside  = max(y_q^2, y_k^2, r^2 - ((A + B - d) / 2)^2)
        outside = ((d^2 + y_k^2 - y_q^2) / (2 d + e))^2 + y_q^2
        logit   = -gamma inside where d <= A or (d - A)^2 + y_k^2 <= r^2, else -gamma outside

    Args:
        query: (..., Q, D), D at least 2.
        key: (..., K, D).
        radius: r, above 0.
        gamma: Scale of the logits, above 0.
        epsilon: e, keeps roots and quotients finite.

    Returns:
        (..., Q, K).

    Example:
        >>> penumbral_logits(torch.zeros(1, 2), torch.zeros(2, 2))
        tensor([[-0.2500, -0.2500]])
    """
    _check(query, key, radius)
    query_height, query_place = _halves(query, radius * query[..., -1:].sigmoid())
    key_height, key_place = _halves(key, radius * key[..., -1:].sigmoid())
    distance = _distance(query_place, key_place)
    own = query_height.square()
    other = key_height.square().transpose(-1, -2)
    return _penumbral(own, other, distance, radius, gamma, epsilon)


def penumbral_links(
    query: Tensor,
    key: Tensor,
    links: Tensor,
    *,
    radius: float = 1.0,
    gamma: float = 1.0,
    epsilon: float = 1e-6,
) -> Tensor:
    """``penumbral_logits`` of some queries with some keys alone.

    Args:
        query: (Q, D).
        key: (K, D).
        links: (2, T) int64, the query and the key of each logit.
        radius: As for ``penumbral_logits``.
        gamma: As for ``penumbral_logits``.
        epsilon: As for ``penumbral_logits``.

    Returns:
        (T,).

    Example:
        >>> penumbral_links(torch.zeros(1, 2), torch.zeros(3, 2), torch.tensor([[0], [2]]))
        tensor([-0.2500])
    """
    _check(query, key, radius)
    query_height, query_place = _halves(query, radius * query[..., -1:].sigmoid())
    key_height, key_place = _halves(key, radius * key[..., -1:].sigmoid())
    first = query_place.index_select(0, links[0])
    second = key_place.index_select(0, links[1])
    distance = torch.linalg.vector_norm(first - second, dim=1)
    own = query_height[:, 0].square().index_select(0, links[0])
    other = key_height[:, 0].square().index_select(0, links[1])
    return _penumbral(own, other, distance, radius, gamma, epsilon)


def _penumbral(
    own: Tensor, other: Tensor, distance: Tensor, radius: float, gamma: float, epsilon: float
) -> Tensor:
    """Logits from the squared heights of queries and keys and the distances of their places."""
    reach = (radius**2 - own + epsilon).sqrt()
    other_reach = (radius**2 - other + epsilon).sqrt()
    meeting = radius**2 - ((reach + other_reach - distance) / 2).square()
    inside = torch.maximum(torch.maximum(own, other), meeting)
    outside = ((distance.square() + other - own) / (2 * distance + epsilon)).square() + own
    together = (distance <= reach) | ((distance - reach).square() + other <= radius**2)
    return -gamma * torch.where(together, inside, outside)


def umbral_logits(query: Tensor, key: Tensor, *, radius: float = 1.0, gamma: float = 1.0) -> Tensor:
    """Logits of a light source that makes full shadows.

    With (v, s) as above, D the full length of a vector, y = exp(s / D), x = v y:

        logit = -gamma max(y_q, y_k, |x_q - x_k| / (2 sinh r) + (y_q + y_k) / 2)

    Args:
        query: (..., Q, D), D at least 2.
        key: (..., K, D).
        radius: r, above 0.
        gamma: Scale of the logits, above 0.

    Returns:
        (..., Q, K).

    Example:
        >>> umbral_logits(torch.zeros(1, 2), torch.zeros(2, 2))
        tensor([[-1., -1.]])
    """
    _check(query, key, radius)
    width = query.shape[-1]
    query_height, query_place = _halves(query, (query[..., -1:] / width).exp())
    key_height, key_place = _halves(key, (key[..., -1:] / width).exp())
    other = key_height.transpose(-1, -2)
    middle = (
        _distance(query_place, key_place) / (2 * math.sinh(radius)) + (query_height + other) / 2
    )
    return -gamma * torch.maximum(torch.maximum(query_height, other), middle)


def _halves(x: Tensor, height: Tensor) -> tuple[Tensor, Tensor]:
    return height, x[..., :-1] * height


def _distance(first: Tensor, second: Tensor) -> Tensor:
    return torch.cdist(first, second, compute_mode="donot_use_mm_for_euclid_dist")


def _check(query: Tensor, key: Tensor, radius: float) -> None:
    if query.shape[-1] != key.shape[-1] or query.shape[-1] < 2:
        found = f"{query.shape[-1]} and {key.shape[-1]}"
        raise UserError(
            f"Cone attention takes queries and keys of one width of at least 2; found {found}."
        )
    if not radius > 0:
        raise UserError(f"The radius of cone attention is {radius}; expected a number above 0.")
