"""Outputs of a method as trees of tensors: in other precision, without their graph, as leaves, and
those of several parts as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from nearfar.methods.method import Outputs, Summed


def widened(outputs: Outputs) -> Outputs:
    """The same outputs, half-precision ones in float32."""
    return dict(
        _mapped(outputs, lambda t: t.float() if t.dtype in (torch.bfloat16, torch.float16) else t)
    )


def detached(outputs: Outputs) -> Outputs:
    """The same outputs without their graph."""
    return dict(_mapped(outputs, lambda t: t.detach()))


def with_leaves(outputs: Outputs, leaves: list[Tensor]) -> Outputs:
    def leaf(value: Tensor) -> Tensor:
        value = value.detach().requires_grad_(value.is_floating_point())
        leaves.append(value)
        return value

    return dict(_mapped(outputs, leaf))


def flat(value: Any) -> list[tuple[Tensor, bool]]:
    """All tensors of the outputs, each with whether it is a summed statistic, in the order of
    ``_mapped``.
    """
    if isinstance(value, Summed):
        return [(value.value, True)]
    if isinstance(value, Tensor):
        return [(value, False)]
    return [
        leaf
        for item in (value.values() if isinstance(value, dict) else value)
        for leaf in flat(item)
    ]


def merged(parts: Sequence[Any]) -> Any:
    """Outputs of consecutive parts as those of the whole batch: rows concatenated, statistics
    summed.
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    if isinstance(first, Summed):
        return Summed(torch.stack([p.value for p in parts]).sum(0))
    if isinstance(first, Tensor):
        return torch.cat(list(parts))
    if isinstance(first, dict):
        return {name: merged([p[name] for p in parts]) for name in first}
    return type(first)(merged([p[i] for p in parts]) for i in range(len(first)))


def _mapped(value: Any, change: Any) -> Any:
    if isinstance(value, Summed):
        return Summed(change(value.value))
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {name: _mapped(item, change) for name, item in value.items()}
    return type(value)(_mapped(item, change) for item in value)
