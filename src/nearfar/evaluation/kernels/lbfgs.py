"""L-BFGS for several independent problems at once, so that one matrix product serves all of
them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import torch
from torch import Tensor

Objective = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
History = deque[tuple[Tensor, Tensor, Tensor]]


def minimise(
    objective: Objective,
    start: Tensor,
    *,
    tolerance: float,
    iterations: int = 1000,
    memory: int = 10,
) -> Tensor:
    """Minimise G smooth convex functions of P variables each; every function has its own history
    and step length.

    Args:
        objective: from points (A, P) and the int64 numbers (A,) of the functions to evaluate there,
            to values (A,) and gradients (A, P). Functions that are done are not asked for any more.
        start: (G, P).
        tolerance: a function is done when its gradient's largest component is below this.
        iterations: at most so many steps.
        memory: number of past steps that estimate the curvature.

    Returns:
        The points (G, P). A function on which float precision allows no further descent is done,
        too.

    Source: Nocedal and Wright 2006, "Numerical Optimization", algorithms 7.4 and 3.1.
    """
    found = start.clone()
    active = torch.arange(len(start), device=start.device)
    point = start
    value, gradient = objective(point, active)
    history: History = deque(maxlen=memory)
    stuck = torch.zeros_like(active, dtype=torch.bool)
    for _ in range(iterations):
        found[active] = point
        going = ~stuck & (gradient.abs().amax(dim=1) >= tolerance)
        if not going.all():
            active = active[going]
            point = point[going]
            value = value[going]
            gradient = gradient[going]
            history = deque(((s[going], c[going], i[going]) for s, c, i in history), maxlen=memory)
        if not len(active):
            break
        moved, new_value, new_gradient, stuck = _step(
            objective, active, point, value, gradient, _direction(gradient, history)
        )
        step = moved - point
        change = new_gradient - gradient
        curvature = (step * change).sum(dim=1, keepdim=True)
        # No curvature (lost in rounding): this pair then leaves the direction as it is.
        history.append((step, change, torch.where(curvature > 0, 1 / curvature, 0)))
        point = moved
        value = new_value
        gradient = new_gradient
    found[active] = point
    return found


def _direction(gradient: Tensor, history: History) -> Tensor:
    direction = -gradient
    weights = []
    for step, change, inverse in reversed(history):
        weight = inverse * (step * direction).sum(dim=1, keepdim=True)
        direction = direction - weight * change
        weights.append(weight)
    if history:
        _, change, inverse = history[-1]
        scale = 1 / (inverse * change.square().sum(dim=1, keepdim=True))
        direction = direction * torch.where(inverse > 0, scale, 1)
    for (step, change, inverse), weight in zip(history, reversed(weights), strict=True):
        direction = direction + step * (
            weight - inverse * (change * direction).sum(dim=1, keepdim=True)
        )
    return direction


def _step(
    objective: Objective,
    active: Tensor,
    point: Tensor,
    value: Tensor,
    gradient: Tensor,
    direction: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Halve each function's own step until it has descended enough; also which functions no longer
    descend.
    """
    slope = (gradient * direction).sum(dim=1)
    rounding = 4 * torch.finfo(value.dtype).eps * value.abs()
    length = torch.ones_like(value)
    for _ in range(20):
        moved = point + length[:, None] * direction
        new_value, new_gradient = objective(moved, active)
        descended = new_value <= value + 1e-4 * length * slope + rounding
        if descended.all():
            break
        length = torch.where(descended, length, length / 2)
    keep = descended[:, None]
    return (
        torch.where(keep, moved, point),
        torch.where(descended, new_value, value),
        torch.where(keep, new_gradient, gradient),
        ~descended,
    )
