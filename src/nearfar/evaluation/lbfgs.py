"""L-BFGS for several independent problems at once, so that one matrix product serves all of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import torch
from torch import Tensor

Objective = Callable[[Tensor], tuple[Tensor, Tensor]]


def minimise(objective: Objective, start: Tensor, *, tolerance: float, iterations: int = 1000, memory: int = 10) -> Tensor:
    """Minimise G smooth convex functions of P variables each; every function has its own history and step length.

    Args:
        objective: from points (G, P) to values (G,) and gradients (G, P).
        start: (G, P).
        tolerance: a function is done when its gradient's largest component is below this.
        iterations: at most so many steps.
        memory: number of past steps that estimate the curvature.

    Returns:
        The points (G, P). A function on which float precision allows no further descent is done, too.

    Source: Nocedal and Wright 2006, "Numerical Optimization", algorithms 7.4 and 3.1.
    """
    point, (value, gradient) = start, objective(start)
    history: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=memory)
    done = gradient.abs().amax(dim=1) < tolerance
    for _ in range(iterations):
        if done.all():
            break
        direction = _direction(gradient, history).masked_fill(done[:, None], 0)
        moved, new_value, new_gradient, stuck = _step(objective, point, value, gradient, direction)
        step, change = moved - point, new_gradient - gradient
        curvature = (step * change).sum(dim=1, keepdim=True)
        # No curvature (a function that is done, or lost in rounding): this pair then leaves the direction as it is.
        inverse = torch.where(curvature > 0, 1 / curvature, 0)
        history.append((step, change, inverse))
        point, value, gradient = moved, new_value, new_gradient
        done = done | stuck | (gradient.abs().amax(dim=1) < tolerance)
    return point


def _direction(gradient: Tensor, history: deque[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    direction, weights = -gradient, []
    for step, change, inverse in reversed(history):
        weight = inverse * (step * direction).sum(dim=1, keepdim=True)
        direction = direction - weight * change
        weights.append(weight)
    if history:
        _, change, inverse = history[-1]
        scale = 1 / (inverse * change.square().sum(dim=1, keepdim=True))
        direction = direction * torch.where(inverse > 0, scale, 1)
    for (step, change, inverse), weight in zip(history, reversed(weights), strict=True):
        direction = direction + step * (weight - inverse * (change * direction).sum(dim=1, keepdim=True))
    return direction


def _step(objective: Objective, point: Tensor, value: Tensor, gradient: Tensor, direction: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Halve each function's own step until it has descended enough; also which functions no longer descend."""
    slope = (gradient * direction).sum(dim=1)
    rounding = 4 * torch.finfo(value.dtype).eps * value.abs()
    length = torch.ones_like(value)
    for _ in range(20):
        moved = point + length[:, None] * direction
        new_value, new_gradient = objective(moved)
        descended = new_value <= value + 1e-4 * length * slope + rounding
        if descended.all():
            return moved, new_value, new_gradient, torch.zeros_like(descended)
        length = torch.where(descended, length, length / 2)
    keep = descended[:, None]
    return (
        torch.where(keep, moved, point),
        torch.where(descended, new_value, value),
        torch.where(keep, new_gradient, gradient),
        ~descended,
    )
